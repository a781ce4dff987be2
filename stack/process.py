"""The processes of the stack: started, remembered with their pid and start time, and only those ever signalled."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

MARK = "STREAMPROOF_STACK_HOME"
"""Environment variable in every process of the stack, and in what those start: the stack's home."""

_SAME_START = 2.0  # seconds; the system computes a start time from a clock that may be set meanwhile
_LOG_LIMIT = 20_000_000  # bytes; a longer log is put aside when its part starts


class Record(BaseModel):
    """What ``HOME/stack/PART.json`` remembers of a process.

    Attributes:
        create_time: seconds since the epoch, as psutil tells it.
        restarts: how often the part was started again after it had ended by itself.

    """

    pid: int
    create_time: float
    restarts: int = 0


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
        self._children: list[subprocess.Popen[bytes]] = []  # kept, or Python warns that they still run

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
            if abs(process.create_time() - record.create_time) > _SAME_START or not self._is_ours(process):
                return None
            if process.status() != psutil.STATUS_ZOMBIE:
                return process
            process.wait(0)  # our own dead child: take its exit code, so that the pid is freed
        return None

    def start(self, name: str, program: Program) -> psutil.Process:
        """Start a part in a session of its own, out of the reach of the terminal's Ctrl-C."""
        for folder in (self._records, self._logs, program.folder):
            folder.mkdir(parents=True, exist_ok=True)
        log = self.log(name)
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            shutil.move(log, log.with_suffix(".log.1"))
        ended_by_itself = self.record(name)
        with log.open("ab") as output:
            child = subprocess.Popen(
                program.command,
                cwd=program.folder,
                env=os.environ | program.environment | {MARK: str(self._home)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children.append(child)
        process = psutil.Process(child.pid)
        while child.poll() is None and not self._carries_mark(process):
            time.sleep(0.001)  # the kernel shows a new program's environment a moment after its start
        restarts = ended_by_itself.restarts + 1 if ended_by_itself else 0
        record = Record(pid=child.pid, create_time=process.create_time(), restarts=restarts)
        half = self._records / f"{name}.half"
        half.write_text(record.model_dump_json(), encoding="utf-8")
        half.replace(self._records / f"{name}.json")
        return process

    def stop(self, name: str, seconds: float) -> None:
        """End a part, politely first; after ``seconds`` it is killed. Nothing happens when it does not run."""
        if process := self.find(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
                end(process, seconds)
        (self._records / f"{name}.json").unlink(missing_ok=True)

    def leftovers(self, in_command: str) -> Iterator[psutil.Process]:
        """Return the processes that a part of this home started and left behind, by a text in their command line."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(in_command in word for word in process.cmdline()) and self._carries_mark(process):
                    yield process

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return self._carries_mark(process)
        except psutil.AccessDenied:
            return False

    def _carries_mark(self, process: psutil.Process) -> bool:
        return process.status() == psutil.STATUS_ZOMBIE or process.environ().get(MARK) == str(self._home)


def end(process: psutil.Process, seconds: float) -> None:
    """Wait for a process that was asked to end; kill it when it has not after ``seconds``."""
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(seconds)
