"""The check of the lake: of a run's rows, what each of the three tables holds, against the files that were replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import duckdb

from streamproof.core.contract import ContractField
from streamproof.core.run import Run, load_run
from streamproof.core.settings import HomeSettings
from streamproof.core.sql_quoting import literal, quoted
from streamproof.sinks.lake.query import create_lake_views
from streamproof.sinks.lake.tables import TABLES
from validation.copies import CopyCounts, JudgedCopies
from validation.csv_rows import read_rows
from validation.truth import number_rows
from validation.verdict import open_database

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

_SHOWN = 5


def check_lake(run: str, home: HomeSettings, catalogue: Catalog, name: str, at: int | None = None) -> JudgedCopies:
    """Compare each copy of a run's rows with the files that were replayed, in every field.

    Raises:
        UsageError: the lake has nothing of the run's stream.
        StreamproofError: a file has changed since the run.

    """
    manifest = load_run(run, home)
    with open_database(home.runs / run) as db:
        number_rows(db, manifest, read_rows(db, manifest))
        return judge_copies(db, manifest, catalogue, name, at)


def judge_copies(
    db: duckdb.DuckDBPyConnection, run: Run, catalogue: Catalog, name: str, at: int | None = None
) -> JudgedCopies:
    """Compare each copy of a run's rows with the table ``sent``, in every field that this has.

    ``raw`` and ``backup`` are read from the bytes that they keep.

    Raises:
        UsageError: the lake has nothing of the run's stream.

    """
    create_lake_views(db, catalogue, run.contract.name, at)
    try:
        fields = [field for field in db.table("main.sent").columns if field in run.contract.fields]
        copies = {table: _judge(db, run, fields, table) for table in TABLES}
        (letters,) = db.execute(
            "SELECT count(*) FROM backup WHERE run = ? AND topic = ?", [run.run, run.contract.topics.dead_letters]
        ).fetchall()
        return JudgedCopies(name=name, copies=copies, differing=_differing(db, run), dead_letters=letters[0])
    finally:
        db.execute("SET schema = 'main'")


def _judge(db: duckdb.DuckDBPyConnection, run: Run, own: list[str], name: str) -> CopyCounts:
    """Make the table ``copies_NAME``, a line for each row that was sent or is there; count."""
    fields = ["event_time", *own]
    same = " AND ".join(f"s.{quoted(field)} IS NOT DISTINCT FROM c.{quoted(field)}" for field in fields)
    db.execute(
        f"""
        CREATE OR REPLACE TABLE main.copies_{name} AS
        SELECT coalesce(s.category, c.category) AS category, coalesce(s.seq, c.seq) AS seq,
               bool_or(s.seq IS NOT NULL) AS was_sent, count(c.seq) AS copies, bool_and({same}) AS same
        FROM main.sent s FULL JOIN ({_rows_of(run, name)}) c ON s.category = c.category AND s.seq = c.seq
        GROUP BY ALL
        """
    )
    right, wrong, missing, extra, doubled = cast(
        "tuple[int, ...]",
        db.execute(
            f"""
            SELECT count(*) FILTER (was_sent AND copies > 0 AND same),
                   count(*) FILTER (was_sent AND copies > 0 AND NOT same),
                   count(*) FILTER (was_sent AND copies = 0),
                   count(*) FILTER (NOT was_sent),
                   coalesce(sum(copies - 1) FILTER (copies > 1), 0)::BIGINT
            FROM main.copies_{name}
            """
        ).fetchone(),
    )
    gaps = db.execute(
        f"""
        SELECT category, min(seq), max(seq)
        FROM (
            SELECT category, seq, seq - row_number() OVER (PARTITION BY category ORDER BY seq) AS gap
            FROM main.copies_{name} WHERE was_sent AND copies = 0
        ) GROUP BY category, gap ORDER BY ALL LIMIT {_SHOWN}
        """
    ).fetchall()
    return CopyCounts(right=right, wrong=wrong, missing=missing, extra=extra, doubled=doubled, first_missing=gaps)


def _rows_of(run: Run, name: str) -> str:
    """Return a query for what a table says of the run's rows."""
    of_run = f"run = {literal(run.run)} AND seq >= 1"
    if name == "processed":
        fields = ", ".join(map(quoted, run.contract.fields))
        return f"SELECT category, seq, event_time, {fields} FROM processed WHERE {of_run}"
    kinds = {"category": "VARCHAR", "seq": "BIGINT", "event_time": "BIGINT"}
    kinds |= {name: _in_json(field) for name, field in run.contract.fields.items()}
    shape = ", ".join(f'"{name}": "{kind}"' for name, kind in kinds.items())
    own = "".join(f", {_from_json(name, field)} AS {quoted(name)}" for name, field in run.contract.fields.items())
    value = "value" if name == "raw" else "decode(value)"
    if name == "backup":
        of_run += f" AND topic = {literal(run.contract.topics.rows)}"
    return f"""
        SELECT row.category AS category, row.seq AS seq, make_timestamp_ms(row.event_time) AS event_time{own}
        FROM (SELECT json_transform({value}, '{{{shape}}}') AS row FROM {name} WHERE {of_run})
        """


def _in_json(field: ContractField) -> str:
    return {"text": "VARCHAR", "integer": "BIGINT", "boolean": "BOOLEAN", "time": "BIGINT"}.get(field.type, "VARCHAR")


def _from_json(name: str, field: ContractField) -> str:
    value = f"row.{quoted(name)}"
    if field.type == "time":
        return f"make_timestamp_ms({value})"
    return f"{value}::{field.decimal_type}" if field.scale is not None else value


def _differing(db: duckdb.DuckDBPyConnection, run: Run) -> int:
    of_run = f"WHERE run = {literal(run.run)} AND seq >= 1"
    found = db.execute(
        f"""
        SELECT (
            SELECT count(*) FROM main.copies_raw r FULL JOIN main.copies_processed p USING (category, seq)
            FULL JOIN main.copies_backup b USING (category, seq)
            WHERE r.copies IS DISTINCT FROM p.copies OR p.copies IS DISTINCT FROM b.copies
        ) + (
            SELECT count(*) FROM (SELECT kafka_partition, kafka_offset, value FROM raw {of_run}) r
            JOIN (
                SELECT kafka_partition, kafka_offset, decode(value) AS value FROM backup {of_run}
                AND topic = {literal(run.contract.topics.rows)}
            ) b USING (kafka_partition, kafka_offset)
            WHERE r.value IS DISTINCT FROM b.value
        )
        """
    ).fetchone()
    return cast("tuple[int]", found)[0]
