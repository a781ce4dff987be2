"""The comparison: the windows that a job wrote against the windows that the files say there must be."""

from datetime import UTC, datetime
from typing import Any, Literal

import duckdb
from pydantic import BaseModel

from validation.jobs import Job

SHOWN = 10

_AVERAGE_EQUAL = "abs(o.average - t.average) <= greatest(1e-12, 1e-15 * abs(t.average))"
"""Within 1e-12 of sum/count; beyond 1,000, where a double is coarser than that, within 1e-15 of its size."""

_COMPARE = f"""
CREATE OR REPLACE TABLE compared AS
WITH o AS (
    SELECT *, row_number() OVER (PARTITION BY category, key, window_start, window_end ORDER BY arrival) AS copy
    FROM kafka_windows WHERE job = $job AND window_size = $size AND window_slide = $slide
),
t AS (SELECT *, total::DOUBLE / n AS average FROM truth)
SELECT CASE
           WHEN o.copy IS NULL THEN 'missing'
           WHEN o.copy > 1 THEN 'doubled'
           WHEN t.n IS NULL THEN 'extra'
           WHEN o.n = t.n AND o.total = t.total AND o.least = t.least AND o.greatest = t.greatest
                AND {_AVERAGE_EQUAL} THEN 'right'
           ELSE 'wrong'
       END AS verdict,
       coalesce(t.category, o.category) AS category, coalesce(t.key, o.key) AS key,
       coalesce(t.window_start, o.window_start) AS window_start, coalesce(t.window_end, o.window_end) AS window_end,
       CASE WHEN t.n IS NOT NULL THEN {{n: t.n, total: t.total, average: t.average, least: t.least,
                                        greatest: t.greatest}} END AS expected,
       CASE WHEN o.copy IS NOT NULL THEN {{n: o.n, total: o.total, average: o.average, least: o.least,
                                           greatest: o.greatest}} END AS found
FROM t FULL JOIN o
  ON t.category = o.category AND t.key = o.key AND t.window_start = o.window_start AND t.window_end = o.window_end
     AND o.copy = 1
"""


class WindowValues(BaseModel):
    """What a window says; sum, min and max exact, as text; None where a value could not be read."""

    count: int | None
    sum: str | None
    avg: float | None
    min: str | None
    max: str | None


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
    db.execute(_COMPARE, {"job": job.name, "size": job.size, "slide": job.slide})
    counts = dict(db.execute("SELECT verdict, count(*) FROM compared GROUP BY verdict").fetchall())
    counts["extra"] = counts.get("extra", 0) + counts.pop("doubled", 0)
    return WindowCounts.model_validate(counts)


def first_not_right(db: duckdb.DuckDBPyConnection) -> list[WindowExample]:
    """Return the earliest windows of ``compared`` that are not right, up to ``SHOWN`` of each kind."""
    rows = db.execute(
        f"""
        SELECT verdict, category, key, window_start, window_end, expected, found
        FROM compared WHERE verdict <> 'right'
        QUALIFY row_number() OVER (PARTITION BY verdict ORDER BY window_start, category, key) <= {SHOWN}
        ORDER BY verdict <> 'wrong', verdict, window_start, category, key
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


def _values(found: dict[str, Any] | None) -> WindowValues | None:
    if found is None:
        return None
    sum_, min_, max_ = (None if found[n] is None else f"{found[n]:f}" for n in ("total", "least", "greatest"))
    return WindowValues(count=found["n"], sum=_short(sum_), avg=found["average"], min=_short(min_), max=_short(max_))


def _short(number: str | None) -> str | None:
    return number.rstrip("0").rstrip(".") if number and "." in number else number
