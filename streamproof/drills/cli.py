"""The command ``drill``."""

import secrets
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.box import HORIZONTALS, MARKDOWN
from rich.console import Console
from rich.table import Column, Table

from streamproof.chain.start_servers import extensions_folder, start_servers
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.drills.drill import MOST_EDGES, DrillOptions, DrillResult, drilled_chain
from streamproof.drills.faults import FAULTS, faults_here, refuse_faults
from streamproof.stack.servers import Stack

_ALL = "all"
_WIDTH = 200
_TERMINATED = 128 + signal.SIGTERM


def drill(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help=f"{_ALL}, or some of {', '.join(FAULTS)}.")],
    rounds: Annotated[int, typer.Option(min=1, help="How often the fault strikes, all in one run.")] = 1,
    seed: Annotated[
        int | None, typer.Option(help="Decides the moments, so that a drill can be repeated [default: a new one].")
    ] = None,
    rate: Annotated[int, typer.Option(min=2, help="Rows a second.")] = 2000,
    clock: Annotated[
        Literal["wall", "virtual"], typer.Option(help="virtual: as fast as the chain takes the rows.")
    ] = "wall",
    confirm: Annotated[
        Literal["kafka", "broker"],
        typer.Option(help="broker: without the flow's confirmations; rows that the broker loses are then lost."),
    ] = "kafka",
    edges: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST_EDGES,
            help="Replayers that send the run together, a category each; what strikes the replayer strikes one.",
        ),
    ] = 1,
    output: Annotated[Path | None, typer.Option(help="Also write the table to this file, as Markdown.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON on standard output.")] = False,
) -> None:
    """Kill, restart or cut off a part of the running chain, and prove that it did no harm; exit code 0 if so."""
    refuse_faults({*names} - {_ALL})
    if edges > 1 and confirm == "broker":
        raise UsageError("--confirm broker does not go with --edges: each edge waits for what Kafka has of all")
    wanted = faults_here() if _ALL in names else names
    options = DrillOptions(rounds, secrets.randbelow(10**6) if seed is None else seed, rate, clock, confirm, edges)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # so that its job and replayer end with it
    stack = Stack.from_environment()
    start_servers(stack, extensions_folder())
    results, failed = [], False
    with drilled_chain(stack) as chain:
        for name in wanted:
            console.rule(f"{name}: {rounds} rounds, seed {options.seed}", align="left", style="dim")
            try:
                results.append(chain.drill(name, options))
            except StreamproofError as error:
                if name == wanted[-1] and not results:
                    raise
                failed = True
                console.print(f"{name} failed: {error}", style="red", markup=False, soft_wrap=True)
    if json:
        document = {"seed": options.seed, "drills": [result.model_dump() for result in results]}
        print(msgspec.json.format(msgspec.json.encode(document)).decode())
    else:
        out = Console(highlight=False)
        out.width = max(out.width, _WIDTH)
        out.print(_table(results))
    if output:
        with output.open("w", encoding="utf-8") as file:
            table = _table(results)
            table.box = MARKDOWN
            Console(file=file, width=_WIDTH).print(table)
    if failed or not all(result.proven for result in results):
        raise typer.Exit(1)


def _table(results: list[DrillResult]) -> Table:
    numbers = (
        *("rounds", "recovery s", "longest s", "standstill s", "rows sent", "resent", "doubled", "lost"),
        *("windows right", "other", "alerts right", "other", "untold"),
    )
    table = Table("drill", *(Column(name, justify="right") for name in numbers), "verdict", box=HORIZONTALS)
    for r in results:
        counts = [r.rows.sent, r.rows.resent, r.rows.doubled, r.rows.lost]
        for judged in (r.windows, r.alerts):
            counts += [judged.right, judged.wrong + judged.missing + judged.extra]
        table.add_row(
            r.drill,
            str(len(r.recoveries)),
            f"{r.median_recovery:.0f}",
            f"{max(r.recoveries):.0f}",
            f"{max(r.standstills):.1f}",
            *(f"{count:,}" for count in (*counts, r.untold)),
            "proven" if r.proven else "NOT PROVEN",
        )
    return table
