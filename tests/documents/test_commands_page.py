import re
from typing import Annotated

import pytest
import typer
from checkout import CHECKOUT

from streamproof.cli import app
from streamproof.reference import PAGE, commands_page


def all_commands(group, path=()):
    ctx = typer.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if hasattr(command, "list_commands"):
            yield from all_commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(all_commands(typer.main.get_command(app)))
SECTIONS = dict(part.split("\n", 1) for part in PAGE.read_text().split("\n## streamproof ")[1:])


def test_the_page_is_what_the_code_generates():
    assert PAGE.read_text() == commands_page(), "write it anew: make docs"


def test_the_page_has_all_commands_and_no_others():
    assert list(SECTIONS) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_stands_in_its_commands_section(name):
    rows = re.findall(r"^\| `(.*)` \| (.+) \|$", SECTIONS[name].replace(r"\|", "|"), re.MULTILINE)
    for parameter in COMMANDS[name].params:
        if parameter.name != "help":
            names = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar or parameter.name]
            assert any(all(each in row for each in names) for row, _ in rows), f"{name} {parameter.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_argument_and_option_has_a_help_text(name):
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        assert parameter.name == "help" or getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_a_command_line_becomes_a_page():
    small, group = typer.Typer(), typer.Typer()

    @small.command()
    def boil(
        water: Annotated[str, typer.Argument(help="Which water.")],
        minutes: Annotated[int, typer.Option(help="How long; hard|soft.")] = 4,
    ) -> None:
        """Boil an egg.

        It must be fresh.
        """

    @group.command("salt")
    def salt() -> None:
        """Put salt in."""

    small.add_typer(group, name="water")
    assert (
        commands_page(small, "egg").partition("\n\n| command")[2]
        == r""" | what it does |
|---|---|
| [`egg boil`](#egg-boil) | Boil an egg. |
| [`egg water salt`](#egg-water-salt) | Put salt in. |

## egg boil

Boil an egg.

It must be fresh.

    egg boil [OPTIONS] {water}

| argument or option | what it is |
|---|---|
| `water <str>` | Which water. [required] |
| `--minutes <int>` | How long; hard\|soft. [default: 4] |

## egg water salt

Put salt in.

    egg water salt [OPTIONS]
"""
    )


def test_the_page_is_written_by_a_make_target():
    assert re.search(
        r"^docs:.*\n\t.*python -m streamproof\.reference$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE
    )
