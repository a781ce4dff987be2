"""The command ``batch``: a question answered from files alone, also one that only the whole run can answer."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import duckdb
import typer

from streamproof.core.contract import load_contract
from streamproof.core.errors import UsageError
from streamproof.core.question import Question, load_question
from streamproof.core.question_text import used_fields
from streamproof.core.run import Run, category_files, load_run
from streamproof.core.settings import HomeSettings
from streamproof.core.sql_quoting import quoted
from validation.csv_rows import read_rows
from validation.export import write_answers
from validation.files_alone import read_files
from validation.live.whole_run import note_asked
from validation.truth import compute_truth, number_rows
from validation.verdict import open_database


@contextmanager
def rows_from_files(run: Run, questions: Iterable[Question], home: HomeSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a database that has a run's rows in its table ``sent``, with the fields that the questions use.

    Raises:
        StreamproofError: a file is missing or is not the one that was replayed.

    """
    fields = {field for question in questions for field in used_fields(question, run.contract)}
    with open_database(home.runs / run.run) as db:
        number_rows(db, run, read_rows(db, run, fields))
        yield db


def batch(
    question: Annotated[str, typer.Argument(help="The question, by its name or file.", show_default=False)],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CATEGORY=FILE]...", help="The files; with --run the new places of files that have moved."
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(help="The id of the run whose files are meant.")] = None,
    form: Annotated[Literal["csv", "json"], typer.Option("--format", help="The form.")] = "csv",
) -> None:
    """Answer a question from files alone; no server is needed.

    With `--run` the files must hold the bytes that were replayed. Without it the rows have the files' own time. A
    question with `run = "batch"` is answered only so; the run's page and report show its answer from then on.
    """
    asked, named = load_question(question), category_files(files) if files else {}
    with _answers(asked, run, named) as db, tempfile.TemporaryDirectory() as folder:
        write_answers(db, "SELECT * FROM answers", asked, form, None, Path(folder), _iso)


def _iso(column: str) -> str:
    return f"strftime({quoted(column)}, '%Y-%m-%dT%H:%M:%S.%gZ')"


@contextmanager
def _answers(question: Question, run: str | None, files: dict[str, Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    if run:
        home = HomeSettings()
        of_run = load_run(run, home).with_files(files)
        with rows_from_files(of_run, [question], home) as db:
            compute_truth(db, of_run, question, "answers")
            note_asked(run, question, home)
            yield db
    elif files:
        with open_database(Path(tempfile.gettempdir())) as db:
            compute_truth(
                db, read_files(db, question, load_contract(question.header.stream), files, ""), question, "answers"
            )
            yield db
    else:
        raise UsageError("nothing to read: name the files, CATEGORY=FILE, or a run, --run RUN")
