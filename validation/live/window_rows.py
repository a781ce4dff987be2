"""The rows of one window, from the run's CSV files: what a wrong window should have been made of."""

from typing import NamedTuple

import duckdb

from streamproof.core.run import Run
from validation.batch_windows import event_time_scale, numbered_rows

SHOWN = 200


class FileRow(NamedTuple):
    """A row of a file: its line (from 1), sequence number, measure as text, and event time in ms since the epoch."""

    line: int
    seq: int
    measure: str
    event_time: int


def rows_of_window(
    db: duckdb.DuckDBPyConnection, run: Run, category: str, key: str, bounds: tuple[int, int]
) -> list[FileRow]:
    """Return the rows of a window, ``SHOWN`` at most.

    Args:
        db: holds the tables ``accepted`` and ``sent_rows`` of the validation.
        run: the run's manifest.
        category: the window's category.
        key: its key.
        bounds: its start and end, milliseconds since the epoch.

    """
    scale = event_time_scale(db, run)
    found = db.execute(
        f"""
        WITH timed AS (
            SELECT line, seq, measure::VARCHAR AS measure,
                   ($start + steps::HUGEINT * $numerator::HUGEINT // $denominator::HUGEINT)::BIGINT AS event_time
            FROM ({numbered_rows(db, run)}) WHERE category = $category AND key = $key
        )
        FROM timed WHERE event_time >= $first AND event_time < $last ORDER BY seq LIMIT {SHOWN}
        """,
        {
            "category": category,
            "key": key,
            "start": scale.start,
            "numerator": str(scale.numerator),
            "denominator": str(scale.denominator),
            "first": bounds[0],
            "last": bounds[1],
        },
    ).fetchall()
    return [FileRow(*row) for row in found]
