"""Questions that only the batch answers, asked of a whole run: what page and report show beside a stream's answers."""

from typing import NamedTuple

import duckdb

from streamproof.core.errors import StreamproofError
from streamproof.core.question import Question, load_question, stream_questions
from streamproof.core.run import Run, manifest_path
from streamproof.core.settings import HomeSettings
from streamproof.core.sql_quoting import quoted
from streamproof.core.whole_file import write_whole
from validation.live.results import Table
from validation.truth import compute_truth

_ASKED = "batch"
_SHOWN = 20


class BatchAnswers(NamedTuple):
    """What the batch says to a question of a whole run.

    Attributes:
        question: the question.
        first: its first answers, those with most weight where its file names one.
        total: how many answers it has.
        problem: why it has none; None where it was answered.

    """

    question: Question
    first: Table = Table([], [])
    total: int = 0
    problem: str | None = None


def note_asked(run: str, question: Question, home: HomeSettings) -> None:
    """Remember that a question for a batch alone was asked of a run, so that page and report show its answers too.

    Raises:
        OSError: the run's folder cannot be written.

    """
    if question.header.run != "batch":
        return
    folder = manifest_path(run, home).parent / _ASKED
    folder.mkdir(exist_ok=True)
    write_whole(folder / f"{question.name}.sql", question.text)


def asked_of(run: Run, home: HomeSettings) -> list[Question]:
    """Return the questions for a batch alone: those that come with the run's stream, and those that it was asked."""
    asked = [load_question(str(path)) for path in sorted((manifest_path(run.run, home).parent / _ASKED).glob("*.sql"))]
    return list({each.name: each for each in (*stream_questions(run.contract.name, "batch"), *asked)}.values())


def answer_whole_run(db: duckdb.DuckDBPyConnection, run: Run, question: Question) -> BatchAnswers:
    """Answer a question from the table ``sent``, which holds all of the run's rows."""
    try:
        return _answer(db, run, question)
    except (StreamproofError, duckdb.Error) as error:
        return BatchAnswers(question, problem=str(error))


def _answer(db: duckdb.DuckDBPyConnection, run: Run, question: Question) -> BatchAnswers:
    table = f"whole_run_{question.name}"
    compute_truth(db, run, question, table)
    described = [name for name, *_ in db.execute(f"DESCRIBE {table}").fetchall()]
    names = [name for name in described if name not in {"window_start", "window_end"}]
    weight = question.header.page.weight or ""
    order = [f"{quoted(weight)} DESC NULLS LAST"] if weight in names else []
    order += [quoted(name) for name in question.key]
    first = db.execute(
        f"SELECT {', '.join(map(quoted, names))} FROM {table} ORDER BY {', '.join(order) or '1'} LIMIT {_SHOWN}"
    ).fetchall()
    total = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    db.execute(f"DROP TABLE {table}")
    return BatchAnswers(question, Table(names, first), total[0] if total else 0)
