"""The batch truth: the windows that a run must give, computed from its manifest and its CSV files alone."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import duckdb

from streams.errors import StreamproofError
from streams.run import Run
from validation.csv_rows import FileCounts

_WINDOWS = (Path(__file__).parent / "batch_windows.sql").read_text(encoding="utf-8")


def number_rows(db: duckdb.DuckDBPyConnection, run: Run, files: dict[str, FileCounts]) -> None:
    """Create the table ``sent`` (see batch_windows.sql) from ``accepted``: the rows that the manifest says were sent.

    With ``loop``, the file is gone through as often as the count asks for.
    """
    sent = [(c, rows.sent, files[c].accepted) for c, rows in run.rows.items() if c in files and files[c].accepted]
    db.execute("CREATE OR REPLACE TABLE sent_rows (category VARCHAR, sent BIGINT, accepted BIGINT, rounds BIGINT)")
    for category, count, accepted in sent:
        db.execute("INSERT INTO sent_rows VALUES (?, ?, ?, ?)", [category, count, accepted, -(-count // accepted)])
    db.execute(f"CREATE OR REPLACE TABLE sent AS SELECT category, key, measure, steps FROM ({numbered_rows(db, run)})")


def numbered_rows(db: duckdb.DuckDBPyConnection, run: Run) -> str:
    """Return a query for the rows that were sent, from the tables ``accepted`` and ``sent_rows``.

    It gives category, key, measure, line, seq, and steps (see batch_windows.sql).
    """
    order = "time, line" if run.pace == "file" else "line"
    steps = f"time - {_first_time(db)}" if run.pace == "file" else "seq - 1"
    seq = "row + unnest(range(rounds)) * accepted" if run.loop else "row"
    return f"""
        WITH numbered AS (
            SELECT category, key, measure, time, line,
                   row_number() OVER (PARTITION BY category ORDER BY {order}) AS row
            FROM accepted
        ),
        looped AS (
            SELECT category, key, measure, time, line, {seq} AS seq, sent
            FROM numbered JOIN sent_rows USING (category)
        )
        SELECT category, key, measure, line, seq, {steps} AS steps FROM looped WHERE seq <= sent
        """


def compute_windows(db: duckdb.DuckDBPyConnection, run: Run, size: int, slide: int) -> None:
    """Create the table ``truth`` (see batch_windows.sql) for a window size and slide in milliseconds.

    Raises:
        StreamproofError: the manifest lacks the start or the interval that its pace needs.

    """
    scale = event_time_scale(db, run)
    db.execute(
        _WINDOWS,
        {
            "start": scale.start,
            "numerator": str(scale.numerator),
            "denominator": str(scale.denominator),
            "size": size,
            "slide": slide,
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
