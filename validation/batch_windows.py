"""The batch truth: the windows that a run must give, computed from its manifest and its CSV files alone."""

from fractions import Fraction
from pathlib import Path
from string import Template
from typing import NamedTuple, cast

import duckdb

from streamproof.core.errors import StreamproofError
from streamproof.core.measures import Measure
from streamproof.core.run import Run
from validation.csv_rows import FileCounts
from validation.jobs import Job

_WINDOWS = Template((Path(__file__).parent / "batch_windows.sql").read_text(encoding="utf-8"))
_NEEDED: dict[Measure, tuple[str, str, str]] = {
    # In units of the last digit all is a whole number up to the root. Beyond 38 digits it is NULL, as in Flink.
    "stddev": (
        "sum(${units}) AS units, sum(${units} * ${units}) AS squares",
        "sum(units) AS units, sum(squares) AS squares",
        "TRY(sqrt((n * squares - units * units)::DOUBLE) / (n * ${unit})) AS deviation",
    ),
    "histogram": (
        "list(measure) AS measures",
        "flatten(list(measures)) AS measures",
        """'{' || measures.list_aggregate('histogram').map_entries()
           .list_transform(lambda e: '"' || e.key || '": ' || e.value).list_aggregate('string_agg', ', ') || '}'
           AS histogram""",
    ),
    "distinct": (
        "list(DISTINCT actor) AS actors",
        "list_unique(flatten(list(actors)))::BIGINT AS actors",
        "actors",
    ),
}
"""What a pane keeps for a measure, what a window joins of its panes, and what it tells."""


def number_rows(db: duckdb.DuckDBPyConnection, run: Run, files: dict[str, FileCounts]) -> None:
    """Create the table ``sent`` (see batch_windows.sql) from ``accepted``: the rows that the manifest says were sent.

    With ``loop``, the file is gone through as often as the count asks for.
    """
    known = [c for c in run.rows if c in files and files[c].accepted]
    db.execute(
        "CREATE OR REPLACE TABLE sent_rows AS SELECT unnest($categories::VARCHAR[]) AS category, "
        "unnest($sent::BIGINT[]) AS sent, unnest($accepted::BIGINT[]) AS accepted, unnest($rounds::BIGINT[]) AS rounds",
        {
            "categories": known,
            "sent": [run.rows[c].sent for c in known],
            "accepted": [files[c].accepted for c in known],
            "rounds": [-(-run.rows[c].sent // files[c].accepted) for c in known],
        },
    )
    db.execute(f"CREATE OR REPLACE TABLE sent AS SELECT * EXCLUDE (line, seq) FROM ({numbered_rows(db, run)})")


def numbered_rows(db: duckdb.DuckDBPyConnection, run: Run) -> str:
    """Return a query for the rows that were sent, from the tables ``accepted`` and ``sent_rows``.

    It gives category, key, measure, actor, line, seq, and steps (see batch_windows.sql).
    """
    order = "time, line" if run.pace == "file" else "line"
    steps = f"time - {_first_time(db)}" if run.pace == "file" else "seq - 1"
    seq = "row + unnest(range(rounds)) * accepted" if run.loop else "row"
    return f"""
        WITH numbered AS (
            SELECT category, key, measure, actor, time, line,
                   row_number() OVER (PARTITION BY category ORDER BY {order}) AS row
            FROM accepted
        ),
        looped AS (
            SELECT category, key, measure, actor, time, line, {seq} AS seq, sent
            FROM numbered JOIN sent_rows USING (category)
        )
        SELECT category, key, measure, actor, line, seq, {steps} AS steps FROM looped WHERE seq <= sent
        """


def compute_windows(db: duckdb.DuckDBPyConnection, run: Run, job: Job) -> None:
    """Create the table ``truth`` (see batch_windows.sql) for a job's windows and measures.

    Raises:
        StreamproofError: the manifest lacks the start or the interval that its pace needs.

    """
    scale = event_time_scale(db, run)
    unit = 10 ** (run.contract.fields[run.contract.measure].scale or 0)
    needed = [_NEEDED[measure] for measure in job.measures if measure in _NEEDED]
    kept, joined, told = (
        Template("".join(f", {each[step]}" for each in needed)).substitute(
            units=f"(measure * {unit})::HUGEINT", unit=unit
        )
        for step in range(3)
    )
    db.execute(
        _WINDOWS.safe_substitute(kept=kept, joined=joined, told=told),
        {
            "start": scale.start,
            "numerator": str(scale.numerator),
            "denominator": str(scale.denominator),
            "size": job.size,
            "slide": job.slide,
            "cumulative": job.kind == "cumulative",
        },
    )


class EventTimeScale(NamedTuple):
    """Event time is ``start + floor(steps * numerator / denominator)`` in milliseconds; see batch_windows.sql."""

    start: int
    numerator: int
    denominator: int


def event_time_scale(db: duckdb.DuckDBPyConnection, run: Run) -> EventTimeScale:
    """Return how the event times of a run follow from its steps.

    Raises:
        StreamproofError: the manifest lacks the start or the interval that its pace needs.

    """
    if run.pace == "interval":
        factor, start = run.interval, run.start
    elif run.start is None:
        factor, start = Fraction(1), _first_time(db)
    else:
        factor, start = 1 / (run.speed or Fraction(1)), run.start
    if factor is None or start is None:
        raise StreamproofError(f"the manifest of run {run.run} has no start or no interval: it cannot be validated")
    return EventTimeScale(start, factor.numerator, factor.denominator)


def _first_time(db: duckdb.DuckDBPyConnection) -> int:
    row = db.execute("SELECT coalesce(min(time), 0) FROM accepted").fetchone()
    return cast("tuple[int]", row)[0]
