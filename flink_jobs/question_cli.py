"""The commands ``question list``, ``show``, ``check``, ``plan`` and ``test``, which need no server."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from streamproof.core.command import console, new_app
from streamproof.core.contract import load_contract
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.question import load_question, question_files

Name = Annotated[str, typer.Argument(metavar="QUESTION", help="The name of a question, or its file (.sql).")]
Stream = Annotated[
    str | None, typer.Option(help="The stream's name or contract file (default: the one that the question names).")
]


def list_questions(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """List the questions that come with the project: name, stream, window, and what they ask."""
    questions = [load_question(str(path)) for path in question_files()]
    if as_json:
        listed = [
            {"name": q.name, "stream": q.header.stream, "window": str(q.window), "title": q.title} for q in questions
        ]
        typer.echo(json.dumps({"questions": listed}))
        return
    table = Table("question", "stream", "window", "title", box=SIMPLE)
    for question in questions:
        table.add_row(question.name, question.header.stream, str(question.window), question.title)
    Console().print(table)


def show(question: Name) -> None:
    """Print a question's text."""
    typer.echo(load_question(question).text, nl=False)


def check(
    questions: Annotated[list[str], typer.Argument(metavar="QUESTION...", help="Names of questions, or files (.sql).")],
    stream: Stream = None,
) -> None:
    """Check questions as `submit` does, without a server: the text, both engines' types, Flink's plan.

    Prints the columns of the answers. Exit code 2 where a question is refused, with the rule that mends it.
    """
    from flink_jobs.local import plan_question

    refused = False
    for name in questions:
        try:
            question = load_question(name)
            with console.status(f"checking {name}"):
                planned = plan_question(question, load_contract(stream or question.header.stream))
        except UsageError as error:
            refused = True
            console.print(f"[red]refused:[/] {name}")
            console.print(str(error), markup=False, soft_wrap=True)
            continue
        takers = "DuckDB takes" if question.header.run == "batch" else "both engines take"
        typer.echo(f"{name}: {takers} it; windows {question.window}")
        for column, kind in planned.columns.items():
            typer.echo(f"    {column:24} {kind.replace('VARCHAR(2147483647)', 'STRING')}")
        for note in planned.notes:
            typer.echo(f"    note: {note}")
        if not planned.has_run:
            typer.echo("    note: it does not tell runs apart, so it is submitted with --run")
    if refused:
        raise typer.Exit(UsageError.exit_code)


def plan(
    question: Name,
    raw: Annotated[bool, typer.Option("--raw", help="Print Flink's own plan.")] = False,
    stream: Stream = None,
) -> None:
    """Say what Flink does to answer a question, step by step."""
    from flink_jobs.local import plan_question
    from flink_jobs.plan_in_words import plan_in_words

    asked = load_question(question)
    with console.status(f"planning {question}"):
        planned = plan_question(asked, load_contract(stream or asked.header.stream))
    if raw:
        typer.echo(planned.plan)
        return
    for number, sentence in enumerate(plan_in_words(planned.plan), 1):
        typer.echo(f"{number}. {sentence}")
    for note in planned.notes:
        typer.echo(f"note: {note}")


def run_tests(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Tests: QUESTION.test.toml beside the question's file.")
    ],
    stream: Stream = None,
) -> None:
    """Run questions over a few rows in both engines, and compare with the answers that are expected.

    Exit code 1 where an engine answers otherwise.
    """
    from flink_jobs.question_case import run_case

    failed = False
    for file in files:
        with console.status(f"running {file}"):
            try:
                outcome = run_case(file, stream)
            except UsageError:
                raise
            except StreamproofError as error:
                failed = True
                console.print(f"{file}: {error}", markup=False, soft_wrap=True)
                continue
        if outcome.differences:
            failed = True
            typer.echo(f"{file}: FAILED")
            for difference in outcome.differences:
                typer.echo(f"    {difference}")
        else:
            engines = "Flink and DuckDB give" if len(outcome.engines) > 1 else f"{outcome.engines[0]} gives"
            typer.echo(f"{file}: {engines} the {outcome.expected} answers that are expected")
    if failed:
        raise typer.Exit(1)


app = new_app("Look at questions, check and test them, without a server.")
app.command("list")(list_questions)
app.command()(show)
app.command()(check)
app.command()(plan)
app.command("test")(run_tests)
