"""The command ``bench``: what was asked for, several times each, as a table, JSON and a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from streamproof.bench.chain import CHAIN
from streamproof.bench.ground import prepare
from streamproof.bench.growth import GROWTH
from streamproof.bench.lake import LAKE
from streamproof.bench.measure import COST, Benchmark, Report, Result, machine, number, repeat
from streamproof.bench.nifi_stages import NIFI_STAGES
from streamproof.bench.publish import PUBLISH
from streamproof.bench.side_by_side.runner import SIDE_BY_SIDE, say_ratios
from streamproof.bench.sinks import SINKS
from streamproof.bench.stages import STAGES
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError, UsageError

BENCHMARKS: dict[str, Benchmark] = {
    **STAGES,
    **NIFI_STAGES,
    **PUBLISH,
    **CHAIN,
    **SINKS,
    **LAKE,
    **SIDE_BY_SIDE,
    **GROWTH,
}
"""Every benchmark by its name, in the order in which they run."""


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="What to measure: names, or their beginnings (`chain`). Without: all but the growth curves, `grow`.",
        ),
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1000, help="Rows of each run, instead of each one's own.")] = None,
    repeats: Annotated[int, typer.Option("--repeat", min=1, help="Runs of each.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")] = False,
    output: Annotated[Path | None, typer.Option(help="Save the JSON here as well.")] = None,
    markdown: Annotated[bool, typer.Option(help="Print a Markdown table with a column for each part.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Only tell what there is.")] = False,
) -> None:
    """Measure the chain and its stages on this machine; a figure whose run is not proven is not printed."""
    chosen = _choose(names or [name for name in BENCHMARKS if list_only or name not in GROWTH])
    if list_only:
        table = Table("name", "unit", "rows", "what", box=None)
        for name, benchmark in chosen.items():
            table.add_row(name, benchmark.unit, f"{benchmark.rows:,}" if benchmark.rows else "", benchmark.about)
        Console().print(table)
        return
    for name, benchmark in list(chosen.items()):
        if missing := benchmark.missing:
            if name in (names or []):
                raise UsageError(f"{name}: {missing}")
            console.print(f"{name} is left out: {missing}", markup=False, soft_wrap=True)
            del chosen[name]
    about = machine()
    if any(benchmark.servers for benchmark in chosen.values()):
        prepare()
    results = [repeat(name, each, rows or each.rows, repeats) for name, each in chosen.items()]
    report = Report(machine=about, results=results)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if as_json:
        print(report.model_dump_json())
    elif markdown:
        print("\n".join(_markdown(results)))
    else:
        _print(report)
    if unproven := [result for result in results if not result.runs]:
        raise StreamproofError("\n".join(f"{result.name}: {result.reason}" for result in unproven))


def _choose(names: list[str]) -> dict[str, Benchmark]:
    for name in names:
        if not any(_is_meant(name, each) for each in BENCHMARKS):
            raise UsageError(f"there is no benchmark {name!r}: name one of {', '.join(BENCHMARKS)}")
    return {each: benchmark for each, benchmark in BENCHMARKS.items() if any(_is_meant(name, each) for name in names)}


def _is_meant(name: str, benchmark: str) -> bool:
    """Tell whether a name means a benchmark: its own name, or, where no benchmark has that name, its beginning."""
    return benchmark == name or (name not in BENCHMARKS and benchmark.startswith(f"{name}."))


def _print(report: Report) -> None:
    out = Console(width=120)
    m = report.machine
    out.print(
        f"{m.cores} cores, {m.memory_gb} GB, {m.processor}, {m.system}, Python {m.python}, "
        f"load {m.load_before} before; {', '.join(f'{name} {version}' for name, version in m.versions.items())}; "
        f"{', '.join(f'{name} {value}' for name, value in m.settings.items())}",
        markup=False,
    )
    table = Table(
        "benchmark",
        Column("median", justify="right"),
        "unit",
        Column("least to greatest", justify="right"),
        Column("runs", justify="right"),
        Column("rows", justify="right"),
        Column("of fixed work", justify="right"),
        box=box.SIMPLE_HEAD,
    )
    for result in report.results:
        table.add_row(*_row(result))
        for name, value in result.parts.items():
            what, _, unit = name.rpartition(", ")
            multiple = number(result.multiples[name]) if name in result.multiples else ""
            table.add_row(f"  {what or unit}", number(value), unit if what else "", "", "", "", multiple, style="dim")
        if result.multiples and result.fixed_work:
            table.add_row("  a row of the fixed work", number(result.fixed_work), COST, style="dim")
    out.print(table)
    for ratio in say_ratios(report.results):
        out.print(ratio)


def _markdown(results: list[Result]) -> Iterator[str]:
    """Yield the lines of a table for a document, a line for each benchmark."""
    parts = list({part: None for result in results for part in result.parts})
    yield "| " + " | ".join(("benchmark", "rows", "runs", "median", "unit", "least to greatest", *parts)) + " |"
    yield "|---|---:|---:|---:|---|---:|" + "---:|" * len(parts)
    for result in results:
        name, median, unit, spread, runs, rows = _row(result)
        figures = (number(result.parts[part]) if part in result.parts else "" for part in parts)
        yield "| " + " | ".join((f"`{name}`", rows, runs, median, unit, spread, *figures)) + " |"


def _row(result: Result) -> list[str]:
    if result.median is None:
        return [result.name, "NOT PROVEN", result.unit, "", "0", f"{result.rows:,}"]
    spread = f"{number(min(result.runs))} to {number(max(result.runs))}"
    return [result.name, number(result.median), result.unit, spread, str(len(result.runs)), f"{result.rows:,}"]
