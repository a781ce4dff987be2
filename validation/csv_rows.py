"""A run's CSV files, read anew by DuckDB: which records fit the contract, in which order, with which cells.

The replayer follows the same rules by its own code:

- A record is a line, ended by LF or CRLF; blank lines do not count. A cell that begins with a quote ends at the next
  single quote and may hold delimiters, line breaks and doubled quotes, so that a record can go over several lines.
- A record fits when it is valid UTF-8, holds every column of the contract, and each of their cells matches the
  field's pattern whole; nothing is trimmed.
- Where a quoted cell is never closed (within 1 MiB), where anything stands between a closing quote and the next
  delimiter, or where a lone CR stands outside quotes, the line does not fit, and the next line begins a new record.
"""

import csv
import gzip
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import duckdb
import pyarrow as pa

from streamproof.core.contract import Contract, ContractField
from streamproof.core.errors import StreamproofError
from streamproof.core.run import Run, Source

_BLOCK = 8 << 20
_LONGEST = 1 << 20
"""Bytes of the longest record with its line end; it bounds how far an open quote is followed."""
_LF = ord("\n")
_BOM = b"\xef\xbb\xbf"
_SCHEMA = pa.schema([("number", pa.int64()), ("line", pa.string())])


@dataclass(frozen=True)
class FileCounts:
    """Lines of a category's file: those that fit the contract, and those that do not."""

    accepted: int
    rejected: int


def read_rows(db: duckdb.DuckDBPyConnection, run: Run) -> dict[str, FileCounts]:
    """Create the table ``accepted``: category, line (from 1), key, measure (exact), actor, time (ms since the epoch).

    Raises:
        StreamproofError: a file is missing or is not the one that was replayed.

    """
    scale = run.contract.fields[run.contract.measure].scale or 0
    db.execute(
        f"CREATE TABLE accepted (category VARCHAR, line BIGINT, key VARCHAR, measure DECIMAL(18, {scale}), "
        "actor VARCHAR, time BIGINT)"
    )
    counts = {}
    for category, source in run.sources.items():
        _check_unchanged(category, source)
        try:
            counts[category] = _read_file(db, run.contract, category, source.file)
        except (OSError, EOFError) as error:
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


def _read_file(db: duckdb.DuckDBPyConnection, contract: Contract, category: str, file: Path) -> FileCounts:
    records = _Records(file, contract.csv.delimiter)
    number, first = records.first()
    if not number:
        for _ in records.reader():
            pass
        return FileCounts(0, records.not_blank)  # lines that are nothing but several CRs
    try:
        # Lines as LF ends them: str.splitlines() would cut at U+2028 and others, too.
        lines = io.StringIO(first, newline="\n")
        cells = next(csv.reader(lines, delimiter=contract.csv.delimiter, strict=True), [])
    except csv.Error:
        cells = []
    header, columns = contract.columns_of(cells, str(file))

    def cell(name: str) -> str:
        return f"cells[{columns[name] + 1}]"

    fits = " AND ".join(f"({_fits(cell(name), spec)})" for name, spec in contract.fields.items())
    to_milliseconds = 1000 if contract.fields[contract.event_time].unit == "s" else 1
    arrow = records.reader()  # noqa: F841 (DuckDB finds it by its name)
    inserted = db.execute(
        f"""
        INSERT INTO accepted
        WITH cut AS MATERIALIZED (
            SELECT number, {_CELLS} AS cells
            FROM (SELECT number, strlen(line) AS length, rtrim(line, chr(13)) AS line FROM arrow WHERE number > $header)
        )
        SELECT $category, number, {cell(contract.key)}, ltrim({cell(contract.measure)}, '+'),
               {cell(contract.actor) if contract.actor else "NULL"},
               CAST({cell(contract.event_time)} AS BIGINT) * {to_milliseconds}
        FROM cut WHERE {fits}
        """,
        {"category": category, "header": number if header else 0, **_quoting(contract.csv.delimiter)},
    ).fetchone()
    accepted = cast("tuple[int]", inserted)[0]
    return FileCounts(accepted, records.not_blank - header - accepted)


_CELLS = f"""CASE
    WHEN length >= {_LONGEST} THEN NULL
    WHEN line NOT LIKE '%"%'
        THEN CASE WHEN line NOT LIKE '%' || chr(13) || '%' THEN string_split(line, $delimiter) END
    WHEN regexp_full_match(line, $quoted_record)
        THEN [CASE WHEN c[1] = '"' THEN replace(c[2:-2], '""', '"') ELSE c END
              FOR c IN regexp_extract_all($delimiter || line, $quoted_cell, 1)]
    END"""


def _quoting(delimiter: str) -> dict[str, str]:
    separator = f"\\x{{{ord(delimiter):X}}}"
    cell = f'"(?:[^"]|"")*"|[^"\\r\\n{separator}][^\\r\\n{separator}]*|'
    return {
        "delimiter": delimiter,
        "quoted_record": f"(?:{cell})(?:{separator}(?:{cell}))*",
        "quoted_cell": f"{separator}({cell})",
    }


def _fits(cell: str, spec: ContractField) -> str:
    if spec.type == "text":  # what its pattern says, at a tenth of the price
        return f"{cell} <> ''"
    return f"regexp_full_match({cell}, '{spec.pattern}')"


class _Records:
    """The records of a file for DuckDB, numbered from 1, each with its text or, where it is not UTF-8, NULL.

    DuckDB's own CSV reader does not cut them: it ends a line at a lone CR, and a stray quote swallows what follows.

    Attributes:
        not_blank: records given so far that are not blank lines.

    """

    def __init__(self, file: Path, delimiter: str) -> None:
        self._file = file
        separator = re.escape(delimiter.encode())
        cell = rb'(?:"(?:[^"]|"")*+"|(?!")(?:(?!%b)[^\r\n])*+)' % separator
        self._quoted = re.compile(rb"%b(?:%b%b)*+\r*(?:\n|\Z)" % (cell, separator, cell))
        self.not_blank = 0

    def first(self) -> tuple[int, str]:
        """Return the number and the text (none if it is too long) of the first record that is not blank, or 0."""
        number = 0
        for records in self._blocks():
            for record in records:
                number += 1
                if text := record.rstrip(b"\r"):
                    return number, text.decode("utf-8", "replace") if len(record) < _LONGEST else ""
        return 0, ""

    def reader(self) -> pa.RecordBatchReader:
        """Return the records as Arrow batches, to be read once."""
        return pa.RecordBatchReader.from_batches(_SCHEMA, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        number, self.not_blank = 1, 0
        for records in self._blocks():
            self.not_blank += len(records) - records.count(b"") - records.count(b"\r")
            raw = pa.array(records, pa.binary())
            try:
                texts = raw.cast(pa.string())
            except pa.ArrowInvalid:
                texts = pa.array([_text(record) for record in records], pa.string())
            numbers = pa.array(range(number, number + len(records)), pa.int64())
            yield pa.RecordBatch.from_arrays([numbers, texts], schema=_SCHEMA)
            number += len(records)

    def _blocks(self) -> Iterator[list[bytes]]:
        """Yield the file's records, without the LF at their end, some megabytes at a time."""
        with self._file.open("rb") as raw:
            file = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if self._file.suffix == ".gz" else raw
            data = file.read(_BLOCK).removeprefix(_BOM)
            while data:
                more = file.read(_BLOCK)
                if b'"' in data:
                    records, rest = self._cut_quoted(data, at_end=not more)
                else:
                    *records, rest = data.split(b"\n")
                if not more and rest:
                    records.append(rest)
                    self.not_blank += rest == b"\r"  # no line end follows it, so it is none itself
                    rest = b""
                yield records
                data = rest + more

    def _cut_quoted(self, data: bytes, *, at_end: bool) -> tuple[list[bytes], bytes]:
        """Return the records that surely end within ``data``, and what is left of it."""
        records, position = [], 0
        while (end := data.find(b"\n", position)) >= 0:
            if data.find(b'"', position, end) >= 0:
                limit = min(position + _LONGEST, len(data))
                record = self._quoted.match(data, position, limit)
                ends_file = at_end and record and record.end() == len(data) < position + _LONGEST
                if record and (data[record.end() - 1] == _LF or ends_file):
                    end = record.end() - (data[record.end() - 1] == _LF)
                elif not at_end and limit == len(data):
                    break  # it may be closed in what is still to be read
            records.append(data[position:end])
            position = end + 1
        return records, data[position:]


def _text(record: bytes) -> str | None:
    try:
        return record.decode()
    except UnicodeDecodeError:
        return None
