"""docs/commands.md, made from the commands themselves: ``python -m streamproof.reference`` writes it anew.

A command's help text is written once, in the code, and stands on the page word for word.
"""

from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup

from streamproof.cli import app

PAGE = Path("docs/commands.md")
"""Its place in a checkout."""

_HEAD = """\
# The commands and their options

This page is generated from the code by `make docs`, and a test compares the two. The texts are those of `--help`. Other
pages show each command at work: the [README](../README.md#documents) lists them.

- **Exit codes.** 0: done and proven. 1: failed, or not proven. 2: wrong use. 130: ended by Ctrl-C.
- **Output.** Progress and messages go to standard error. With `--json` a command prints one JSON document on standard
  output, for programs.
- **Durations** read like `30s`, `1.003s` or `5min`. **Times** are ISO 8601 with a zone, like `2024-01-01T00:00:00Z`.
- **Addresses** of the servers are [settings](settings.md), read from the environment.
"""


def commands_page(commands: typer.Typer = app, name: str = "streamproof") -> str:
    """Return the page in Markdown: a list of all commands, then a section for each."""
    found = list(_commands(typer.main.get_command(commands), name, None))
    index = [f"| [`{ctx.command_path}`](#{ctx.command_path.replace(' ', '-')}) | {_summary(ctx)} |" for ctx in found]
    sections = [line for ctx in found for line in _section(ctx)]
    return "\n".join([_HEAD, "| command | what it does |", "|---|---|", *index, *sections]) + "\n"


def _commands(command: object, name: str, parent: typer.Context | None) -> Iterator[typer.Context]:
    """Yield a context for each command that is no group, asked for by name as the command line itself asks."""
    if isinstance(command, TyperGroup):
        ctx = typer.Context(command, info_name=name, parent=parent)
        for sub in command.list_commands(ctx):
            yield from _commands(command.get_command(ctx, sub), sub, ctx)
    elif isinstance(command, TyperCommand):
        yield typer.Context(command, info_name=name, parent=parent)


def _summary(ctx: typer.Context) -> str:
    return _cell((ctx.command.help or "").partition("\n\n")[0])


def _section(ctx: typer.Context) -> Iterator[str]:
    usage = " ".join([ctx.command_path, *ctx.command.collect_usage_pieces(ctx)])
    yield from ("", f"## {ctx.command_path}", "", ctx.command.help or "", "", f"    {usage}")
    records = [parameter.get_help_record(ctx) for parameter in ctx.command.get_params(ctx) if parameter.name != "help"]
    if shown := [record for record in records if record]:
        yield from ("", "| argument or option | what it is |", "|---|---|")
        yield from (f"| `{_cell(names)}` | {_cell(text)} |" for names, text in shown)


def _cell(text: str) -> str:
    """Return a text as it must be written in a cell of a table, in one line."""
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(commands_page(), encoding="utf-8")
