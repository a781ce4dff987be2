"""The command ``make``."""

from pathlib import Path
from typing import Annotated

import typer

from streamproof.core.command import console


def make(
    stream: Annotated[str, typer.Argument(help="A stream's name, or the path of a contract with a generator.toml.")],
    rows: Annotated[int, typer.Option(min=1, help="How many, in all files together.")],
    output: Annotated[Path, typer.Option(help="The folder to write into.", file_okay=False)],
    seed: Annotated[int, typer.Option(help="Other seeds make other files.")] = 1,
    keys: Annotated[
        int | None, typer.Option(min=1, help="How many different keys, where generator.toml says what these are.")
    ] = None,
    a_day: Annotated[
        int | None,
        typer.Option(min=1, max=2**31, help="How many rows, or sessions, a day has, in place of the clock's."),
    ] = None,
) -> None:
    """Make CSV files of a stream, and truth.csv, which says what was put in on purpose.

    The same seed gives the same bytes.
    """
    from streamproof.generator.make import make as make_files

    with console.status(f"making {rows:,} rows"):
        made = make_files(stream, rows, output, seed=seed, keys=keys, a_day=a_day)
    for category, file in made.files.items():
        typer.echo(f"{category}={file}")
    typer.echo(f"what was put in on purpose: {made.truth}")
