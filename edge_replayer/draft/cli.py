"""The command ``contract draft``."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from streamproof.core.command import console, new_app
from streamproof.core.errors import UsageError
from streamproof.core.whole_file import write_whole


def draft(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file; it may be packed, as for `replay`.")],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the two files are written.")] = Path(),
    name: Annotated[
        str | None, typer.Option(help="The stream's name: small letters, digits and _ [default: the file's].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there already.")] = False,
) -> None:
    """Write a contract for a CSV file, and a first question about it; what is not sure is a comment in the contract.

    Both are tried: the contract on the first rows of the file, the question on the contract. No server is needed.
    """
    from edge_replayer.draft.draft import draft as make

    with console.status(f"reading {file}"):
        made = make(file, name)
    contract, question = output / f"{made.stream}.toml", output / f"{made.question}.sql"
    if there := [path for path in (contract, question) if path.exists()]:
        if not force:
            raise UsageError(f"{there[0]} is there already: choose another --name or --output, or --force")
        console.print(f"written over: {', '.join(map(str, there))}", markup=False, soft_wrap=True)
    output.mkdir(parents=True, exist_ok=True)
    write_whole(contract, made.contract)
    write_whole(question, made.question_text)

    tried = made.fitting + made.rejections
    typer.echo(f"{contract}: {made.fitting:,} of {'all' if made.whole else 'the first'} {tried:,} rows fit")
    for line, reason in made.rejected:
        typer.echo(f"    line {line} does not: {reason}")
    for doubt in made.doubts:
        typer.echo(f"    not sure: {doubt}")
    typer.echo(f"{question}: {made.question_text.splitlines()[0].removeprefix('-- ')}")
    typer.echo("\nWith the servers up (streamproof up), these prove the first answers:\n")
    for command in next_commands(made.stream, contract, question, file, has_time=made.has_time):
        typer.echo(f"    {shlex.join(command)}")


def next_commands(stream: str, contract: Path, question: Path, file: Path, *, has_time: bool) -> list[list[str]]:
    """Return the commands that lead from the two files to a verdict.

    Args:
        stream: its name, of which the run's id is made.
        contract: the contract's file.
        question: the question's file.
        file: the CSV.
        has_time: whether the file's own time sets the pace.

    """
    run = f"{stream[:60]}-1"
    pace = ["--speed", "1"] if has_time else ["--rate", "1"]
    of_contract = str(contract) if contract.is_absolute() else f"./{contract}"
    return [
        ["streamproof", "deploy", of_contract],
        ["streamproof", "submit", str(question), "--stream", of_contract, "--run", run],
        ["streamproof", "replay", of_contract, f"{stream}={file}", *pace, "--clock", "virtual", "--run", run],
        ["streamproof", "validate", run],
    ]


app = new_app("Draft a contract from a CSV file.")
app.command()(draft)
