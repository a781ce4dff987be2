"""The lake's answers to a question, put into a database as they would stand in Kafka."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import duckdb

from streamproof.core.question import Question
from streamproof.core.run import Run
from streamproof.core.sql_quoting import quoted
from streamproof.sinks.kept import LIVE, Kept
from streamproof.sinks.tables import Catalogue, Job, Kind, Rows, Table, answers_table
from streamproof.stack.live_sinks import LAKE
from validation.export import in_iso

_AT_A_TIME = 50_000


def store_answers(db: duckdb.DuckDBPyConnection, run: Run, question: Question, done_to: int, kept: Kept) -> str:
    """Put the table ``answers`` into a database, in place of what an earlier batch has put there.

    Args:
        db: has the table.
        run: whose answers they are.
        question: what was asked.
        done_to: up to which window end there are all answers, milliseconds since the epoch.
        kept: the database.

    Returns:
        What people call it.

    Raises:
        StreamproofError: it is away, or a value does not fit its column.

    Delivery: all of it or nothing; asked again, the same.

    """
    table, window = answers_table(question, run.contract), question.window
    head = (LAKE, question.label, run.run, window.size, window.slide, window.kind)
    job = Job.of(head, datetime.now(UTC))
    moment = f"{datetime.fromtimestamp(done_to // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{done_to % 1000:03}Z"
    with closing(kept.open(LIVE, Catalogue(None))) as database:
        database.store_batch(table, job, _rows(db, table, job), moment)
        return database.name


def _rows(db: duckdb.DuckDBPyConnection, table: Table, job: Job) -> Iterator[Rows]:
    texts = ", ".join(_as_text(name, kind) for name, kind in table.columns.items() if name != "job")
    answers = db.execute(f"SELECT '{job.number}', {texts} FROM answers")
    while some := answers.fetchmany(_AT_A_TIME):
        yield Rows(table, [list(column) for column in zip(*some, strict=True)], (), frozenset({job}))


def _as_text(name: str, kind: Kind) -> str:
    return in_iso(name) if kind == "time" else f"{quoted(name)}::VARCHAR"
