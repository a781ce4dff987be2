"""The commands ``up``, ``down``, ``status``, ``logs`` and ``setup``."""

import json
import time
from collections import deque
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stack.servers import PARTS, Stack
from streams.command import new_app
from streams.errors import UsageError

_FOLLOW = 0.3  # seconds between two looks at a log


def setup() -> None:
    """Install what the servers need: Mosquitto, and the Maven artifacts of Kafka, NiFi and Flink."""
    Stack.from_environment().setup()


def up() -> None:
    """Start Mosquitto, Kafka, NiFi and Flink on this machine, and wait until all are healthy."""
    Stack.from_environment().up()


def down() -> None:
    """Stop the servers that `up` started; their data stays."""
    Stack.from_environment().down()


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")] = False,
) -> None:
    """Tell of every part whether it runs, under which pid, and whether it is healthy."""
    parts = Stack.from_environment().status()
    if as_json:
        print(json.dumps({"parts": [part._asdict() for part in parts]}))
        return
    table = Table("part", "pid", "healthy", "restarts", box=None)
    for part in parts:
        table.add_row(part.name, str(part.pid or "-"), "yes" if part.healthy else "no", str(part.restarts))
    Console().print(table)


def logs(
    part: Annotated[str, typer.Argument(help=f"One of {', '.join(PARTS)}.")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines of the end to print.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what comes, until Ctrl-C.")] = False,
) -> None:
    """Print the end of a part's log."""
    if part not in PARTS:
        raise UsageError(f"there is no part {part!r}: name one of {', '.join(PARTS)}")
    log = Stack.from_environment().processes.log(part)
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


app = new_app("The servers on this machine, without Docker.")
for command in (setup, up, down, status, logs):
    app.command()(command)
