"""The replayer of a drill: a process of its own, which can be killed and goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamproof.core.errors import StreamproofError

_LAST_LINES = 10
_END_SECONDS = 300


class Replayer:
    """Sends one run, in one process after the other; what they say goes to a file.

    Args:
        run: the run's id.
        arguments: of ``replay``, but for the run.
        environment: in addition to this process's own.
        log: the file.

    Raises:
        StreamproofError: by every method, when the process has ended by itself or does not end.

    """

    def __init__(self, run: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.run = run
        self._environment = os.environ | environment
        self.log = log
        self._process = self._start([*arguments, "--run", run])

    def kill(self) -> None:
        """End the process with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """End the process with SIGTERM, which leaves the run's end open."""
        self._end(signal.SIGTERM)

    def finish(self) -> None:
        """End the run as Ctrl-C does: when all that was sent is confirmed."""
        self.check()
        self._end(signal.SIGINT)

    def resume(self) -> None:
        """Go on in a new process."""
        self._process = self._start(["--resume", self.run])

    def check(self) -> None:
        """Raise a StreamproofError when the process has ended."""
        if self._process.poll() is not None:
            raise StreamproofError(f"the replayer has ended; the end of {self.log}:\n{self._last_words()}")

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "edge_replayer", *arguments],
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
                f"the replayer did not end within {_END_SECONDS} s; the end of {self.log}:\n{self._last_words()}"
            ) from None

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:])
