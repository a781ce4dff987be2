"""The reject file of a category: line number, reason and text of each line that did not fit the contract."""

import csv
from pathlib import Path
from typing import TextIO

from streamproof.core.command import console
from streamproof.core.errors import StreamproofError

_SHOWN = 3
_MAX_TEXT = 2000


class Rejects:
    """Counts and writes what was rejected; the file is made with the first rejected line.

    Attributes:
        count: how many lines were rejected.

    """

    def __init__(self, source: Path, file: Path | None, *, strict: bool) -> None:
        self.count = 0
        self._source = source
        self._path = file
        self._strict = strict
        self._file: TextIO | None = None

    def __call__(self, line: int, reason: str, text: bytes) -> None:
        """Take one rejected line.

        Raises:
            StreamproofError: the run is strict.

        """
        self.count += 1
        if self._path:
            if self._file is None:
                self._file = self._path.open("w", encoding="utf-8", newline="")
                csv.writer(self._file).writerow(("line", "reason", "text"))
            shown = text.rstrip(b"\r\n")[:_MAX_TEXT].decode(errors="backslashreplace")
            csv.writer(self._file).writerow((line, reason, shown))
        if self._strict:
            self.close()
            raise StreamproofError(f"{self._source}, line {line}: {reason} (the run is strict)")
        if self.count <= _SHOWN:
            more = f"; further ones are only {'written to ' + str(self._path) if self._path else 'counted'}"
            console.print(
                f"{self._source}, line {line}: rejected: {reason}{more if self.count == _SHOWN else ''}",
                markup=False,
                soft_wrap=True,
            )

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
