"""The file that a replayer holds while it runs: who sends a run, and the greatest sequence numbers it has sent.

``HOME/runs/RUN/sent`` has one line of fixed width for each category. It is written before each message is sent, in
place, which costs microseconds: the manifest, written anew every other second, would not know the last rows of a
process that was killed. It is locked as long as its process lives.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from streamproof.core.alone import lock_at_once
from streamproof.core.errors import UsageError

_WIDTH = 20


class SentFile:
    """The sent file of a run, held by this process.

    Raises:
        UsageError: another process holds it.

    """

    def __init__(self, folder: Path, categories: Iterable[str]) -> None:
        self._path = folder / "sent"
        self._places = {category: place for place, category in enumerate(categories)}
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        if not lock_at_once(self._file):
            self.close()
            raise UsageError(f"the run {folder.name!r} is being sent by another process: wait for its end")

    def read(self) -> dict[str, int]:
        """Return the greatest sequence number that was sent, of each category; 0 where there is none."""
        lines = os.pread(self._file, _WIDTH * len(self._places), 0).split(b"\n")
        return {
            c: int(lines[place]) if place < len(lines) and lines[place].strip(b" \0") else 0
            for c, place in self._places.items()
        }

    def write(self, category: str, seq: int) -> None:
        """Note that rows up to ``seq`` are about to be sent."""
        os.pwrite(self._file, b"%*d\n" % (_WIDTH - 1, seq), _WIDTH * self._places[category])

    def remove(self) -> None:
        """Remove the file: the run has ended, and its manifest says it all."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let it go."""
        os.close(self._file)
