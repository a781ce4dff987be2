"""A run's CSV files, read anew by DuckDB: which records fit the contract, in which order, with which cells.

The replayer follows the same rules by its own code:

- The bytes are those of ``streamproof.core.stored_file``; the contract's ``skip_lines`` are passed over, and so is a
  first line ``sep=X``, which names the delimiter.
- A record is a line, ended by LF or CRLF; blank lines and those that begin with the contract's comment do not count. A
  cell that begins with a quote ends at the next single quote and may hold delimiters, line breaks and doubled quotes,
  so that a record can go over several lines.
- A record fits when it is valid UTF-8, holds every column of the contract, and each of their cells can be read whole as
  its field (``validation.cells``), or is one of the contract's words for nothing and the field is optional.
- Where a quoted cell is never closed (within 1 MiB), where anything stands between a closing quote and the next
  delimiter, or where a lone CR stands outside quotes, the line does not fit, and the next line begins a new record.
"""

import csv
import hashlib
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamproof.core.contract import Contract, CsvFormat
from streamproof.core.errors import StreamproofError
from streamproof.core.run import Run, Source
from streamproof.core.stored_file import READ_ERRORS, open_stored
from validation.cells import cell_value, quoted

_BLOCK = 8 << 20
_LONGEST = 1 << 20
"""Bytes of the longest record with its line end; it bounds how far an open quote is followed."""
_LF = ord("\n")
_SCHEMA = pa.schema([("number", pa.int64()), ("line", pa.large_string())])


@dataclass(frozen=True)
class FileCounts:
    """Lines of a category's file: those that fit the contract, and those that do not."""

    accepted: int
    rejected: int
    note: str | None = None
    """What a reader of the verdict should know of the file."""


def read_rows(db: duckdb.DuckDBPyConnection, run: Run, fields: Collection[str] | None = None) -> dict[str, FileCounts]:
    """Create the table ``accepted``: the rows that fit, with each field under its own name and with its own type.

    Beside the fields it holds category, _line (from 1), and _time: the file's own time, milliseconds since the epoch.
    No field can be named like these.

    Args:
        db: where the table is made.
        run: the run's manifest.
        fields: those that are kept; without it all. Every cell is looked at all the same.

    Raises:
        StreamproofError: a file is missing or is not the one that was replayed.

    """
    kept = [name for name in run.contract.fields if fields is None or name in fields]
    columns = "".join(f', "{name}" {run.contract.fields[name].duckdb_type}' for name in kept)
    db.execute(f"CREATE OR REPLACE TABLE accepted (category VARCHAR, _line BIGINT, _time BIGINT{columns})")
    counts = {}
    for category, source in run.sources.items():
        _check_unchanged(category, source)
        try:
            counts[category] = _read_file(db, run.contract, kept, category, source.file)
        except READ_ERRORS as error:
            raise StreamproofError(f"{source.file}: cannot be read: {error}") from error
    return counts


def _check_unchanged(category: str, source: Source) -> None:
    try:
        with source.file.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StreamproofError(f"{source.file} (category {category}) cannot be read: {error.strerror}") from error
    if digest != source.sha256:
        raise StreamproofError(
            f"{source.file} (category {category}) has changed since it was replayed: its SHA-256 is {digest}, "
            f"the run's is {source.sha256}. Put the old file back, or replay the new one"
        )


def _read_file(
    db: duckdb.DuckDBPyConnection, contract: Contract, kept: list[str], category: str, file: Path
) -> FileCounts:
    records = _Records(file, contract.csv)
    number, first = records.first()
    if match := re.fullmatch('"?sep=(.)"?', first, re.IGNORECASE):
        records = _Records(file, contract.csv, match[1], number)
        number, first = records.first()
    delimiter, quote = records.delimiter, contract.csv.quote
    if not number:
        for _ in records.reader():
            pass
        return FileCounts(0, records.not_blank)  # lines that are nothing but several CRs
    try:
        # Lines as LF ends them: str.splitlines() would cut at U+2028 and others, too.
        lines = io.StringIO(first, newline="\n")
        how: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
        cells = next(csv.reader(lines, delimiter=delimiter, strict=True, **how), [])
    except csv.Error:
        cells = []
    header, columns = contract.columns_of(cells, str(file), delimiter)
    values, nulls, words = [], [], [f"'{quoted(word)}'" for word in contract.csv.nulls]
    for name, field in contract.fields.items():
        found = [f"cells[{column + 1}]" for column in columns[name]]
        if contract.csv.trim:
            found = [f"trim({cell}, ' ' || chr(9))" for cell in found]
        value = cell_value(" || chr(32) || ".join(found), field)
        if words and (field.optional or words != ["''"]):  # an empty cell fits no field anyway
            nothing = " AND ".join(f"{cell} IN ({', '.join(words)})" for cell in found)
            value = f"CASE WHEN NOT ({nothing}) THEN {value} END"
        if name not in kept and name != contract.event_time:
            value = f"nullif(({value}) IS NOT NULL, false)"  # only whether it fits
        values.append(f'{value} AS "{name}"')
        if field.optional:
            nulls.append(f'{nothing if words else "false"} AS "_no_{name}"')
    fits = " AND ".join(
        f'("{name}" IS NOT NULL' + (f' OR "_no_{name}")' if field.optional else ")")
        for name, field in contract.fields.items()
    )
    time = f'"{contract.event_time}"' if contract.event_time else "NULL"
    stored = "".join(
        f', make_timestamp_ms("{name}")' if contract.fields[name].type == "time" else f', "{name}"' for name in kept
    )
    arrow = records.reader()  # noqa: F841 (DuckDB finds it by its name)
    inserted = db.execute(
        f"""
        INSERT INTO accepted
        WITH cut AS MATERIALIZED (
            SELECT number, {_CELLS if quote else _CELLS_WITHOUT_QUOTES} AS cells
            FROM (SELECT number, strlen(line) AS length, {_WITHOUT_CR} AS line FROM arrow WHERE number > $header)
        ),
        typed AS MATERIALIZED (SELECT number, {", ".join([*values, *nulls])} FROM cut)
        SELECT $category, number, {time}{stored}
        FROM typed WHERE {fits}
        """,
        {
            "category": category,
            "header": number if header else 0,
            **_quoting(delimiter, quote),
        },
    ).fetchone()
    accepted = cast("tuple[int]", inserted)[0]
    note = None
    if (
        not header
        and not db.execute(
            "SELECT 1 FROM accepted WHERE category = ? AND _line = ? LIMIT 1", [category, number]
        ).fetchone()
    ):
        note = f"the first line does not fit, though the contract says that there is no header: {first[:100]!r}"
    return FileCounts(accepted, records.not_blank - header - accepted, note)


_WITHOUT_CR = "CASE WHEN suffix(line, chr(13)) THEN rtrim(line, chr(13)) ELSE line END"  # rtrim is slow

_CELLS = f"""CASE
    WHEN length >= {_LONGEST} THEN NULL
    WHEN NOT contains(line, $quote)
        THEN CASE WHEN NOT contains(line, chr(13)) THEN string_split(line, $delimiter) END
    WHEN regexp_full_match(line, $quoted_record)
        THEN [CASE WHEN c[1] = $quote THEN replace(c[2:-2], $quote || $quote, $quote) ELSE c END
              FOR c IN regexp_extract_all($delimiter || line, $quoted_cell, 1)]
    END"""

_CELLS_WITHOUT_QUOTES = f"""CASE
    WHEN length < {_LONGEST} AND NOT contains(line, chr(13)) THEN string_split(line, $delimiter)
    END"""


def _quoting(delimiter: str, quote: str) -> dict[str, str]:
    if not quote:
        return {"delimiter": delimiter}
    separator, mark = f"\\x{{{ord(delimiter):X}}}", f"\\x{{{ord(quote):X}}}"
    cell = f"{mark}(?:[^{mark}]|{mark}{mark})*{mark}|[^{mark}\\r\\n{separator}][^\\r\\n{separator}]*|"
    return {
        "delimiter": delimiter,
        "quote": quote,
        "quoted_record": f"(?:{cell})(?:{separator}(?:{cell}))*",
        "quoted_cell": f"{separator}({cell})",
    }


class _Records:
    """The records of a file for DuckDB, numbered from 1, each with its text or, where it is not UTF-8, NULL.

    DuckDB's own CSV reader does not cut them: it ends a line at a lone CR, and a stray quote swallows what follows.

    Attributes:
        not_blank: records given so far that are not blank lines.

    """

    def __init__(self, file: Path, layout: CsvFormat, delimiter: str = "", skipped: int = 0) -> None:
        self.delimiter = delimiter or layout.delimiter
        self._file = file
        self._encoding = layout.encoding
        self._skipped = skipped or layout.skip_lines
        self._comment = (layout.comment or "").encode()
        self._quote = layout.quote.encode()
        separator, mark = re.escape(self.delimiter.encode()), re.escape(self._quote)
        cell = rb"(?:%b(?:[^%b]|%b%b)*+%b|(?!%b)(?:(?!%b)[^\r\n])*+)" % (mark, mark, mark, mark, mark, mark, separator)
        self._quoted = re.compile(rb"%b(?:%b%b)*+\r*(?:\n|\Z)" % (cell, separator, cell))
        self.not_blank = 0

    def first(self) -> tuple[int, str]:
        """Return the number and the text (none if it is too long) of the first record that is not blank, or 0."""
        number = self._skipped
        for records in self._blocks():
            for record in (each.as_py() for each in records):
                number += 1
                if (text := record.rstrip(b"\r")) and not (self._comment and record.startswith(self._comment)):
                    return number, text.decode("utf-8", "replace") if len(record) < _LONGEST else ""
        return 0, ""

    def reader(self) -> pa.RecordBatchReader:
        """Return the records as Arrow batches, to be read once."""
        return pa.RecordBatchReader.from_batches(_SCHEMA, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        # Not where the module is loaded: a command's help would wait for both, and the second loads pandas.
        import pyarrow.compute as pc

        blank = pa.array([b"", b"\r"], pa.large_binary())
        number, self.not_blank = self._skipped + 1, 0
        for records in self._blocks():
            if self._comment:
                records = pc.if_else(pc.starts_with(records, self._comment), b"", records)  # noqa: PLW2901
            self.not_blank += len(records) - pc.is_in(records, blank).true_count
            try:
                texts = records.cast(pa.large_string())
            except pa.ArrowInvalid:
                texts = pa.array([_text(record) for record in records.to_pylist()], pa.large_string())
            numbers = pa.array(np.arange(number, number + len(records)))
            yield pa.RecordBatch.from_arrays([numbers, texts], schema=_SCHEMA)
            number += len(records)

    def _blocks(self) -> Iterator[pa.LargeBinaryArray]:
        """Yield the file's records, without the LF at their end, some megabytes at a time."""
        with self._file.open("rb") as raw:
            file = open_stored(raw, self._file, self._encoding)
            for _ in range(self._skipped):
                file.readline()
            data = file.read(_BLOCK)
            while data:
                more = file.read(_BLOCK)
                ends = np.array(self._ends(data, at_end=not more), np.int64)
                position = int(ends[-1]) + 1 if len(ends) else 0
                if not more and position < len(data):
                    ends = np.append(ends, len(data))
                    self.not_blank += data[position:] == b"\r"  # no line end follows it, so it is none itself
                    position = len(data)
                if len(ends):
                    # Of the pieces between these places every other one is a record, and the others are the LFs.
                    places = np.stack([np.append(0, ends[:-1] + 1), ends], axis=1)
                    buffers = [None, pa.py_buffer(places), pa.py_buffer(data)]
                    pieces = pa.Array.from_buffers(pa.large_binary(), places.size - 1, buffers)
                    yield pieces.take(pa.array(np.arange(0, places.size, 2)))
                data = data[position:] + more

    def _ends(self, data: bytes, *, at_end: bool) -> "Sequence[int] | npt.NDArray[np.int64]":
        """Return where the records end that surely do so within ``data``."""
        if self._quote and self._quote in data:
            return self._ends_of_quoted(data, at_end=at_end)
        return np.flatnonzero(np.frombuffer(data, np.uint8) == _LF)

    def _ends_of_quoted(self, data: bytes, *, at_end: bool) -> list[int]:
        ends, position = [], 0
        while (end := data.find(b"\n", position)) >= 0:
            if data.find(self._quote, position, end) >= 0 and not (
                self._comment and data.startswith(self._comment, position)
            ):
                limit = min(position + _LONGEST, len(data))
                record = self._quoted.match(data, position, limit)
                ends_file = at_end and record and record.end() == len(data) < position + _LONGEST
                if record and (data[record.end() - 1] == _LF or ends_file):
                    end = record.end() - (data[record.end() - 1] == _LF)
                elif not at_end and limit == len(data):
                    break  # it may be closed in what is still to be read
            ends.append(end)
            position = end + 1
        return ends


def _text(record: bytes) -> str | None:
    try:
        return record.decode()
    except UnicodeDecodeError:
        return None
