"""What is drawn: a code for each row, which is a number, or a place among texts or among a table's rows."""

import re
from collections.abc import Mapping
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from streamproof.core.errors import UsageError
from streamproof.core.sql_quoting import quoted
from streamproof.generator.chance import Chance, Integers, Raw, below, choose, cumulative, zipf
from streamproof.generator.declaration import Draw, Stream


class Drawn:
    """One thing that is drawn.

    Args:
        draw: what the declaration says of it.
        tables: the tables that are there.
        source: names the file in errors.

    """

    def __init__(self, draw: Draw, tables: Mapping[str, pa.Table], source: str) -> None:
        self._draw, self._values, self._sums = draw, None, None
        if draw.of:
            self._values = pa.array(list(draw.of))
            self._sums = cumulative(draw.of.values())
        elif draw.table:
            table = tables[draw.table]
            self._values = pa.chunked_array([batch.to_struct_array() for batch in table.to_batches()]).combine_chunks()
            self._size = len(table)
            if draw.zipf is not None:
                self._sums = zipf(self._size, draw.zipf)
            elif draw.weight:
                try:
                    self._sums = cumulative(int(weight) for weight in table[draw.weight].to_pylist())
                except (KeyError, TypeError, ValueError) as error:
                    raise UsageError(
                        f"{source}: {draw.table}.{draw.weight}: whole numbers are needed: {error}"
                    ) from error

    def codes(self, raw: Raw, weights: Mapping[str, int] | None = None) -> Integers:
        """Return what chance decides; by other weights, if they are given."""
        if weights is not None and self._draw.of:
            return choose(raw, cumulative(weights[text] for text in self._draw.of))
        if self._sums is not None:
            return choose(raw, self._sums)
        if self._draw.between:
            least, greatest = self._draw.between
            return least + below(raw, greatest - least + 1)
        return below(raw, self._size)

    def column(self, codes: Integers) -> pa.Array:
        """Return numbers, texts, or rows of the table."""
        return pa.array(codes) if self._values is None else self._values.take(pa.array(codes))


def make_tables(stream: Stream, chance: Chance, db: duckdb.DuckDBPyConnection, keys: int | None) -> dict[str, pa.Table]:
    """Make the tables of one file's rows.

    Raises:
        UsageError: a file cannot be read, or DuckDB does not take a column's SQL.

    """
    made: dict[str, pa.Table] = {}
    source = str(stream.folder / "generator.toml")
    for name, table in stream.generator.tables.items():
        if table.file:
            found = _read(stream.folder / table.file, db)
            columns, rows = dict(zip(found.column_names, found.columns, strict=True)), len(found)
        else:
            rows = keys if keys and name == stream.generator.keys else table.rows or 0
            columns = {}
        columns["n"] = pa.array(np.arange(1, rows + 1))
        for each, draw in table.draw.items():
            drawn = Drawn(draw, made, source)
            columns[each] = drawn.column(drawn.codes(chance.raw(f"{name}.{each}", 0, rows)))
        found = pa.table(columns)
        if table.columns:
            found = select(db, found, table.columns, f"{source}: tables.{name}")
        made[name] = found
    return made


def select(db: duckdb.DuckDBPyConnection, rows: pa.Table, columns: Mapping[str, str], source: str) -> pa.Table:
    """Compute columns.

    Raises:
        UsageError: DuckDB does not take them; ``source`` names them.

    """
    items = ", ".join(f"({sql}) AS {quoted(name)}" for name, sql in columns.items())
    db.register("drawn", rows)
    try:
        return db.sql(f"SELECT {items} FROM drawn").to_arrow_table()
    except duckdb.Error as error:
        raise UsageError(f"{source}: {error}") from error


def _read(file: Path, db: duckdb.DuckDBPyConnection) -> pa.Table:
    try:
        return db.read_csv(str(file), header=True, all_varchar=True).to_arrow_table()
    except duckdb.Error as error:
        raise UsageError(f"{file}: {error}") from error


def refuse_what_changes(db: duckdb.DuckDBPyConnection, columns: Mapping[str, str], source: str) -> None:
    """Refuse SQL that calls a function which answers differently each time.

    Raises:
        UsageError: it does.

    """
    changing = {
        name
        for (name,) in db.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
        ).fetchall()
    }
    for name, sql in columns.items():
        if called := changing & set(re.findall(r"\b[a-z0-9_]+(?=\s*\()|\bcurrent_[a-z]+", sql.lower())):
            raise UsageError(
                f"{source}: {name}: {min(called)} answers differently each time: the same seed must give the same bytes"
            )
