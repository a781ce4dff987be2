"""A question as DuckDB runs it: over a table of rows, all at once.

The view ``windowed`` is made of a table ``sent`` with ``category``, ``seq``, ``event_time`` and the contract's fields.
It has each row once for each window that holds it, with ``window_start``, ``window_end`` and ``window_time``, the last
millisecond of the window: timestamps without zone, in UTC.
"""

import re

import duckdb

from streamproof.core.contract import Contract
from streamproof.core.errors import UsageError
from streamproof.core.question import Question
from streamproof.core.sql_quoting import literal, quoted
from streamproof.core.window import Window

Columns = dict[str, str]
"""Names of columns and their SQL types."""

WHOLE_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
"""What either engine calls a type of whole numbers."""

NUMBER = re.compile(rf"{WHOLE_NUMBER.pattern}|DECIMAL.*|DOUBLE|FLOAT")
"""What either engine calls a type of numbers."""


def create_views(
    db: duckdb.DuckDBPyConnection, question: Question, run: str | None, ends: tuple[int, int] | None = None
) -> None:
    """Create the view ``windowed`` and the question's own views.

    Args:
        db: has the table ``sent``.
        question: what is asked.
        run: the run's id; None where ``sent`` has rows of several runs, and a column ``run``.
        ends: only windows that end behind the first and not behind the second, milliseconds since the epoch.

    """
    source = "sent" if run is None else f"(SELECT {literal(run)} AS run, * FROM sent)"
    if ends:
        first, last = ends
        low, high = first - question.window.size, last
        source = (
            f"(FROM {source} WHERE event_time >= make_timestamp_ms({low}) AND event_time < make_timestamp_ms({high}))"
        )
    within = (
        f"window_end > make_timestamp_ms({ends[0]}) AND window_end <= make_timestamp_ms({ends[1]})" if ends else "true"
    )
    db.execute(f"CREATE OR REPLACE TEMP VIEW windowed AS {_windowed(question.window, source, within)}")
    again = question.header.again
    for view in question.views("batch"):
        db.execute(f"CREATE OR REPLACE TEMP VIEW {quoted(view.name)} AS {view.select}")
        if again and again.rows == view.name:
            timed = f"(SELECT *, {quoted(again.time)} AS event_time FROM {quoted(again.rows)})"
            windowed = _windowed(again.window, timed)
            db.execute(f"CREATE OR REPLACE TEMP VIEW again AS SELECT * EXCLUDE event_time FROM ({windowed})")


def _windowed(window: Window, rows: str, within: str = "true") -> str:
    if window.kind == "whole":
        return f"""
            SELECT *, min(event_time) OVER () AS window_start, max(event_time) OVER () AS window_time,
                   max(event_time) OVER () + INTERVAL 1 MILLISECOND AS window_end
            FROM {rows}
            """
    size, slide, moment = window.size, window.slide, "epoch_ms(event_time)"
    # Down to the multiple before, also before 1970: // rounds down in DuckDB only above 0.
    floor = f"({moment} - ({moment} % {slide} + {slide}) % {slide})"
    period = f"({moment} - ({moment} % {size} + {size}) % {size})"
    if window.kind == "cumulative":
        start, steps = period, f"SELECT unnest(range({slide}, {size} + 1, {slide})) AS step"
        end, holds = f"{period} + step", f"{period} + step > {moment}"
    else:
        end, steps, holds = f"{floor} + step", f"SELECT unnest(range({slide}, {size} + 1, {slide})) AS step", "true"
        start = f"{floor} + step - {size}"
    return f"""
        SELECT *, window_end - INTERVAL 1 MILLISECOND AS window_time FROM (
            SELECT rows.*, make_timestamp_ms({start}) AS window_start, make_timestamp_ms({end}) AS window_end
            FROM {rows} AS rows CROSS JOIN ({steps}) AS steps WHERE {holds}
        ) WHERE {within}
        """


def columns_of(question: Question, contract: Contract) -> Columns:
    """Return the columns of a question's results and their types in DuckDB.

    Raises:
        UsageError: DuckDB refuses the question; the text has its reason.

    """
    with duckdb.connect() as db:
        fields = {name: field.duckdb_type for name, field in contract.fields.items()}
        columns = {"category": "VARCHAR", "seq": "BIGINT", "event_time": "TIMESTAMP"} | fields
        db.execute(f"CREATE TABLE sent ({', '.join(f'{quoted(name)} {kind}' for name, kind in columns.items())})")
        try:
            create_views(db, question, "")
            found = db.execute(f"DESCRIBE {question.body('batch')}").fetchall()
        except duckdb.Error as error:
            raise UsageError(f"{question.name}: {_explained(str(error), list(columns))}") from error
    names = [name for name, *_ in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{question.name}: two columns are called {twice[0]}: give each a name of its own with AS")
    return {name: kind for name, kind, *_ in found}


def _explained(error: str, fields: list[str]) -> str:
    """Say what DuckDB says in a line, and what to write instead where that is known."""
    if match := re.search(r'Referenced column "(.+?)" not found', error):
        known = ", ".join(["run", *fields, "window_start", "window_end"])
        return f"there is no column {match[1]}: windowed has {known}, and a view has what its SELECT names"
    if match := re.search(r"Function with name (\w+) does not exist", error):
        return (
            f"DuckDB has no function {match[1]}: use one that both engines have, or give each its own line with "
            "`-- flink:` and `-- batch:`"
        )
    return f"DuckDB refuses it: {' '.join(error.partition(chr(10) * 2)[0].split())}"
