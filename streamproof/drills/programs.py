"""The programs beside the servers of a drill, each a process of its own, which can be killed and goes on."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from streamproof.core.errors import StreamproofError
from validation.alert_events import AlertEvent

_LAST_LINES = 10
_END_SECONDS = 300


class Program:
    """Does one thing, in one process after the other; what they say goes to a file.

    Args:
        begin: the arguments of Python that begin it.
        resume: those with which a later process goes on.
        environment: in addition to this process's own.
        log: the file.

    Raises:
        StreamproofError: by every method, when the process has ended by itself or does not end.

    """

    def __init__(self, begin: Sequence[str], resume: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._resume = resume
        self._environment = os.environ | environment
        self.log = log
        self._process = self._start(begin)

    def kill(self) -> None:
        """End the process with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """End the process with SIGTERM."""
        self._end(signal.SIGTERM)

    def interrupt(self) -> None:
        """End the process as Ctrl-C does."""
        self._end(signal.SIGINT)

    def resume(self) -> None:
        """Go on in a new process."""
        self._process = self._start(self._resume)

    def check(self) -> None:
        """Raise a StreamproofError when the process has ended."""
        if self._process.poll() is not None:
            raise StreamproofError(f"{self.log.stem} has ended; the end of {self.log}:\n{self._last_words()}")

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the drill, which then ends this process itself
            )

    def _end(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise StreamproofError(
                f"{self.log.stem} did not end within {_END_SECONDS} s; the end of {self.log}:\n{self._last_words()}"
            ) from None

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:])


class Replayer(Program):
    """Sends one run.

    Args:
        run: the run's id.
        arguments: of ``replay``, but for the run.
        environment: in addition to this process's own.
        folder: for what it says.

    """

    def __init__(self, run: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.run = run
        command = ("-m", "edge_replayer")
        log = folder / f"{run}-replayer.log"
        super().__init__([*command, *arguments, "--run", run], [*command, "--resume", run], environment, log)

    def finish(self) -> None:
        """End the run as Ctrl-C does: when all that was sent is confirmed."""
        self.check()
        self.interrupt()

    def kill_all(self) -> None:
        """End the process with SIGKILL."""
        self.kill()


class Edges:
    """Several edges that send one run together; what strikes, strikes one of them.

    Args:
        run: the run's id.
        arguments: of ``replay``, but for the run and the edges, by the edge's name.
        environment: in addition to this process's own.
        folder: for what they say.
        chance: decides which one is struck.

    """

    def __init__(
        self,
        run: str,
        arguments: Mapping[str, Sequence[str]],
        environment: Mapping[str, str],
        folder: Path,
        chance: random.Random,
    ) -> None:
        self.run, self.log = run, folder / f"{run}-expel.log"
        self._environment, self._chance = environment, chance
        self._edges: dict[str, Program] = {}
        self._struck = min(arguments)
        for name, of_one in arguments.items():
            begin = ["-m", "edge_replayer", *of_one, "--run", run, "--edge", name, "--edges", ",".join(arguments)]
            again = ["-m", "edge_replayer", "--resume", run, "--edge", name]
            self._edges[name] = Program(begin, again, environment, folder / f"{run}-{name}.log")

    def kill(self) -> None:
        """End one edge's process with SIGKILL."""
        self._choose().kill()

    def terminate(self) -> None:
        """End one edge's process with SIGTERM."""
        self._choose().terminate()

    def resume(self) -> None:
        """Go on with that edge in a new process."""
        self._edges[self._struck].resume()

    def _choose(self) -> Program:
        self._struck = self._chance.choice(sorted(self._edges))
        return self._edges[self._struck]

    def kill_all(self) -> None:
        """End all edges' processes with SIGKILL."""
        for edge in self._edges.values():
            edge.kill()

    def check(self) -> None:
        """Raise a StreamproofError when a process has ended."""
        for edge in self._edges.values():
            edge.check()

    def finish(self) -> None:
        """End the run when all that was sent is confirmed: its edges have more rows to send, so each is expelled."""
        for edge in self._edges.values():
            edge.check()
            edge.interrupt()
        for name in self._edges:
            with self.log.open("ab") as log:
                done = subprocess.run(
                    [sys.executable, "-m", "streamproof", "expel", self.run, name],
                    env=os.environ | self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=_END_SECONDS,
                    check=False,
                )
            if done.returncode:
                raise StreamproofError(f"the edge {name} of the run {self.run} cannot be expelled: see {self.log}")


class Deliverer(Program):
    """Tells a file of the alerts of one run; its outbox is not that of the home.

    Args:
        run: the run's id.
        folder: for what it writes and says.

    """

    def __init__(self, run: str, folder: Path) -> None:
        self._file = folder / f"{run}-alerts.jsonl"
        command = ("-m", "streamproof", "alert", "deliver", "--to", str(self._file), "--run", run)
        super().__init__(command, command, {"STREAMPROOF_HOME": str(folder)}, folder / f"{run}-deliverer.log")

    def told(self) -> set[tuple[str, str, int]]:
        """Return of which events the file was told: the alert's id, the state, and the number of a repetition."""
        told: set[tuple[str, str, int]] = set()
        for line in self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else ():
            with suppress(ValueError):  # a killed process left it unfinished, and told it again
                event = AlertEvent.model_validate_json(line)
                told.add((event.id, event.state, event.number))
        return told
