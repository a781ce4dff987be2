"""The comparison: the windows that a job wrote against the windows that the files say there must be."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import duckdb
from pydantic import BaseModel

from streamproof.core.measures import Measure
from validation.jobs import COLUMNS, Job, windows_of

SHOWN = 10


_EXACT = "o.{0} = t.{0}"
_DOUBLE = "abs(o.{0} - t.{0}) <= greatest(1e-12, 1e-15 * abs(t.{0}))"
"""Within 1e-12; beyond 1,000, where a double is coarser than that, within 1e-15 of its size."""

_COMPARE = """
CREATE OR REPLACE TABLE compared AS
WITH o AS (
    SELECT *, row_number() OVER (PARTITION BY category, key, window_start, window_end ORDER BY arrival) AS copy
    FROM ({windows})
),
t AS (SELECT *, total::DOUBLE / n AS average FROM truth)
SELECT CASE
           WHEN o.copy IS NULL THEN 'missing'
           WHEN o.copy > 1 THEN 'doubled'
           WHEN t.n IS NULL THEN 'extra'
           WHEN {equal} THEN 'right'
           ELSE 'wrong'
       END AS verdict,
       coalesce(t.category, o.category) AS category, coalesce(t.key, o.key) AS key,
       coalesce(t.window_start, o.window_start) AS window_start, coalesce(t.window_end, o.window_end) AS window_end,
       CASE WHEN t.n IS NOT NULL THEN {{{expected}}} END AS expected,
       CASE WHEN o.copy IS NOT NULL THEN {{{found}}} END AS found
FROM t FULL JOIN o
  ON t.category = o.category AND t.key = o.key AND t.window_start = o.window_start AND t.window_end = o.window_end
     AND o.copy = 1
"""

WindowValues = dict[Measure, int | float | str | None]
"""What a window says; sum, min, max and histogram exact, as text; None where a value could not be read."""


class WindowExample(BaseModel):
    """One window that is not right: what it must be and what was found (None: not there, or not to be there)."""

    verdict: Literal["wrong", "missing", "extra", "doubled"]
    category: str
    key: str
    window_start: str
    window_end: str
    expected: WindowValues | None
    found: WindowValues | None


class WindowCounts(BaseModel):
    """How many windows are right, wrong, missing, or extra; a second copy of a window is an extra one."""

    right: int = 0
    wrong: int = 0
    missing: int = 0
    extra: int = 0


def compare_windows(db: duckdb.DuckDBPyConnection, job: Job) -> WindowCounts:
    """Make the table ``compared`` from ``truth`` and ``kafka_windows``, and count; ``doubled`` counts as extra."""
    columns = {measure: COLUMNS[measure] for measure in job.measures}
    # A value that could not be read is NULL, and so is what compares it: such a window is wrong.
    equal = " AND ".join((_DOUBLE if m in {"avg", "stddev"} else _EXACT).format(c) for m, c in columns.items())
    expected, found = (", ".join(f"'{measure}': {of}.{c}" for measure, c in columns.items()) for of in "to")
    db.execute(_COMPARE.format(windows=windows_of(job), equal=equal, expected=expected, found=found))
    counts = dict(db.execute("SELECT verdict, count(*) FROM compared GROUP BY verdict").fetchall())
    counts["extra"] = counts.get("extra", 0) + counts.pop("doubled", 0)
    return WindowCounts.model_validate(counts)


def first_not_right(db: duckdb.DuckDBPyConnection) -> list[WindowExample]:
    """Return the earliest windows of ``compared`` that are not right, up to ``SHOWN`` of each kind."""
    rows = db.execute(
        f"""
        SELECT verdict, category, key, window_start, window_end, expected, found
        FROM compared WHERE verdict <> 'right'
        QUALIFY row_number() OVER (PARTITION BY verdict ORDER BY window_start, window_end, category, key) <= {SHOWN}
        ORDER BY verdict <> 'wrong', verdict, window_start, window_end, category, key
        """
    ).fetchall()
    return [
        WindowExample(
            verdict=verdict,
            category=category,
            key=key,
            window_start=iso_time(start),
            window_end=iso_time(end),
            expected=_values(expected),
            found=_values(found),
        )
        for verdict, category, key, start, end, expected, found in rows
    ]


def iso_time(milliseconds: int | None) -> str:
    """Write milliseconds since the epoch in ISO 8601 and UTC; milliseconds only where there are any."""
    if milliseconds is None:
        return "unreadable"
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{milliseconds % 1000:03d}Z" if milliseconds % 1000 else f"{moment}Z"


def _values(found: dict[Measure, Any] | None) -> WindowValues | None:
    return found and {name: _short(value) if isinstance(value, Decimal) else value for name, value in found.items()}


def _short(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
