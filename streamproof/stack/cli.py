"""The commands ``down``, ``status`` and ``logs``."""

import json
import time
from collections import deque
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from streamproof.core.errors import UsageError
from streamproof.core.settings import HomeSettings, PostgresSettings
from streamproof.stack.postgres import POSTGRES
from streamproof.stack.servers import SUPERVISOR, Stack

_FOLLOW = 0.3  # seconds between two looks at a log


def down() -> None:
    """Stop the servers that `up` started; their data stays."""
    Stack.from_environment().down()


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")] = False,
) -> None:
    """Tell of every part whether it runs, under which pid, and whether it is healthy."""
    stack = Stack.from_environment()
    parts, supervisor = stack.status(), stack.supervisor()
    if as_json:
        print(json.dumps({"parts": [part._asdict() for part in parts], "supervisor": supervisor}))
        return
    out = Console()
    table = Table("part", "pid", "healthy", "restarts", Column("ended by itself last", overflow="fold"), box=None)
    for part in parts:
        healthy = "given up" if part.given_up else "yes" if part.healthy else "no"
        table.add_row(part.name, str(part.pid or "-"), healthy, str(part.restarts), part.last_end or "")
    out.print(table)
    if any(part.name == POSTGRES for part in parts):
        home, postgres = HomeSettings(), PostgresSettings()
        out.print(f"{postgres.shown}, its password is in {postgres.password_file(home)}", markup=False, soft_wrap=True)
    for part in parts:
        if part.given_up:
            out.print(
                f"{part.name} ended again and again and is not started any more until the next `streamproof up`; "
                + part.given_up,
                markup=False,
                soft_wrap=True,
            )
    if not any(part.pid for part in parts):
        out.print("Nothing runs: `streamproof up` starts it.", markup=False)
    elif supervisor is None:
        out.print("Nobody starts again what ends: `streamproof up` does.", markup=False)


def logs(
    part: Annotated[str, typer.Argument(help=f"One that `status` shows, or {SUPERVISOR}.")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines of the end to print.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what comes, until Ctrl-C.")] = False,
) -> None:
    """Print the end of a part's log."""
    stack = Stack.from_environment()
    if part not in (known := (*stack.all_parts, SUPERVISOR)):
        raise UsageError(f"there is no part {part!r}: name one of {', '.join(known)}")
    log = stack.processes.log(part)
    if not log.exists():
        raise UsageError(f"{part} has no log yet ({log}): run `streamproof up` first")
    with log.open(encoding="utf-8", errors="replace") as file:
        for line in deque(file, maxlen=lines):
            print(line, end="")
        while follow:
            if line := file.read():
                print(line, end="", flush=True)
            else:
                time.sleep(_FOLLOW)
