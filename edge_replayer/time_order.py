"""Rows sorted by the file's own time, outside memory: DuckDB sorts, and spills to a folder."""

import io
from collections.abc import Iterator
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path

import duckdb
import pyarrow as pa

from edge_replayer.csv_rows import CsvRow
from edge_replayer.open_files import open_to_read
from streamproof.core.disk import duckdb_in
from streamproof.core.errors import StreamproofError

_SCHEMA = pa.schema([("line", pa.int64()), ("time", pa.int64()), ("body", pa.string())])
_CHUNK = 5_000
_MEMORY = "64MB"
_LINE = "%d %d %s\n"


def sorted_by_time(rows: Iterator[CsvRow], limit: int | None, folder: Path, name: str) -> Iterator[CsvRow]:
    """Read all rows now, and return them by (time, line), the first ``limit`` of them.

    The sorted rows wait in a file: DuckDB would keep its memory for as long as its result is read, once for each
    category. A few rows are sorted without it.

    Raises:
        StreamproofError: as ``rows`` does.
        OSError: there is no room in the folder.

    """
    file = folder / f"{name}.sorted"
    few = list(islice(rows, _CHUNK))
    if len(few) < _CHUNK:
        with file.open("w", encoding="utf-8", newline="\n") as out:
            out.writelines([_LINE % row for row in sorted(few, key=itemgetter(1, 0))[:limit]])
        return _read(file)
    failures: list[StreamproofError] = []

    def guarded() -> Iterator[CsvRow]:
        # Through Arrow and DuckDB an error would come out as one of theirs.
        try:
            yield from chain(few, rows)
        except StreamproofError as error:
            failures.append(error)

    source = guarded()
    batches = iter(lambda: list(islice(source, _CHUNK)), [])
    chunks = (pa.record_batch(list(zip(*batch, strict=True)), schema=_SCHEMA) for batch in batches)
    # One thread: two would each want their share of the little memory, and the reading is in Python anyway.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY,
        "temp_directory": str(folder / "spill"),
        "threads": 1,
    }
    with (
        duckdb_in(folder),
        duckdb.connect(config=settings) as database,
        file.open("w", encoding="utf-8", newline="\n") as out,
    ):
        database.register("unsorted", pa.RecordBatchReader.from_batches(_SCHEMA, chunks))
        first = f"LIMIT {limit}" if limit else ""
        database.execute(f"SELECT line, time, body FROM unsorted ORDER BY time, line {first}")
        while found := database.fetchmany(_CHUNK):
            out.writelines([_LINE % row for row in found])
    if failures:
        raise failures[0]
    return _read(file)


def _read(file: Path) -> Iterator[CsvRow]:
    with io.TextIOWrapper(open_to_read(file), encoding="utf-8", newline="\n") as lines:
        for text in lines:
            line, time, body = text.split(" ", 2)
            yield int(line), int(time), body[:-1]
