"""A category's CSV file as rows that fit the contract; what does not fit is handed to ``reject``.

The rules, so that others can read the same rows from the same file:

- The file is text of the contract's encoding, or of that which its byte order mark names; it may be packed
  (``streamproof.core.stored_file``). What cannot be decoded is as good as a byte that is not UTF-8.
- Lines end in LF or CRLF; the last one may end with the file. A line with nothing in it is skipped, and so are the
  contract's ``skip_lines`` at the beginning and lines that begin with its ``comment``.
- If the first line that is left is ``sep=X``, X is the delimiter; the next one is then the first.
- A cell that begins with the quote is quoted: it ends at the next single quote and may hold delimiters, line breaks
  and two quotes for one. A quote elsewhere in a cell stands for itself.
- A record is malformed when something follows a closing quote before the next delimiter, when a bare CR stands
  outside quotes, or when a quoted cell is still open after 1 MiB or at the end of the file. Only the record's
  first *line* is rejected then, and reading goes on with the next line: a stray quote never swallows the file.
- A line of more than 1 MiB, its line end included, is rejected.
- A record is accepted if it is valid UTF-8, has all needed columns, and each needed cell as a whole can be read as its
  field. Nothing is trimmed unless the contract says so. Further columns, and columns that no field needs, are ignored.
"""

import csv
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

from edge_replayer.cells import cell_reader
from edge_replayer.open_files import open_to_read
from streamproof.core.contract import Contract, ContractField
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.stored_file import READ_ERRORS, open_stored

MAX_RECORD = 1 << 20
"""Bytes of the longest record: what bounds an unbalanced quote."""

_SEPARATOR = re.compile('"?sep=(.)"?', re.IGNORECASE)
"""The first line with which a spreadsheet names the delimiter."""

_SMALL_UNITS = {"ms": 1, "us": 1_000, "ns": 1_000_000}
"""Units of which a reading in seconds looks like January 1970, and how many make a millisecond."""

_LOOKED_AT = 20
_JANUARY = 31 * 86_400_000
_SECONDS_OF_2001 = 978_307_200

CsvRow = tuple[int, int, str]
"""Line number from 1, the file's own time in milliseconds (0 without an ``event_time``), and the JSON of the contract's
fields without ``{``."""

Reject = Callable[[int, str, bytes], None]
"""Called with the line number, the reason and the line's bytes."""


class CsvRows:
    """The rows of one file, read anew (and streamed) by each iteration.

    Raises:
        UsageError: the file cannot be read or is empty, or its columns do not fit the contract.

    """

    def __init__(self, contract: Contract, path: Path) -> None:
        self.path = path
        self._layout = contract.csv
        self._fields = contract.fields
        self._time = contract.event_time
        self._delimiter = contract.csv.delimiter
        quote = contract.csv.quote
        self._quote = quote.encode() if quote else b"\x00\x00"  # which no text has
        self._quoting: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
        self._comment = (contract.csv.comment or "").encode()
        self._begin = contract.csv.skip_lines
        self._raw: IO[bytes] | None = None
        csv.field_size_limit(2 * MAX_RECORD)
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file" if not path.exists() else f"{path}: is not a file")
        self._size = path.stat().st_size
        try:
            with self._open() as lines:
                self._header, self._columns = contract.columns_of(self._first_cells(lines), str(path), self._delimiter)
                if self._header:
                    self._begin = lines.number
        except PermissionError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
        self._checks = [(name, self._columns[name], cell_reader(field), field) for name, field in self._fields.items()]
        self._fullmatch = self._build_fast_way() if self._is_plain() else None

    @property
    def position(self) -> int:
        """How many bytes of the stored file have been read."""
        return 0 if self._raw is None or self._raw.closed else self._raw.tell()

    def doubt(self) -> str | None:
        """Return what is strange about the times of the first rows: that they are those of another unit."""
        field = self._fields[self._time] if self._time else None
        if not field or field.unit not in _SMALL_UNITS:
            return None
        with closing(self.rows(lambda *_: None)) as rows:
            times = [time for _, time, _ in islice(rows, _LOOKED_AT)]
        if not times or max(times) >= _JANUARY or min(times) * _SMALL_UNITS[field.unit] < _SECONDS_OF_2001:
            return None
        return (
            f"{self.path}: the first {len(times)} rows lie in January 1970 when {self._time} is read as unit = "
            f'"{field.unit}": is it another unit, such as "s"?'
        )

    def rows(self, reject: Reject) -> Generator[CsvRow, None, None]:
        """Yield the accepted rows in file order.

        Raises:
            StreamproofError: the file breaks off in the middle of its compressed data, cannot be read, or has become
                shorter meanwhile.

        """
        fullmatch, comment = self._fullmatch, self._comment
        if fullmatch:
            pick, template, time, scale = self._pick, self._template, self._time_group, self._time_scale
        with self._open() as lines:
            lines.skip(self._begin)
            while line := lines.take():
                if comment and line.startswith(comment):
                    lines.skip_rest(line)
                    continue
                match = None
                if fullmatch:
                    try:
                        match = fullmatch(line.decode())
                    except UnicodeDecodeError:
                        match = None
                if match and len(line) < MAX_RECORD:
                    groups = match.groups(".0")
                    yield lines.number, int(groups[time]) * scale, template % pick(groups)
                elif line not in (b"\n", b"\r\n"):
                    number = lines.number
                    try:
                        yield (number, *self._slow_way(lines, line))
                    except _RejectedError as rejected:
                        reject(number, str(rejected), line)

    def _open(self) -> "_Lines":
        self._raw = open_to_read(self.path)
        with ExitStack() as on_error:
            on_error.callback(self._raw.close)
            lines = _Lines(self._raw, self.path, self._layout.encoding, self._size)
            on_error.pop_all()
        return lines

    def _first_cells(self, lines: "_Lines") -> list[str]:
        lines.skip(self._begin)
        line = self._first_line(lines)
        if match := _SEPARATOR.fullmatch(line.decode(errors="replace").rstrip("\r\n")):
            self._delimiter, self._begin = match[1], lines.number
            line = self._first_line(lines)
        if not line:
            raise UsageError(f"{self.path}: the file is empty")
        try:
            return self._split(lines, line)[0]  # a header's other columns need not be UTF-8
        except _RejectedError:
            return []

    def _first_line(self, lines: "_Lines") -> bytes:
        while line := lines.take():
            if self._comment and line.startswith(self._comment):
                lines.skip_rest(line)
            elif line not in (b"\n", b"\r\n"):
                break
        return line

    def _is_plain(self) -> bool:
        """Whether every cell is of a kind that the one regular expression of the fast way can have."""
        return (
            self._time is not None
            and self._layout.quote == '"'
            and self._layout.nulls == ("",)
            and not self._layout.trim
            and len({*self._columns.values()}) == len(self._columns)
            and all(_is_plain(field) for field in self._fields.values())
        )

    def _build_fast_way(self) -> Callable[[str], re.Match[str] | None]:
        """Make one regular expression for a whole plain line: no quotes, nothing to escape, numbers as JSON has them.

        Whatever it does not match takes the slow way, so it may be stricter than the contract, never laxer.
        """
        comma = re.escape(self._delimiter)
        by_column = {column: name for name, (column,) in self._columns.items()}
        cells, order, groups = [], {}, 0
        for column in range(max(by_column) + 1):
            if (name := by_column.get(column)) is None:
                cells.append(rf'[^"\r\n{comma}]*')
                continue
            cells.append(_plain_cell(self._fields[name], comma))
            count = re.compile(cells[-1]).groups
            order[name] = range(groups, groups + count)
            groups += count
        line = re.compile(comma.join(cells) + rf'(?:{comma}[^"\r\n]*)?\r?\n?')
        self._pick = itemgetter(*(group for name in self._fields for group in order[name]))
        time = self._time or ""
        self._time_group, self._time_scale = order[time][0], 1000 if self._fields[time].unit == "s" else 1
        shapes = {"text": '"%s"', "integer": "%s", "time": "%s"}
        members = []
        for name, field in self._fields.items():
            shape = shapes.get(field.type) or ("%s%s" if field.scale else "%s.0")
            members.append(f'"{name}":{shape}{"000" if field.unit == "s" else ""}')
        self._template = ",".join(members) + "}"
        return line.fullmatch

    def _slow_way(self, lines: "_Lines", line: bytes) -> tuple[int, str]:
        cells = self._cells(lines, line)
        trim, nulls = self._layout.trim, self._layout.nulls
        members, time = [], 0
        for name, columns, read, field in self._checks:
            if columns[-1] >= len(cells) or max(columns) >= len(cells):
                raise _RejectedError(
                    f"{name}: the column is missing: {len(cells)} columns, needed {max(columns) + 1}{self._hint(cells)}"
                )
            parts = [cells[column] for column in columns]
            if trim:
                parts = [part.strip(" \t") for part in parts]
            cell = parts[0] if len(parts) == 1 else " ".join(parts)
            if parts[0] in nulls and all(part in nulls for part in parts):
                value = "null" if field.optional else None
            else:
                value = read(cell)
            if value is None:
                raise _RejectedError(f"{name}: expected {field.expected}, found {cell[:100]!r}")
            members.append(f'"{name}":{value}')
            if name == self._time:
                time = int(value)
        return time, ",".join(members) + "}"

    def _hint(self, cells: list[str]) -> str:
        others = (
            [other for other in ",;\t|" if other != self._delimiter and other in cells[0]] if len(cells) == 1 else []
        )
        return f" (there is {others[0]!r} in it: is csv.delimiter right?)" if others else ""

    def _cells(self, lines: "_Lines", line: bytes) -> list[str]:
        """Return the cells of the record that begins with ``line``, which must be UTF-8."""
        cells, record = self._split(lines, line)
        try:
            record.decode()
        except UnicodeDecodeError as error:
            encoding = "" if self._layout.encoding == "utf-8" else f" when read as {self._layout.encoding}"
            raise _RejectedError(
                f"not UTF-8{encoding}: byte {error.object[error.start]:#04x}; csv.encoding names another encoding"
            ) from error
        return cells

    def _split(self, lines: "_Lines", line: bytes) -> tuple[list[str], bytes]:
        """Return the cells and the bytes of the record that begins with ``line``.

        A malformed record gives its other lines back.
        """
        if _length(line) > MAX_RECORD:
            lines.skip_rest(line)
            raise _RejectedError(f"the line is longer than {MAX_RECORD} bytes")
        taken = [line]
        if self._quote not in line and b"\r" not in (bare := line.rstrip(b"\r\n")):
            return bare.decode(errors="surrogateescape").split(self._delimiter), line

        def feed() -> Iterator[str]:
            yield line.decode(errors="surrogateescape")
            size = len(line)
            while more := lines.take():
                taken.append(more)
                if (size := size + _length(more)) > MAX_RECORD:
                    return
                yield more.decode(errors="surrogateescape")

        try:
            cells = next(csv.reader(feed(), delimiter=self._delimiter, strict=True, **self._quoting))
        except csv.Error as error:
            lines.give_back(taken[1:])
            raise _RejectedError(_malformed(str(error))) from error
        return cells, b"".join(taken)


class _RejectedError(Exception):
    """Raised when a row does not fit; the text is the reason."""


class _Lines:
    """The lines of an open file, numbered from 1, of which some can be given back."""

    def __init__(self, raw: IO[bytes], path: Path, encoding: str, size: int) -> None:
        self.number = 0
        self._raw = raw
        self._size = size
        self._path = path
        try:
            self._file = open_stored(raw, path, encoding)
        except READ_ERRORS as error:
            raise StreamproofError(f"{path}: cannot be read behind line 0: {error}") from error
        self._ahead: deque[bytes] = deque()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._raw.close()

    def take(self) -> bytes:
        """Return the next line, or nothing at the end; of a line that is too long, its beginning."""
        line = self._ahead.popleft() if self._ahead else self._read()
        if line:
            self.number += 1
        return line

    def skip(self, lines: int) -> None:
        """Pass over lines, until so many are behind."""
        while self.number < lines and (line := self.take()):
            self.skip_rest(line)

    def give_back(self, lines: list[bytes]) -> None:
        """Have ``take`` return these lines again."""
        self._ahead.extendleft(reversed(lines))
        self.number -= len(lines)

    def skip_rest(self, line: bytes) -> None:
        """Pass over what is left of a line of which ``take`` returned the beginning."""
        while line and not line.endswith(b"\n"):
            line = self._read()

    def _read(self) -> bytes:
        try:
            line = self._file.readline(MAX_RECORD + 1)
        except READ_ERRORS as error:
            raise StreamproofError(f"{self._path}: cannot be read behind line {self.number}: {error}") from error
        if not line and self._path.exists() and self._path.stat().st_size < self._size:
            raise StreamproofError(f"{self._path}: was cut off behind line {self.number} while it was read")
        return line


def _is_plain(field: ContractField) -> bool:
    return (
        field.type != "boolean"
        and field.unit in {None, "s", "ms"}
        and not (field.format or field.optional or field.round or field.thousands or field.is_wide)
        and field.decimal == "."
    )


def _length(line: bytes) -> int:
    """Return a line's length with its LF, also where the file's end stands for it."""
    return len(line) + (not line.endswith(b"\n"))


def _plain_cell(field: ContractField, comma: str) -> str:
    if field.type == "text":
        return rf'([^"\\\x00-\x1f{comma}]+)'
    if field.type == "integer":
        return rf"(0|-?[1-9][0-9]{{0,{field.digits - 1}}})"
    if field.type == "time":
        return rf"([1-9][0-9]{{0,{field.digits - 1}}})"
    if field.scale:
        return rf"(-?(?:0|[1-9][0-9]{{0,{14 - field.scale}}}))(\.[0-9]{{1,{field.scale}}})?"
    return "(-?(?:0|[1-9][0-9]{0,14}))"


def _malformed(error: str) -> str:
    if "unexpected end" in error:
        return "a quoted cell is never closed"
    return f"malformed: {'a carriage return outside quotes' if 'new-line' in error else error}"
