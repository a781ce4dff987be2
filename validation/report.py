"""The verdict and the audit for people: tables on the terminal, and a page beside the run's manifest."""

from pathlib import Path
from typing import TextIO

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.box import HORIZONTALS
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from validation.audit import Audit
from validation.comparison import WindowExample, WindowValues
from validation.delivery import CategoryRows
from validation.jobs import Job
from validation.verdict import Verdict

STAGES = {
    "accepted": "fitting",
    "rejected": "rejected",
    "sent": "sent",
    "resent": "resent",
    "received": "received\nby NiFi",
    "kafka": "in\nKafka",
    "doubled": "doubled",
    "dead_letters": "dead\nletters",
    "read": "read by\nFlink",
    "lost": "lost",
}
"""What becomes of rows (fitting: the contract), in the order of the chain, as ``CategoryRows`` counts it."""

_OF_FILES = {"accepted", "rejected"}
_LONGEST_NAME, _WIDEST = 30, 1000
_MOST_CATEGORIES, _MOST_REASONS = 20, 50


def print_verdict(verdict: Verdict, file: TextIO | None = None) -> None:
    """Print the verdict, to standard output if not to another file."""
    out = Console(highlight=False, file=file)
    _print_rows(out, verdict.run, STAGES, verdict.categories)
    windows = Table(*(Column(name, justify="right") for name in type(verdict.windows).model_fields), box=HORIZONTALS)
    windows.add_row(*(count(n) for n in verdict.windows.model_dump().values()))
    out.print(Text(f"Windows {shape(verdict)} of job {verdict.job or 'unknown'}: {', '.join(verdict.measures)}"))
    out.print(windows)
    for example in verdict.not_right:
        out.print(Text(describe(example)), soft_wrap=True)
    _print_reasons(out, verdict.reasons)
    out.print("[bold green]PROVEN[/]" if verdict.proven else "[bold red]NOT PROVEN[/]")


def print_audit(audit: Audit) -> None:
    """Print an audit to standard output: the table, and in words what is missing, and where."""
    out = Console(highlight=False)
    stages = {stage: title for stage, title in STAGES.items() if stage not in _OF_FILES}
    if audit.state == "running":
        stages["under_way"] = "under\nway"
    _print_rows(out, audit.run, stages, audit.categories)
    reasons = []
    for category, rows in audit.categories.items():
        reasons += [f"{category}: {reason}" for reason in (*rows.say_missing(), *rows.say_differing(audit.run))]
        if rows.never_sent and audit.state != "running":
            reasons.append(f"{category}: {rows.never_sent} rows in Kafka have a seq that was never sent")
    _print_reasons(out, reasons)
    if audit.unreadable:
        out.print(f"- {audit.unreadable} records in Kafka name the run but are not what their topic should hold")
    out.print(f"The run is {audit.state}; Flink's job: {audit.job or 'unknown'}", soft_wrap=True)
    if any(rows.differing for rows in audit.categories.values()):
        out.print("[bold red]TWO RUNS BEAR THIS ID[/]")
    elif audit.rows.lost:
        out.print("[bold red]ROWS ARE LOST[/]")
    else:
        out.print("[bold green]NO ROW IS LOST[/]")


def _print_rows(out: Console, run: str, stages: dict[str, str], categories: dict[str, CategoryRows]) -> None:
    """Print a line for each category; as wide as it is, as a cut number says nothing. Of many, some and their sum."""
    table = Table(Column("category", overflow="fold", max_width=_LONGEST_NAME), box=HORIZONTALS)
    for title in stages.values():
        table.add_column(title, justify="right")
    shown = categories
    if len(categories) > _MOST_CATEGORIES:
        first = sorted(categories, key=lambda category: not _is_strange(categories[category]))[:_MOST_CATEGORIES]
        shown = {category: categories[category] for category in first}
    for category, rows in shown.items():
        table.add_row(Text(category), *(count(getattr(rows, stage)) for stage in stages))
    if len(categories) > len(shown):
        counts = {stage: [getattr(rows, stage) for rows in categories.values()] for stage in stages}
        sums = (None if None in each else sum(each) for each in counts.values())
        table.add_row("…")
        table.add_row(f"all {len(categories):,} categories", *map(count, sums))
    out.width = max(out.width, out.measure(table, options=out.options.update(max_width=_WIDEST)).maximum)
    out.print(Text(f"Rows of run {run}"), table, sep="\n")


def _is_strange(rows: CategoryRows) -> bool:
    """Whether a category's counts should be looked at first."""
    return not rows.sent or any((rows.lost, rows.under_way, rows.dead_letters, rows.never_sent, rows.differing))


def _print_reasons(out: Console, reasons: list[str]) -> None:
    for reason in reasons[:_MOST_REASONS]:
        out.print(Text(f"- {reason}"), soft_wrap=True)
    if len(reasons) > _MOST_REASONS:
        out.print(f"- and {len(reasons) - _MOST_REASONS:,} more (--json has all)")


def count(number: int | None) -> str:
    """Write a count."""
    return "unknown" if number is None else f"{number:,}"


def write_report(verdict: Verdict, folder: Path) -> Path:
    """Write ``validation.json`` and ``validation.html`` into a run's folder; return the path of the page."""
    (folder / "validation.json").write_text(verdict.model_dump_json(indent=2) + "\n", encoding="utf-8")
    path = folder / "validation.html"
    path.write_text(render(verdict, Path(__file__).with_name("report.html")), encoding="utf-8")
    return path


def render(verdict: Verdict, template: Path, **more: object) -> str:
    """Return a page in HTML; the template may extend ``report.html``, and is given ``more``."""
    templates = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(template.name).render(
        verdict=verdict, stages=STAGES, shape=shape(verdict), values=_values, count=count, **more
    )


def shape(verdict: Verdict) -> str:
    """Write the windows in words, like ``30s / 5s``."""
    return job_of(verdict).windows


def job_of(verdict: Verdict) -> Job:
    """Return the job whose windows were judged."""
    return Job(verdict.job, verdict.size, verdict.slide, verdict.kind, verdict.measures)


def describe(example: WindowExample) -> str:
    """Write a window that is not right on one line, with both values."""
    window = f"{example.category} {example.key} [{example.window_start}, {example.window_end})"
    return f"{example.verdict}: {window}: expected {_values(example.expected)}; found {_values(example.found)}"


def _values(values: WindowValues | None) -> str:
    if values is None:
        return "none"
    return ", ".join(f"{name} {'unreadable' if value is None else value}" for name, value in values.items())
