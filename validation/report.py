"""The verdict and the audit for people: tables on the terminal, and a page beside the run's manifest."""

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.box import HORIZONTALS
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from validation.alerts import JudgedAlerts
from validation.answers import in_words
from validation.audit import Audit
from validation.comparison import AnswerCounts, Difference, InputRow, Value
from validation.copies import CopyCounts
from validation.delivery import CategoryRows
from validation.verdict import JudgedAnswers, QuestionVerdict, Verdict

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
_LONGEST_NAME, _LONGEST_VALUE, _WIDEST = 30, 100, 1000
_MOST_CATEGORIES, _MOST_REASONS = 20, 50


def print_verdict(verdict: Verdict, file: TextIO | None = None) -> None:
    """Print the verdict, to standard output if not to another file."""
    out = Console(highlight=False, file=file)
    _print_rows(out, verdict.run, STAGES, verdict.categories)
    counts = list(JudgedAnswers.model_fields)
    for name, question in verdict.questions.items():
        out.print(Text(f"{name}, windows {shape(question)}, job {question.job}: {', '.join(question.columns)}"))
        answers = Table(*(Column(each, justify="right") for each in counts), box=HORIZONTALS)
        answers.add_row(*(count(getattr(question, each)) for each in counts))
        out.print(answers)
        for difference in question.not_right:
            out.print(Text(describe(difference)), soft_wrap=True)
            for row in difference.rows:
                out.print(Text(f"    {describe_row(row)}"), soft_wrap=True)
        if alerts := question.alerts:
            out.print(Text(f"{name}, alerts: {counts_of_alerts(alerts)}"), soft_wrap=True)
            for difference in alerts.not_right:
                out.print(Text(f"alert {describe(difference)}"), soft_wrap=True)
    for line in lines_of_targets(verdict):
        out.print(Text(line), soft_wrap=True)
    for note in verdict.notes:
        out.print(Text(f"note: {note}"), soft_wrap=True)
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
        verdict=verdict,
        stages=STAGES,
        shape=shape,
        values=values,
        describe_row=describe_row,
        count=count,
        counts_of_alerts=counts_of_alerts,
        lines_of_targets=lines_of_targets,
        describe=describe,
        **more,
    )


def counts_of_alerts(alerts: JudgedAlerts) -> str:
    """Write how many alerts are right, and how many are not."""
    return f"{_counts(alerts)} (of {alerts.breaches:,} answers that breach)"


def lines_of_targets(verdict: Verdict) -> Iterator[str]:
    """Yield a line for each question in each target: how many answers and alerts are right there; then what is not."""
    for name, target in verdict.targets.items():
        if target.problem:
            yield f"{name}: cannot be read back"
        for question, answers in target.questions.items():
            alerts = f"; alerts: {_counts(answers.alerts)}" if answers.alerts else ""
            yield f"{name}: {question}: {_counts(answers)}{alerts}"
            for difference in answers.not_right:
                yield describe(difference)
                yield from (f"    {describe_row(row)}" for row in difference.rows)
    if verdict.copies:
        for copy, counts in verdict.copies.copies.items():
            yield f"{verdict.copies.name}: {copy}: rows: {_counts(counts)}"


def _counts(counts: AnswerCounts | CopyCounts) -> str:
    return ", ".join(f"{getattr(counts, each):,} {each}" for each in AnswerCounts.model_fields)


def shape(question: QuestionVerdict) -> str:
    """Write a question's windows in words, like ``30s / 5s``."""
    return in_words(question.window)


def describe(difference: Difference) -> str:
    """Write an answer that is not right on one line, with both values."""
    key = " ".join(_short(value) for value in difference.key.values())
    where = f"{key} [{difference.window_start}, {difference.window_end})".lstrip()
    found = f"expected {values(difference.expected)}; found {values(difference.found)}"
    return f"{difference.verdict}: {where}: {found}"


def describe_row(row: InputRow) -> str:
    """Write a row of a file on one line."""
    return f"{row.category}, line {row.line}, {row.event_time}: {values(row.fields)}"


def values(named: dict[str, Value] | None) -> str:
    """Write values with their names."""
    return "none" if named is None else ", ".join(f"{name} {_short(value)}" for name, value in named.items())


def _short(value: Value) -> str:
    text = "NULL" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text):,} characters)"
