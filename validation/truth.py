"""The batch truth: what a run's answers must be, computed from its manifest and its CSV files alone."""

from fractions import Fraction
from typing import NamedTuple, cast

import duckdb

from streamproof.core.batch import create_views
from streamproof.core.errors import StreamproofError
from streamproof.core.question import Question
from streamproof.core.question_text import looks_across_windows
from streamproof.core.run import Run
from streamproof.core.sql_quoting import quoted
from streamproof.models.scoring import Digest
from validation.csv_rows import FileCounts
from validation.scores import add_scores

_STEP_ROWS = 50_000_000
"""Rows of ``windowed`` that are worked on at once, about: memory does not grow with the file."""


def number_rows(db: duckdb.DuckDBPyConnection, run: Run, files: dict[str, FileCounts]) -> None:
    """Create the view ``sent`` of ``accepted``: the rows that the manifest says were sent.

    It has category, seq, event_time, _line and the fields of ``accepted``. With ``loop``, the file is gone through as
    often as the count asks for.

    Raises:
        StreamproofError: the manifest lacks the start or the interval that its pace needs.

    """
    known = [c for c in run.rows if c in files and files[c].accepted]
    db.execute(
        """
        CREATE OR REPLACE TABLE sent_rows AS
        SELECT * FROM (SELECT unnest($categories::VARCHAR[]) AS category, unnest($sent::BIGINT[]) AS _sent)
        JOIN (
            SELECT category, count(*) AS _accepted, min(_line) - 1 AS _skipped, max(_line) AS _last
            FROM accepted GROUP BY category
        ) USING (category)
        """,
        {"categories": known, "sent": [run.rows[c].sent for c in known]},
    )
    accepted, place = "accepted", "_line - _skipped"
    if (
        run.pace == "file"
        or db.execute("SELECT 1 FROM sent_rows WHERE _last - _skipped > _accepted LIMIT 1").fetchone()
    ):
        order = "_time, _line" if run.pace == "file" else "_line"
        accepted, place = "placed", "_place"
        db.execute(
            "CREATE OR REPLACE TABLE placed AS "
            f"SELECT *, row_number() OVER (PARTITION BY category ORDER BY {order}) AS _place FROM accepted"
        )
    scale = _event_time_scale(db, run)
    fields = [name for name, *_ in db.execute("DESCRIBE accepted").fetchall() if name in run.contract.fields]
    seq = f"{place} + unnest(range((_sent - 1) // _accepted + 1)) * _accepted" if run.loop else place
    db.execute(
        f"""
        CREATE OR REPLACE VIEW sent AS
        SELECT category, seq, make_timestamp_ms({scale.event_time}) AS event_time,
               _line{"".join(f", {quoted(name)}" for name in fields)}
        FROM (SELECT *, {seq} AS seq FROM {accepted} JOIN sent_rows USING (category)) WHERE seq <= _sent
        """
    )


def compute_truth(
    db: duckdb.DuckDBPyConnection, run: Run | None, question: Question, table: str, ends: tuple[int, int] | None = None
) -> list[Digest]:
    """Create the table of a question's answers from ``sent``, with the columns that the question has.

    Answers over long windows are computed some windows at a time, so that memory does not grow with the file.

    Args:
        db: has the rows.
        run: whose rows they are; None where ``sent`` has rows of several runs, and a column ``run``.
        question: what is asked; where it looks across windows, or is a model, all are computed.
        table: the name of the table.
        ends: only windows that end behind the first and not behind the second, milliseconds since the epoch.

    Returns:
        The digests of its model's state, where the question is a model.

    Raises:
        StreamproofError: the question fails on these rows, such as by a division by zero.

    """
    of_run = run.run if run else None
    try:
        if not question.model:
            _answer(db, of_run, question, question.body("batch"), table, ends=ends)
            return []
        answers = f"{table}_to_score"
        _answer(db, of_run, question, question.select("batch"), answers)
        digests = add_scores(db, question, answers, table)
        db.execute(f"DROP TABLE {answers}")
    except duckdb.Error as error:
        whose = f"run {of_run}" if run else "all runs"
        raise StreamproofError(f"{question.name}: the batch fails on the rows of {whose}: {error}") from error
    return digests


def _answer(
    db: duckdb.DuckDBPyConnection,
    run: str | None,
    question: Question,
    body: str,
    table: str,
    *,
    ends: tuple[int, int] | None = None,
) -> None:
    for number, step in enumerate(_steps(db, question, ends)):
        create_views(db, question, run, ends=step)
        make = f"INSERT INTO {table}" if number else f"CREATE OR REPLACE TABLE {table} AS"
        db.execute(f"{make} {body}")


def _steps(
    db: duckdb.DuckDBPyConnection, question: Question, ends: tuple[int, int] | None
) -> list[tuple[int, int] | None]:
    """Return the ranges of window ends to go by, milliseconds; one, ``ends`` itself, where all is done at once."""
    found = db.execute("SELECT count(*), epoch_ms(min(event_time)), epoch_ms(max(event_time)) FROM sent").fetchone()
    rows, first, last = cast("tuple[int, int | None, int | None]", found)
    parts = rows * question.window.windows_a_row // _STEP_ROWS + 1
    if parts == 1 or first is None or last is None or looks_across_windows(question):
        return [ends]
    slide = question.window.slide
    begin, end = first // slide * slide, last + question.window.size + 1
    if ends:
        begin, end = max(begin, ends[0]), min(end, ends[1])
    step = -(-(end - begin) // (parts * slide)) * slide
    return [(start, min(start + step, end)) for start in range(begin, end, step)]


class _EventTimeScale(NamedTuple):
    """Event time is ``start + floor(steps * numerator / denominator)`` in milliseconds, in whole numbers throughout.

    ``steps`` is SQL: how many intervals (pace interval) or milliseconds of the file's own time (pace file) a row lies
    behind the run's first moment.
    """

    start: int
    steps: str
    numerator: int
    denominator: int

    @property
    def event_time(self) -> str:
        """SQL: milliseconds since the epoch."""
        by = f"'{self.numerator}'::HUGEINT // '{self.denominator}'::HUGEINT"
        return f"({self.start} + ({self.steps})::HUGEINT * {by})::BIGINT"


def _event_time_scale(db: duckdb.DuckDBPyConnection, run: Run) -> _EventTimeScale:
    first = cast("tuple[int]", db.execute("SELECT coalesce(min(_time), 0) FROM accepted").fetchone())[0]
    if run.pace == "interval":
        factor, start, steps = run.interval, run.start, "seq - 1"
    elif run.start is None:
        factor, start, steps = Fraction(1), first, f"_time - {first}"
    else:
        factor, start, steps = 1 / (run.speed or Fraction(1)), run.start, f"_time - {first}"
    if factor is None or start is None:
        raise StreamproofError(f"the manifest of run {run.run} has no start or no interval: it cannot be validated")
    return _EventTimeScale(start, steps, factor.numerator, factor.denominator)
