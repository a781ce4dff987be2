"""The comparison: the answers that a job wrote against the answers that the files say there must be."""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import duckdb
from pydantic import BaseModel

from streamproof.core.question import RESULT_COLUMNS
from streamproof.core.run import Run
from streamproof.core.sql_quoting import literal, quoted
from validation.answers import Answers, judged_table, truth_table

SHOWN = 10
ROWS_SHOWN = 5

_DOUBLE = "o.{0} IS NOT DISTINCT FROM t.{0} OR abs(o.{0} - t.{0}) <= greatest(1e-12, 1e-15 * abs(t.{0}))"
"""Within 1e-12; beyond 1,000, where a double is coarser than that, within 1e-15 of its size."""
_EXACT = "o.{0} IS NOT DISTINCT FROM t.{0}"

_COMPARE = """
CREATE OR REPLACE TABLE {into} AS
WITH o AS (
    SELECT *, row_number() OVER (PARTITION BY {told_apart} ORDER BY _arrival) AS _copy FROM ({answers})
),
t AS (SELECT *, true AS _is_true FROM {truth}),
judged AS (
    SELECT CASE
               WHEN o._copy IS NULL THEN 'missing'
               WHEN o._copy > 1 THEN 'doubled'
               WHEN t._is_true IS NULL THEN 'extra'
               WHEN o._whole AND {equal} THEN 'right'
               ELSE 'wrong'
           END AS verdict, t, o
    FROM t FULL JOIN o ON {same_key} AND o._copy = 1
)
SELECT verdict, coalesce(t.window_start, o.window_start) AS window_start,
       coalesce(t.window_end, o.window_end) AS window_end,
       CASE WHEN verdict <> 'right' THEN {key} END AS key,
       CASE WHEN verdict NOT IN ('right', 'extra', 'doubled') OR t._is_true THEN {expected} END AS expected,
       CASE WHEN verdict NOT IN ('right', 'missing') THEN {found} END AS found
FROM judged
"""

Value = int | float | bool | str | None
"""A value of an answer; decimals exact and times in ISO 8601, as text; None is NULL, or what cannot be read."""


class InputRow(BaseModel):
    """A row of a file that lies in a window: its line (from 1), and what the contract says it holds."""

    category: str
    line: int
    seq: int
    event_time: str
    fields: dict[str, Value]


class Difference(BaseModel):
    """One answer that is not right: what it must be and what was found (None: not there, or not to be there).

    Attributes:
        key: the columns that tell it apart from others of its window.
        rows: the first rows of the files that it should be made of, as far as the key names fields.

    """

    verdict: Literal["wrong", "missing", "extra", "doubled"]
    window_start: str
    window_end: str
    key: dict[str, Value]
    expected: dict[str, Value] | None
    found: dict[str, Value] | None
    rows: list[InputRow] = []


class AnswerCounts(BaseModel):
    """How many answers are right, wrong, missing, or extra; a second copy of an answer is an extra one."""

    right: int = 0
    wrong: int = 0
    missing: int = 0
    extra: int = 0


def compare(
    db: duckdb.DuckDBPyConnection, answers: Answers, *, into: str = "compared", where: str = "true"
) -> AnswerCounts:
    """Make a table from the answers and the truth that says of each whether it is right, and count.

    A second copy of an answer is ``doubled`` there, and counts as extra.

    Args:
        db: has the tables.
        answers: what is judged.
        into: the table's name.
        where: which windows alone, as an SQL condition on window_start and window_end.

    """
    question, truth = answers.question, f"(SELECT * FROM {truth_table(answers.number)} WHERE {where})"
    own = compared_columns(db, answers)
    key = ["window_start", "window_end", *question.key]
    equal = [is_equal(name, kind) for name, kind in own.items()]
    db.execute(
        _COMPARE.format(
            answers=f"SELECT * FROM ({answers.select}) WHERE {where}",
            into=into,
            truth=truth,
            told_apart=", ".join(map(quoted, key)),
            equal=" AND ".join(f"({each})" for each in equal) or "true",
            same_key=is_same_answer(question.key),
            key=_struct("CASE WHEN t._is_true THEN t.{0} ELSE o.{0} END", question.key),
            expected=_struct("t.{0}", own),
            found=_struct("o.{0}", own),
        )
    )
    counts = dict(db.execute(f"SELECT verdict, count(*) FROM {into} GROUP BY verdict").fetchall())
    counts["extra"] = counts.get("extra", 0) + counts.pop("doubled", 0)
    return AnswerCounts.model_validate(counts)


def is_equal(column: str, kind: str) -> str:
    """Return the SQL condition under which an answer ``o`` and a true one ``t`` agree in a column of this type."""
    return (_DOUBLE if kind in {"DOUBLE", "FLOAT"} else _EXACT).format(quoted(column))


def is_same_answer(key: Iterable[str]) -> str:
    """Return the SQL condition under which an answer ``o`` and a true one ``t`` are of one window and key."""
    same_window = "t.window_start = o.window_start AND t.window_end = o.window_end"
    return " AND ".join([same_window, *(_EXACT.format(quoted(name)) for name in key)])


def create_judged(db: duckdb.DuckDBPyConnection, answers: Answers) -> None:
    """Create the table, empty, in which ``add_judged`` counts."""
    table = judged_table(answers.number)
    db.execute(f"CREATE OR REPLACE TABLE {table} (window_end TIMESTAMP, verdict VARCHAR, key VARCHAR[], n BIGINT)")


def add_judged(db: duckdb.DuckDBPyConnection, answers: Answers, compared: str) -> None:
    """Count what a table of ``compare`` says of each window; what is there and not right is named by its key."""
    values = ", ".join(f"struct_extract(key, {literal(name)})::VARCHAR" for name in answers.question.key)
    db.execute(
        f"INSERT INTO {judged_table(answers.number)} SELECT window_end, verdict, "
        f"CASE WHEN verdict NOT IN ('right', 'missing') THEN [{values}]::VARCHAR[] END AS key, count(*) "
        f"FROM {compared} GROUP BY ALL"
    )


def compared_columns(db: duckdb.DuckDBPyConnection, answers: Answers) -> dict[str, str]:
    """Return the columns that are compared, beside the key, and their types in the table of true answers."""
    found = db.execute(f"DESCRIBE {truth_table(answers.number)}").fetchall()
    left_out = {*RESULT_COLUMNS, *answers.question.key}
    return {name: kind for name, kind, *_ in found if name not in left_out}


def keys_that_are_none(db: duckdb.DuckDBPyConnection, answers: Answers) -> int:
    """Return how many true answers share window and key with another one, so that the key does not tell them apart."""
    key = ", ".join(map(quoted, ["window_start", "window_end", *answers.question.key]))
    found = db.execute(
        f"SELECT coalesce(sum(n), 0)::BIGINT FROM "
        f"(SELECT count(*) AS n FROM {truth_table(answers.number)} GROUP BY {key} HAVING n > 1)"
    ).fetchone()
    return found[0] if found else 0


def first_not_right(
    db: duckdb.DuckDBPyConnection, compared: str = "compared", run: Run | None = None
) -> list[Difference]:
    """Return the earliest answers of a table of ``compare`` that are not right, up to ``SHOWN`` of each kind.

    Where the run is named, the first ``SHOWN`` have the rows behind them.
    """
    rows = db.execute(
        f"""
        SELECT verdict, window_start, window_end, key, expected, found
        FROM {compared} WHERE verdict <> 'right'
        QUALIFY row_number() OVER (PARTITION BY verdict ORDER BY window_start, window_end, key) <= {SHOWN}
        ORDER BY verdict <> 'wrong', verdict, window_start, window_end, key
        """
    ).fetchall()
    first = [
        Difference(
            verdict=verdict,
            window_start=iso_time(start),
            window_end=iso_time(end),
            key=_values(key) or {},
            expected=_values(expected),
            found=_values(found),
        )
        for verdict, start, end, key, expected, found in rows
    ]
    if run:
        for difference in first[:SHOWN]:
            difference.rows = rows_behind(db, run, difference)
    return first


def rows_behind(
    db: duckdb.DuckDBPyConnection, run: Run, difference: Difference, limit: int = ROWS_SHOWN
) -> list[InputRow]:
    """Return the first rows of the files, in their order, that lie in the window and have the fields of the key.

    Args:
        db: has the table ``sent``.
        run: the run's manifest.
        difference: the answer.
        limit: how many at most.

    """
    if "unreadable" in (difference.window_start, difference.window_end):
        return []
    fields = [name for name, *_ in db.execute("DESCRIBE sent").fetchall() if name in run.contract.fields]
    conditions = ["event_time >= ?::TIMESTAMP", "event_time < ?::TIMESTAMP"]
    values: list[Any] = [difference.window_start, difference.window_end]
    for name, value in difference.key.items():
        if name in (*fields, "category", "seq"):
            conditions.append(f"{quoted(name)}::VARCHAR IS NOT DISTINCT FROM ?")
            values.append(None if value is None else str(value))
    found = db.execute(
        f"SELECT category, _line, seq, event_time, {_struct('{0}', fields)} FROM sent "
        f"WHERE {' AND '.join(conditions)} ORDER BY category, seq LIMIT {limit}",
        values,
    ).fetchall()
    return [
        InputRow(category=category, line=line, seq=seq, event_time=iso_time(moment), fields=_values(fields) or {})
        for category, line, seq, moment, fields in found
    ]


def iso_time(moment: datetime | None) -> str:
    """Write a time without zone, which is UTC, in ISO 8601; milliseconds only where there are any."""
    if moment is None:
        return "unreadable"
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds") + "Z"


def _struct(of: str, names: Iterable[str]) -> str:
    return "{" + ", ".join(f"{quoted(name)}: {of.format(quoted(name))}" for name in names) + "}" if names else "NULL"


def _values(found: dict[str, Any] | None) -> dict[str, Value] | None:
    return found and {name: plain(value) for name, value in found.items()}


def plain(value: Any) -> Value:  # noqa: ANN401 - whatever DuckDB has
    """Return a value of DuckDB's as it stands in JSON."""
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return iso_time(value)
    return value.isoformat() if isinstance(value, date) else value
