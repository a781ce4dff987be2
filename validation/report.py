"""The verdict for people: a table on the terminal, and a page beside the run's manifest."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.duration import format_duration
from validation.comparison import WindowExample, WindowValues
from validation.verdict import Verdict

STAGES = {
    "accepted": "fit the contract",
    "rejected": "rejected",
    "sent": "sent",
    "confirmed": "confirmed",
    "kafka": "in Kafka",
    "dead_letters": "dead letters",
    "lost": "lost",
    "doubled": "doubled",
}
"""What becomes of rows, in the order of the chain, as ``CategoryRows`` counts it."""


def print_verdict(verdict: Verdict) -> None:
    """Print the verdict to standard output."""
    out = Console(highlight=False)
    rows = Table(title=f"Rows of run {verdict.run}", title_justify="left")
    rows.add_column("stage")
    for category in verdict.categories:
        rows.add_column(Text(category), justify="right", overflow="fold")
    for stage, title in STAGES.items():
        rows.add_row(title, *(f"{getattr(counts, stage):,}" for counts in verdict.categories.values()))
    windows = Table(title=f"Windows {shape(verdict)} of job {verdict.job or 'unknown'}", title_justify="left")
    for name in type(verdict.windows).model_fields:
        windows.add_column(name, justify="right")
    windows.add_row(*(f"{n:,}" if n is not None else "unknown" for n in verdict.windows.model_dump().values()))
    out.print(rows, windows, sep="\n")
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
    return f"{format_duration(verdict.size)} / {format_duration(verdict.slide)}"


def describe(example: WindowExample) -> str:
    """Write a window that is not right on one line, with both values."""
    window = f"{example.category} {example.key} [{example.window_start}, {example.window_end})"
    return f"{example.verdict}: {window}: expected {_values(example.expected)}; found {_values(example.found)}"


def _values(values: WindowValues | None) -> str:
    if values is None:
        return "none"
    return ", ".join(f"{name} {'unreadable' if value is None else value}" for name, value in values)
