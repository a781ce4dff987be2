"""The reject file of a category: line number, reason and text of each line that did not fit the contract."""

import csv
from pathlib import Path

from streamproof.core.command import console
from streamproof.core.errors import StreamproofError

_SHOWN = 3
_MAX_TEXT = 2000
_AT_ONCE = 100


class Rejects:
    """Counts and writes what was rejected, some lines at once: no file stays open, as there may be thousands.

    Attributes:
        count: how many lines were rejected.

    """

    def __init__(self, source: Path, file: Path | None, *, strict: bool, shows: bool = True) -> None:
        self.count = 0
        self._source = source
        self._path = file
        self._strict = strict
        self._shown = _SHOWN if shows else 0
        self._lines: list[tuple[int, str, str]] = []
        self._mode = "w"

    def __call__(self, line: int, reason: str, text: bytes) -> None:
        """Take one rejected line.

        Raises:
            StreamproofError: the run is strict.

        """
        self.count += 1
        if self._path:
            shown = text.rstrip(b"\r\n")[:_MAX_TEXT].decode(errors="backslashreplace")
            self._lines.append((line, reason, shown))
            if len(self._lines) >= _AT_ONCE:
                self.close()
        if self._strict:
            self.close()
            raise StreamproofError(f"{self._source}, line {line}: {reason} (the run is strict)")
        if self.count <= self._shown:
            more = f"; further ones are only {'written to ' + str(self._path) if self._path else 'counted'}"
            console.print(
                f"{self._source}, line {line}: rejected: {reason}{more if self.count == self._shown else ''}",
                markup=False,
                soft_wrap=True,
            )

    def close(self) -> None:
        """Write what is not written yet."""
        if self._lines and self._path:
            with self._path.open(self._mode, encoding="utf-8", newline="") as file:
                if self._mode == "w":
                    csv.writer(file).writerow(("line", "reason", "text"))
                csv.writer(file).writerows(self._lines)
            self._mode = "a"
            self._lines.clear()
