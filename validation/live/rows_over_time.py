"""The rows of the files behind an answer, counted in each part of its time, beside their mean over a longer time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import duckdb

from streamproof.core.sql_quoting import quoted

PARTS = 60


class RowsOverTime(NamedTuple):
    """How many rows there are; all times in milliseconds, moments since the epoch.

    Attributes:
        fields: by which fields of the rows they were chosen, and the values of these.
        begin: of the time that is shown.
        part: how long each of its ``PARTS`` parts is.
        counts: rows in each part.
        since: of the longer time: the same time ``PARTS`` times, as far as the run goes back.
        mean: rows a part in it.

    """

    fields: dict[str, str | None]
    begin: int
    part: int
    counts: list[int]
    since: int
    mean: float


def rows_over_time(
    db: duckdb.DuckDBPyConnection, named: Sequence[Mapping[str, str | None]], until: int, size: int
) -> RowsOverTime | None:
    """Count the rows that have certain values in their fields.

    Args:
        db: has the table ``sent``.
        named: names and values as text; the first of them counts in which there are fields of a row, and these alone.
        until: the end of the answer's window, milliseconds since the epoch.
        size: how long the window is, milliseconds; at least the last minute is shown.

    Returns:
        None where nothing of it is a field, so that no row can be told to be behind the answer.

    """
    known = [name for name, *_ in db.execute("DESCRIBE sent").fetchall()]
    chosen_by = ({name: value for name, value in each.items() if name in known} for each in named)
    if (mine := next(filter(None, chosen_by), None)) is None:
        return None
    part = -(-max(size, PARTS * 1000) // PARTS)
    begin, first = until - PARTS * part, until - PARTS * PARTS * part
    chosen = " AND ".join(f"{quoted(name)}::VARCHAR IS NOT DISTINCT FROM ?" for name in mine)
    counted = dict(
        db.execute(
            f"""
            SELECT greatest(-1, (epoch_ms(event_time) - {begin}) // {part}) AS place, count(*) FROM sent
            WHERE event_time >= make_timestamp_ms({first}) AND event_time < make_timestamp_ms({until}) AND {chosen}
            GROUP BY place
            """,
            list(mine.values()),
        ).fetchall()
    )
    start = cast("tuple[int]", db.execute("SELECT epoch_ms(min(event_time)) FROM sent").fetchone())[0]
    since = max(first, start)
    mean = sum(counted.values()) * part / (until - since)
    return RowsOverTime(mine, begin, part, [counted.get(place, 0) for place in range(PARTS)], since, mean)
