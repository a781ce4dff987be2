"""The processes of the stack: started, remembered with their pid and start time, and only those ever signalled."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import psutil
from pydantic import BaseModel, ValidationError

from streamproof.core.whole_file import write_whole

MARK = "STREAMPROOF_STACK_HOME"
"""Environment variable in every process of the stack, and in what those start: the stack's home."""

_SAME_START = 2.0  # seconds; the system computes a start time from a clock that may be set meanwhile
_LOG_LIMIT = 20_000_000  # bytes; a longer log is put aside when its part starts
_EXIT_CODE_SECONDS = 2.0
_EXECVE_SECONDS = 2.0
_BY_SIGNAL = 128  # shells add this to a signal's number

_OF_OTHERS = re.compile("PYTHON(PATH|HOME)$|_?FLINK_|PYFLINK_|HADOOP_|CLASSPATH$")
"""Variables of the user's own that would have a server load other programs or settings than its own."""

# Whoever looks after a part is seldom the process that started it, and only a parent learns an exit code: this parent.
_REMEMBER_EXIT_CODE = 'log=$1 code=$2; shift 2; "$@" >>"$log" 2>&1 & echo $!; exec >&-; wait $!; echo $? >"$code"'


class Record(BaseModel):
    """What ``HOME/stack/PART.json`` remembers of a process; it stays when the process ends by itself.

    Attributes:
        create_time: seconds since the epoch, as psutil tells it.
        restarts: how often the part was started again after it had ended by itself.
        last_end: when and how it did so last.
        given_up: whether it ended so often that it is not started again.
        stopping: whether it was asked to end.

    """

    pid: int
    create_time: float
    restarts: int = 0
    last_end: str | None = None
    given_up: bool = False
    stopping: bool = False


@dataclass(frozen=True)
class Program:
    """What to run for a part: the command, its working directory and its additional environment."""

    command: list[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)


class Processes:
    """The stack's processes in one home, by the name of their part."""

    def __init__(self, home: Path) -> None:
        self._home = home.resolve()
        self._records = home / "stack"
        self._logs = home / "logs"
        self._parents: list[subprocess.Popen[str]] = []  # kept, or Python warns that they still run

    def log(self, name: str) -> Path:
        """Return the file that a part's output goes to."""
        return self._logs / f"{name}.log"

    def last_lines(self, name: str, count: int) -> str:
        """Return the last lines of a part's log."""
        with contextlib.suppress(OSError), self.log(name).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 400 * count))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
        return ""

    def record(self, name: str) -> Record | None:
        """Return what is remembered of a part's process, alive or not."""
        with contextlib.suppress(OSError, ValidationError):
            return Record.model_validate_json((self._records / f"{name}.json").read_bytes())
        return None

    def find(self, name: str) -> psutil.Process | None:
        """Return a part's process while it lives; never another one that was given the same pid later."""
        if (record := self.record(name)) is None:
            return None
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(record.pid)
            if abs(process.create_time() - record.create_time) <= _SAME_START and self._carries_mark(process):
                return process
        return None

    def has_ended(self, name: str) -> bool:
        """Return whether a part ended by itself: nobody asked it to, and it was not started again."""
        record = self.record(name)
        return record is not None and not record.stopping and self.find(name) is None

    def why_ended(self, name: str) -> str:
        """Return when and how a part ended by itself, as far as that is known."""
        file = self._exit_code(name)
        deadline = time.monotonic() + _EXIT_CODE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                code, when = int(file.read_text()), datetime.fromtimestamp(file.stat().st_mtime, UTC)
                return f"{when:%Y-%m-%d %H:%M:%S}Z: {_how(code)}"
            time.sleep(0.01)
        return "it is not known how: after a reboot, or its parent process was killed"

    def start(self, name: str, program: Program) -> None:
        """Start a part in a session of its own, out of the reach of the terminal's Ctrl-C."""
        for folder in (self._records, self._logs, program.folder):
            folder.mkdir(parents=True, exist_ok=True)
        log = self.log(name)
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            shutil.move(log, log.with_suffix(".log.1"))
        before = self.record(name)
        restarts, last_end = (before.restarts + 1, self.why_ended(name)) if before else (0, None)
        self._exit_code(name).unlink(missing_ok=True)
        files = [str(path.resolve()) for path in (log, self._exit_code(name))]
        parent = subprocess.Popen(
            ["/bin/sh", "-c", _REMEMBER_EXIT_CODE, "sh", *files, *program.command],
            cwd=program.folder,
            env=_own_environment() | program.environment | {MARK: str(self._home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the shell's own, which tells of each signal
            text=True,
            start_new_session=True,
        )
        self._parents.append(parent)
        with cast("IO[str]", parent.stdout) as output:
            pid, began = int(output.read()), time.time()
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended already
            began = psutil.Process(pid).create_time()
        self._remember(name, Record(pid=pid, create_time=began, restarts=restarts, last_end=last_end))

    def give_up(self, name: str) -> None:
        """Remember that a part that ended by itself is not to be started again."""
        if record := self.record(name):
            self._remember(name, record.model_copy(update={"given_up": True, "last_end": self.why_ended(name)}))

    def stop(self, name: str, seconds: float, by: int = signal.SIGTERM) -> None:
        """End a part, politely first; after ``seconds`` it is killed. Nothing happens when it does not run."""
        if (process := self.find(name)) and (record := self.record(name)):
            try:
                self._remember(name, record.model_copy(update={"stopping": True}))
            except OSError:  # on a full disk: what is not remembered is not started again either
                (self._records / f"{name}.json").unlink(missing_ok=True)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(by)
                end(process, seconds)
            self.why_ended(name)  # waits for the exit code to be written, which else would come behind its removal
        self._exit_code(name).unlink(missing_ok=True)
        (self._records / f"{name}.json").unlink(missing_ok=True)

    def leftovers(self, in_command: str) -> Iterator[psutil.Process]:
        """Return the processes that a part of this home started and left behind, by a text in their command line."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(in_command in word for word in process.cmdline()) and self._carries_mark(process):
                    yield process

    def _exit_code(self, name: str) -> Path:
        return self._records / f"{name}.exit-code"

    def _remember(self, name: str, record: Record) -> None:
        write_whole(self._records / f"{name}.json", record.model_dump_json())

    def _carries_mark(self, process: psutil.Process) -> bool:
        # In the midst of execve(2) a process has no environment to show; one that has ended never has one again.
        deadline = time.monotonic() + _EXECVE_SECONDS
        while not (environment := process.environ()) and time.monotonic() < deadline:
            if process.status() == psutil.STATUS_ZOMBIE:
                break
            time.sleep(0.001)
        return environment.get(MARK) == str(self._home)


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not _OF_OTHERS.match(name)}


def _how(code: int) -> str:
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(code - _BY_SIGNAL).name}"
    return f"ended with exit code {code}"


def end(process: psutil.Process, seconds: float) -> None:
    """Wait for a process that was asked to end; kill it when it has not after ``seconds``."""
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(seconds)
