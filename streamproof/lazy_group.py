"""A command line whose commands are imported when they are called: their list needs none of their modules."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from streamproof.core.command import new_app

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter


class Later(NamedTuple):
    """A command that is not imported yet.

    Attributes:
        place: its function, as ``module:function``.
        about: what it does, in a sentence: the first of the function's docstring.

    """

    place: str
    about: str

    def load(self, name: str) -> "Command":
        """Import the command."""
        module, _, function = self.place.partition(":")
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name)(getattr(import_module(module), function))
        return typer.main.get_command(alone)


class LazyGroup(TyperGroup):
    """Commands of which it knows no more than their sentences until one of them is asked for."""

    later: ClassVar[Mapping[str, Later]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        listed = {name: TyperCommand(name, help=command.about) for name, command in self.later.items()}
        self.commands = {**listed, **self.commands}

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        """Import a command."""
        later = self.later.get(cmd_name)
        return later.load(cmd_name) if later else super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """List the commands, without importing them."""
        TyperGroup(commands=list(self.commands.values())).format_commands(ctx, formatter)


def lazy_app(about: str, commands: Mapping[str, Later]) -> typer.Typer:
    """Return a command line of commands that are imported when they are called."""
    app = new_app(about)
    app.info.cls = type("Commands", (LazyGroup,), {"later": commands})
    return app
