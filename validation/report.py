"""The verdict for people: a table on the terminal, and a page beside the run's manifest."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.box import HORIZONTALS
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from streams.duration import format_duration
from validation.comparison import WindowExample, WindowValues
from validation.verdict import Verdict

STAGES = {
    "accepted": "fitting",
    "rejected": "rejected",
    "sent": "sent",
    "confirmed": "confirmed",
    "kafka": "in Kafka",
    "dead_letters": "dead letters",
    "lost": "lost",
    "doubled": "doubled",
}
"""What becomes of rows (fitting: the contract), in the order of the chain, as ``CategoryRows`` counts it."""

_WIDTH = 110
"""Columns that the table takes even where the terminal, or a pipe, says it has fewer: a cut number says nothing."""


def print_verdict(verdict: Verdict) -> None:
    """Print the verdict to standard output."""
    out = Console(highlight=False)
    out.width = max(out.width, _WIDTH)
    rows = Table(box=HORIZONTALS)
    rows.add_column("category", overflow="fold")
    for title in STAGES.values():
        rows.add_column(title, justify="right")
    for category, counts in verdict.categories.items():
        rows.add_row(Text(category), *(f"{getattr(counts, stage):,}" for stage in STAGES))
    windows = Table(*(Column(name, justify="right") for name in type(verdict.windows).model_fields), box=HORIZONTALS)
    windows.add_row(*(f"{n:,}" if n is not None else "unknown" for n in verdict.windows.model_dump().values()))
    out.print(Text(f"Rows of run {verdict.run}"), rows, sep="\n")
    out.print(Text(f"Windows {shape(verdict)} of job {verdict.job or 'unknown'}"), windows, sep="\n")
    for example in verdict.not_right:
        out.print(Text(describe(example)), soft_wrap=True)
    for reason in verdict.reasons:
        out.print(Text(f"- {reason}"), soft_wrap=True)
    out.print("[bold green]PROVEN[/]" if verdict.proven else "[bold red]NOT PROVEN[/]")


def write_report(verdict: Verdict, folder: Path) -> Path:
    """Write ``validation.json`` and ``validation.html`` into a run's folder; return the path of the page."""
    (folder / "validation.json").write_text(verdict.model_dump_json(indent=2) + "\n", encoding="utf-8")
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = templates.get_template("report.html").render(
        verdict=verdict, stages=STAGES, shape=shape(verdict), values=_values
    )
    path = folder / "validation.html"
    path.write_text(page, encoding="utf-8")
    return path


def shape(verdict: Verdict) -> str:
    """Write a window's size and slide, like ``30s / 5s``."""
    return f"{format_duration(verdict.size)} / {format_duration(verdict.slide)}" if verdict.size else "of no shape"


def describe(example: WindowExample) -> str:
    """Write a window that is not right on one line, with both values."""
    window = f"{example.category} {example.key} [{example.window_start}, {example.window_end})"
    return f"{example.verdict}: {window}: expected {_values(example.expected)}; found {_values(example.found)}"


def _values(values: WindowValues | None) -> str:
    if values is None:
        return "none"
    return ", ".join(f"{name} {'unreadable' if value is None else value}" for name, value in values)
