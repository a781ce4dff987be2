"""The command ``batch``: a question answered from a run's files alone, also one that only the whole run can answer."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import duckdb
import typer

from streamproof.core.question import Question, load_question
from streamproof.core.question_text import used_fields
from streamproof.core.run import Run, category_files, load_run
from streamproof.core.settings import HomeSettings
from streamproof.core.sql_quoting import literal, quoted
from validation.csv_rows import read_rows
from validation.truth import compute_truth, number_rows
from validation.verdict import open_database

_COPY = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json, ARRAY true"}


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
    run: Annotated[str, typer.Option(help="The run's id.", show_default=False)],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[CATEGORY=FILE]...", help="The new places of files that have moved.")
    ] = None,
    form: Annotated[Literal["csv", "json"], typer.Option("--format", help="The form.")] = "csv",
) -> None:
    """Answer a question from a run's files alone; no server is needed.

    The files must hold the bytes that were replayed. A question with `run = "batch"` is answered only so.
    """
    asked, home = load_question(question), HomeSettings()
    manifest = load_run(run, home).with_files(category_files(files) if files else {})
    with answers_from_files(manifest, asked, home) as db:
        kinds = {name: kind for name, kind, *_ in db.execute("DESCRIBE answers").fetchall()}
        first = [*asked.key, "window_start", "window_end"]
        columns = ", ".join(
            f"strftime({quoted(name)}, '%Y-%m-%dT%H:%M:%S.%gZ') AS {quoted(name)}"
            if kinds[name] == "TIMESTAMP"
            else quoted(name)
            for name in [*first, *(each for each in kinds if each not in first)]
        )
        order = ", ".join(f"answers.{quoted(name)}" for name in first)
        file = home.runs / run / f"{asked.name}.batch.{form}"
        db.execute("SET preserve_insertion_order = true")
        db.execute(f"COPY (SELECT {columns} FROM answers ORDER BY {order}) TO {literal(str(file))} ({_COPY[form]})")
    with file.open(encoding="utf-8") as answers:
        shutil.copyfileobj(answers, sys.stdout)
