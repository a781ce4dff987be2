"""The command ``batch``: a question answered from files alone, also one that only the whole run can answer."""

import tempfile
from collections.abc import Iterator
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
from validation.truth import compute_truth, number_rows
from validation.verdict import open_database


@contextmanager
def answers_from_files(run: Run, question: Question, home: HomeSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a database that has the table ``answers``.

    Raises:
        StreamproofError: a file is missing or is not the one that was replayed, or the question fails on its rows.

    """
    with open_database(home.runs / run.run) as db:
        number_rows(db, run, read_rows(db, run, used_fields(question, run.contract)))
        compute_truth(db, run, question, "answers")
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
    question with `run = "batch"` is answered only so.
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
        with answers_from_files(load_run(run, home).with_files(files), question, home) as db:
            yield db
    elif files:
        with open_database(Path(tempfile.gettempdir())) as db:
            compute_truth(
                db, read_files(db, question, load_contract(question.header.stream), files, ""), question, "answers"
            )
            yield db
    else:
        raise UsageError("nothing to read: name the files, CATEGORY=FILE, or a run, --run RUN")
