"""A category's CSV file as rows that fit the contract; what does not fit is handed to ``reject``.

The rules, so that others can read the same rows from the same file:

- The file is UTF-8, with or without a byte order mark; plain, or gzip where its name ends in ``.gz``.
- Lines end in LF or CRLF; the last one may end with the file. A line with nothing in it is skipped.
- A cell that begins with ``"`` is quoted: it ends at the next single ``"`` and may hold delimiters, line breaks
  and ``""`` for one quote. A quote elsewhere in a cell stands for itself.
- A record is malformed when something follows a closing quote before the next delimiter, when a bare CR stands
  outside quotes, or when a quoted cell is still open after 1 MiB or at the end of the file. Only the record's
  first *line* is rejected then, and reading goes on with the next line: a stray quote never swallows the file.
- A line of more than 1 MiB, its line end included, is rejected.
- A record is accepted if it is valid UTF-8, has all needed columns, and each needed cell as a whole matches its
  field's pattern. Nothing is trimmed. Further columns, and columns that no field needs, are ignored.
"""

import csv
import gzip
import io
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import IO

import msgspec

from edge_replayer.open_files import open_to_read
from streamproof.core.contract import Contract, ContractField
from streamproof.core.errors import StreamproofError, UsageError

MAX_RECORD = 1 << 20
"""Bytes of the longest record: what bounds an unbalanced quote."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

CsvRow = tuple[int, int, str]
"""Line number from 1, the file's own time in milliseconds, and the JSON of the contract's fields without ``{``."""

Reject = Callable[[int, str, bytes], None]
"""Called with the line number, the reason and the line's bytes."""


class CsvRows:
    """The rows of one file, read anew (and streamed) by each iteration.

    Raises:
        UsageError: the file cannot be read or is empty, or its columns do not fit the contract.

    """

    def __init__(self, contract: Contract, path: Path) -> None:
        self.path = path
        self._fields = contract.fields
        self._time = contract.event_time
        self._delimiter = contract.csv.delimiter
        self._raw: IO[bytes] | None = None
        csv.field_size_limit(2 * MAX_RECORD)
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file" if not path.exists() else f"{path}: is not a file")
        self._size = path.stat().st_size
        try:
            with self._open() as lines:
                cells = self._first_record(lines)
        except PermissionError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
        if cells is None:
            raise UsageError(f"{path}: the file is empty")
        self._header, self._columns = contract.columns_of(cells, str(path))
        self._checks = [
            (name, self._columns[name], re.compile(field.pattern).fullmatch, field)
            for name, field in self._fields.items()
        ]
        self._build_fast_way()

    @property
    def position(self) -> int:
        """How many bytes of the stored file have been read."""
        return 0 if self._raw is None or self._raw.closed else self._raw.tell()

    def rows(self, reject: Reject) -> Iterator[CsvRow]:
        """Yield the accepted rows in file order.

        Raises:
            StreamproofError: the file breaks off in the middle of its compressed data, cannot be read, or has become
                shorter meanwhile.

        """
        pick, template, time, scale = self._pick, self._template, self._time_group, self._time_scale
        fullmatch = self._line.fullmatch
        with self._open() as lines:
            if self._header:
                self._first_record(lines)
            while line := lines.take():
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
        return _Lines(self._raw, self.path, self._size)

    def _first_record(self, lines: "_Lines") -> list[str] | None:
        while line := lines.take():
            if line not in (b"\n", b"\r\n"):
                try:
                    return self._split(lines, line)[0]  # a header's other columns need not be UTF-8
                except _RejectedError:
                    return []
        return None

    def _build_fast_way(self) -> None:
        """Make one regular expression for a whole plain line: no quotes, nothing to escape, numbers as JSON has them.

        Whatever it does not match takes the slow way, so it may be stricter than the contract, never laxer.
        """
        comma = re.escape(self._delimiter)
        by_column = {column: name for name, column in self._columns.items()}
        cells, order, groups = [], {}, 0
        for column in range(max(by_column) + 1):
            if (name := by_column.get(column)) is None:
                cells.append(rf'[^"\r\n{comma}]*')
                continue
            cells.append(_plain_cell(self._fields[name], comma))
            count = re.compile(cells[-1]).groups
            order[name] = range(groups, groups + count)
            groups += count
        self._line = re.compile(comma.join(cells) + rf'(?:{comma}[^"\r\n]*)?\r?\n?')
        self._pick = itemgetter(*(group for name in self._fields for group in order[name]))
        self._time_group, self._time_scale = order[self._time][0], _milliseconds(self._fields[self._time])
        shapes = {"text": '"%s"', "integer": "%s", "time": "%s"}
        members = []
        for name, field in self._fields.items():
            shape = shapes.get(field.type) or ("%s%s" if field.scale else "%s.0")
            members.append(f'"{name}":{shape}{"000" if field.unit == "s" else ""}')
        self._template = ",".join(members) + "}"

    def _slow_way(self, lines: "_Lines", line: bytes) -> tuple[int, str]:
        cells = self._cells(lines, line)
        members, time = [], 0
        for name, column, fullmatch, field in self._checks:
            if column >= len(cells):
                raise _RejectedError(f"{name}: the column is missing: {len(cells)} columns, needed {column + 1}")
            cell = cells[column]
            if not fullmatch(cell):
                raise _RejectedError(f"{name}: expected {field.expected}, found {cell[:100]!r}")
            members.append(f'"{name}":{_json(cell, field)}')
            if name == self._time:
                time = int(cell) * _milliseconds(field)
        return time, ",".join(members) + "}"

    def _cells(self, lines: "_Lines", line: bytes) -> list[str]:
        """Return the cells of the record that begins with ``line``, which must be UTF-8."""
        cells, record = self._split(lines, line)
        try:
            record.decode()
        except UnicodeDecodeError as error:
            raise _RejectedError(f"not UTF-8: byte {error.object[error.start]:#04x}") from error
        return cells

    def _split(self, lines: "_Lines", line: bytes) -> tuple[list[str], bytes]:
        """Return the cells and the bytes of the record that begins with ``line``.

        A malformed record gives its other lines back.
        """
        if _length(line) > MAX_RECORD:
            lines.skip_rest(line)
            raise _RejectedError(f"the line is longer than {MAX_RECORD} bytes")
        taken = [line]

        def feed() -> Iterator[str]:
            yield line.decode(errors="surrogateescape")
            size = len(line)
            while more := lines.take():
                taken.append(more)
                if (size := size + _length(more)) > MAX_RECORD:
                    return
                yield more.decode(errors="surrogateescape")

        try:
            cells = next(csv.reader(feed(), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            lines.give_back(taken[1:])
            raise _RejectedError(_malformed(str(error))) from error
        return cells, b"".join(taken)


class _RejectedError(Exception):
    """Raised when a row does not fit; the text is the reason."""


class _Lines:
    """The lines of an open file, numbered from 1, of which some can be given back."""

    def __init__(self, raw: IO[bytes], path: Path, size: int) -> None:
        self.number = 0
        self._raw = raw
        self._size = size
        self._path = path
        self._file = io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 18) if path.suffix == ".gz" else raw
        self._ahead: deque[bytes] = deque()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._raw.close()

    def take(self) -> bytes:
        """Return the next line, or nothing at the end; of a line that is too long, its beginning."""
        if self._ahead:
            line = self._ahead.popleft()
        elif self.number:
            line = self._read()
        else:
            line = self._read(len(_BYTE_ORDER_MARK)).removeprefix(_BYTE_ORDER_MARK)
        if line:
            self.number += 1
        return line

    def give_back(self, lines: list[bytes]) -> None:
        """Have ``take`` return these lines again."""
        self._ahead.extendleft(reversed(lines))
        self.number -= len(lines)

    def skip_rest(self, line: bytes) -> None:
        """Pass over what is left of a line of which ``take`` returned the beginning."""
        while line and not line.endswith(b"\n"):
            line = self._read()

    def _read(self, more: int = 0) -> bytes:
        try:
            line = self._file.readline(MAX_RECORD + 1 + more)
        except (OSError, EOFError, zlib.error) as error:
            raise StreamproofError(f"{self._path}: cannot be read behind line {self.number}: {error}") from error
        if not line and self._raw.tell() < self._size:
            raise StreamproofError(f"{self._path}: was cut off behind line {self.number} while it was read")
        return line


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


def _json(cell: str, field: ContractField) -> str:
    if field.type == "text":
        return msgspec.json.encode(cell).decode()
    if field.type == "decimal":
        whole, _, part = cell.lstrip("+-").partition(".")
        return f"{'-' if cell[0] == '-' else ''}{int(whole)}.{part or '0'}"
    return str(int(cell) * _milliseconds(field))


def _malformed(error: str) -> str:
    if "unexpected end" in error:
        return "a quoted cell is never closed"
    return f"malformed: {'a carriage return outside quotes' if 'new-line' in error else error}"


def _milliseconds(field: ContractField) -> int:
    return 1000 if field.unit == "s" else 1
