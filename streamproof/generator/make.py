"""The making of the files: the rows' columns are computed by DuckDB and written by Arrow; ``truth.csv`` beside them."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv

from streamproof.core.errors import UsageError
from streamproof.generator.blocks import blocks
from streamproof.generator.chance import Chance
from streamproof.generator.declaration import Stream, load_generator
from streamproof.generator.draws import Drawn, make_tables, refuse_what_changes, select
from streamproof.generator.rows import Rows

TRUTH = "truth.csv"
TRUTH_COLUMNS = ("kind", "category", "key", "begin", "end", "size")


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        files: the file of each category.
        truth: the file that says what was put in on purpose.

    """

    files: dict[str, Path]
    truth: Path


def make(
    name_or_path: str,
    rows: int,
    folder: Path,
    *,
    seed: int = 1,
    keys: int | None = None,
    a_day: int | None = None,
    categories: Sequence[str] | None = None,
) -> Made:
    """Make the files of a stream; what lies there under their names is written over.

    The same arguments give the same bytes on every machine. The first lines of a longer file are the shorter one.

    Args:
        name_or_path: a stream that comes with the project, or the path of a contract with a ``generator.toml`` beside.
        rows: how many, in all categories together; what is left over by an even division goes to the first ones.
        folder: where to; it is made.
        seed: other seeds make other files.
        keys: how many rows the table has that the declaration calls ``keys``.
        a_day: how many rows (or sessions) a day there are, in place of what the clock says.
        categories: others than those of the declaration.

    Raises:
        UsageError: the declaration is wrong, or a value cannot stand in a CSV file without quotes.

    """
    stream = load_generator(name_or_path)
    names = list(categories or stream.generator.categories)
    if keys is not None and stream.generator.keys is None:
        raise UsageError(f"{stream.folder / 'generator.toml'} names no table whose rows could be chosen: keys")
    if a_day is not None:
        stream = _with_pace(stream, a_day)
    folder.mkdir(parents=True, exist_ok=True)
    truth: list[tuple[object, ...]] = []
    files = {name: folder / f"{name}.csv" for name in names}
    for place, (name, file) in enumerate(files.items()):
        mine = rows // len(names) + (place < rows % len(names))
        truth += _Writer(stream, seed, name, keys).write(file, mine)
    with (folder / TRUTH).open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(TRUTH_COLUMNS)
        writer.writerows(truth)
    return Made(files, folder / TRUTH)


def _with_pace(stream: Stream, a_day: int) -> Stream:
    clock = stream.generator.clock
    if clock is None:
        raise UsageError(f"{stream.folder / 'generator.toml'} has no clock whose pace could be chosen")
    generator = stream.generator.model_copy(update={"clock": clock.model_copy(update={"a_day": a_day})})
    return stream.model_copy(update={"generator": generator})


class _Writer:
    def __init__(self, stream: Stream, seed: int, category: str, keys: int | None) -> None:
        self._stream, self._generator, self._category = stream, stream.generator, category
        self._source = str(stream.folder / "generator.toml")
        self._db = duckdb.connect(config={"threads": 1})
        tables = self._generator.tables.items()
        texts = {f"tables.{name}.{each}": sql for name, table in tables for each, sql in table.columns.items()}
        texts |= {f"columns.{name}": sql for name, sql in self._generator.columns.items()}
        refuse_what_changes(self._db, texts, self._source)
        chance = Chance(seed, category)
        made = make_tables(stream, chance, self._db, keys)
        self._draws = {name: Drawn(draw, made, self._source) for name, draw in self._generator.draw.items()}
        self._blocks = blocks(self._generator, self._draws, chance)
        sessions = self._generator.sessions
        self._states = pa.array(list(sessions.states) if sessions else [], pa.string())
        # NULL is an empty cell; all else is written as DuckDB has it as text.
        self._columns = {name: f"({sql})::VARCHAR" for name, sql in self._generator.columns.items()}
        keys_of = [
            f"WHEN {number} THEN {self._columns[key]}"
            for number, kind in enumerate(self._generator.kinds)
            if (key := self._generator.truth[kind].key)
        ]
        self._key = f"CASE _kind {' '.join(keys_of)} END" if keys_of else "NULL"

    def write(self, file: Path, rows: int) -> list[tuple[object, ...]]:
        """Write a file; return the lines of ``truth.csv`` about it."""
        layout = self._stream.contract.csv
        options = pa.csv.WriteOptions(include_header=False, delimiter=layout.delimiter, quoting_style="none")
        schema = pa.schema([(name, pa.string()) for name in self._columns])
        self._db.execute("CREATE TABLE noted (kind BIGINT, number BIGINT, key VARCHAR, moment BIGINT)")
        with ExitStack() as cleanup:
            out = cleanup.enter_context(file.open("wb"))
            if self._generator.header:
                out.write(f"{layout.delimiter.join(self._columns)}\n".encode())
            writer = cleanup.enter_context(pa.csv.CSVWriter(out, schema, write_options=options))
            for block in self._first(rows):
                written = select(self._db, block, self._columns, f"{self._source}: columns")
                try:
                    writer.write_table(written)
                except pa.ArrowInvalid as error:
                    raise UsageError(f"{self._source}: columns: a value needs quotes: {error}") from error
                self._db.execute(
                    f"INSERT INTO noted SELECT _kind, _case, {self._key}, epoch_ms(time) FROM drawn WHERE _kind >= 0"
                )
        noted = self._db.execute(
            """
            SELECT kind, coalesce(any_value(key), ''), min(moment) AS begin, max(moment), count(*)
            FROM noted GROUP BY kind, number ORDER BY begin, kind, number
            """
        ).fetchall()
        kinds = self._generator.kinds
        return [
            (kinds[kind], self._category, key, _iso(begin), _iso(end), size) for kind, key, begin, end, size in noted
        ]

    def _first(self, rows: int) -> Iterator[pa.Table]:
        written = 0
        while written < rows:
            block = next(self._blocks)
            block = block.of(slice(0, rows - written))
            yield self._arrow(block, written)
            written += len(block)

    def _arrow(self, rows: Rows, before: int) -> pa.Table:
        columns = {name: drawn.column(rows.codes[name]) for name, drawn in self._draws.items()}
        columns |= {
            "row": pa.array(np.arange(before + 1, before + len(rows) + 1)),
            "time": pa.array(rows.time * 1000).cast(pa.timestamp("us")),
            "session": pa.array(rows.session),
            "_kind": pa.array(rows.kind),
            "_case": pa.array(rows.case),
        }
        if len(self._states):
            columns["state"] = self._states.take(pa.array(rows.state))
        return pa.table(columns)


def _iso(milliseconds: int) -> str:
    moment = np.datetime64(milliseconds, "ms")
    return f"{moment}Z"
