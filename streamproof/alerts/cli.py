"""The commands ``alerts``, ``alert backtest``, ``alert deliver`` and ``alert receipts``."""

import json
import signal
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from streamproof.core.command import console, set_by
from streamproof.core.contract import load_contract
from streamproof.core.errors import UsageError
from streamproof.core.question import load_question
from streamproof.core.run import category_files, load_run
from streamproof.core.settings import HomeSettings, KafkaSettings
from validation.alert_events import Alert, alerts_of_events, newest_jobs, read_alerts

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]

_WIDTH = 150
"""Columns that tables take even where the terminal, or a pipe, says it has fewer: cut ids say nothing."""

_MISSED = 5


def alerts(
    run: Annotated[str, typer.Argument(help="The run's id.", show_default=False)],
    question: Annotated[str | None, typer.Option(help="Only the alerts of this question, by its name.")] = None,
    firing: Annotated[bool, typer.Option("--firing", help="Only those that fire still.")] = False,
    as_json: Json = False,
) -> None:
    """List the alerts of a run: what became of each, since when, and with which values it fired."""
    events = newest_jobs(read_alerts(load_run(run, HomeSettings()), KafkaSettings()))
    found = [
        alert
        for alert in alerts_of_events(events)
        if question in (None, alert.question) and (alert.is_firing or not firing)
    ]
    if as_json:
        typer.echo(json.dumps({"run": run, "alerts": [alert.model_dump(mode="json") for alert in found]}))
    else:
        _print_alerts(found)


def backtest(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The name of a question, or its file (.sql).")],
    files: Annotated[list[str], typer.Argument(metavar="CATEGORY=FILE...", help="The files, and their categories.")],
    truth: Annotated[
        Path | None, typer.Option(help="What was put in on purpose: a generator's truth.csv; it is compared with that.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only what was put in of this kind; may be given several times.")
    ] = None,
    stream: Annotated[
        str | None, typer.Option(help="The stream's name or contract file (default: the one that the question names).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say from files alone what would have fired; no server is needed.

    With `--truth` it also says how many of the alerts were right, how much of what was put in was found, and how long
    after its begin.
    """
    from validation.backtest import backtest as compute
    from validation.backtest import read_truth, score

    asked = load_question(question)
    put_in = read_truth(truth, kind or ()) if truth else []
    with console.status("reading the files"):
        events = compute(asked, load_contract(stream or asked.header.stream), category_files(files))
    found = alerts_of_events(events)
    scored = score(events, put_in) if truth else None
    if as_json:
        document: dict[str, Any] = {"alerts": [alert.model_dump(mode="json") for alert in found]}
        if scored:
            figures = {name: getattr(scored, name) for name in ("precision", "recall", "median_delay")}
            document["score"] = scored.model_dump(mode="json") | figures
        typer.echo(json.dumps(document))
        return
    _print_alerts(found)
    if scored:
        typer.echo(f"precision: {_share(scored.precision)} ({scored.rightly:,} of {scored.fired:,} alerts)")
        for name, count in scored.put_in.items():
            typer.echo(f"recall of {name}: {_share(scored.found[name] / count)} ({scored.found[name]:,} of {count:,})")
        if scored.delays:
            typer.echo(f"delay: {scored.median_delay:,.0f} s median, {max(scored.delays):,.0f} s at most")
        for each in scored.missed[:_MISSED]:
            typer.echo(f"missed: {each.kind} {each.key}, {_time(each.begin)} to {_time(each.end)}")
        if len(scored.missed) > _MISSED:
            typer.echo(f"and {len(scored.missed) - _MISSED:,} more (--json has all)")


def deliver(
    to: Annotated[
        list[str],
        typer.Option(
            metavar="URL",
            help="Whom to tell: a URL that apprise knows, or the path of a file. May be given several times.",
        ),
    ],
    run: Annotated[str | None, typer.Option(help="Only the alerts of this run, also those of before.")] = None,
) -> None:
    """Tell of alerts, until Ctrl-C: each at least once, always with the same id, and tried until it is taken.

    Without `--run` a receiver is told of what comes from the first start on, of all runs.
    """
    from streamproof.alerts.deliver import Delivery
    from streamproof.alerts.outbox import Outbox
    from streamproof.alerts.receivers import receiver_at
    from streamproof.core.alone import alone

    receivers = {receiver.name: receiver for receiver in map(receiver_at, to)}
    stop = set_by(signal.SIGTERM, signal.SIGINT)
    with alone(_folder() / "deliver.lock", before_waiting=_refuse):
        console.print(f"telling {', '.join(receivers)}; Ctrl-C ends it", markup=False, soft_wrap=True)
        Delivery(list(receivers.values()), Outbox(_outbox()), KafkaSettings(), run).run(stop)


def receipts(
    run: Annotated[str | None, typer.Argument(help="The run's id [default: all runs].", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List who was told of which alert, and what waits to be told."""
    from streamproof.alerts.outbox import Outbox

    found = Outbox(_outbox()).receipts(run)
    if as_json:
        typer.echo(json.dumps({"receipts": [receipt._asdict() for receipt in found]}))
        return
    table = Table(Column("alert", no_wrap=True), "state", "receiver", "tries", "delivered", box=SIMPLE)
    for each in found:
        state = f"{each.state} {each.number}" if each.number else each.state
        table.add_row(
            each.alert,
            state,
            each.receiver,
            str(each.tries),
            each.delivered_at or f"waits: {each.problem or 'its turn'}",
        )
    _print(table if found else "nobody was to be told of anything")


def _print_alerts(found: Sequence[Alert]) -> None:
    table = Table(Column("alert", no_wrap=True), "question", "state", "key", box=SIMPLE)
    for name in ("begin", "fired", "resolved"):
        table.add_column(name, no_wrap=True)
    table.add_column("told again", justify="right")
    table.add_column("values")
    for alert in found:
        table.add_row(
            *(alert.id, alert.question, "firing" if alert.is_firing else alert.state),
            ", ".join(str(value) for value in alert.key.values()),
            *(_time(moment) for moment in (alert.begin, alert.fired, alert.resolved)),
            str(alert.repeats or "-"),
            ", ".join(f"{name} {value}" for name, value in alert.values.items() if value is not None) or "-",
        )
    _print(table if found else "no alerts")


def _print(what: Table | str) -> None:
    out = Console()
    out.width = max(out.width, _WIDTH)
    out.print(what)


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z" if moment else "-"


def _share(share: float | None) -> str:
    return "none fired" if share is None else f"{share:.3f}"


def _folder() -> Path:
    return HomeSettings().home / "alerts"


def _outbox() -> Path:
    return _folder() / "outbox.sqlite"


def _refuse() -> None:
    raise UsageError(
        "alerts are already delivered by another `alert deliver` of this home: end that one, or give it all receivers "
        "(--to may be given several times)"
    )
