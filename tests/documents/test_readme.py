import re

import pytest
import typer
from checkout import CHECKOUT

from streamproof.cli import app

README = (CHECKOUT / "README.md").read_text()


def commands(command, path=()):
    if hasattr(command, "list_commands"):
        context = typer.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))
    else:
        yield path, command


COMMANDS = {" ".join(path): command for path, command in commands(typer.main.get_command(app))}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_the_readme(name):
    assert f"streamproof {name}" in README
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            assert re.search(rf"`[^`\n]*{re.escape(parameter.opts[0])}\b", README), f"{name} {parameter.opts[0]}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_a_help_text(name):
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        assert parameter.name == "help" or getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_the_readme_names_no_command_that_there_is_not():
    named = set(re.findall(r"streamproof ([a-z]+(?: (?:status|test|remove)\b)?)", README))
    known = set(COMMANDS) | {name.split()[0] for name in COMMANDS}
    assert {name if name in known else name.split()[0] for name in named} <= known


def test_the_two_commands_are_in_the_makefile():
    makefile = (CHECKOUT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
