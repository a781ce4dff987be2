"""The command line of the NiFi flow: deploy it, look at it, remove it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from nifi_templates import deployment
from nifi_templates.definition import FLOW_FILE, build_definition
from streams.command import console, new_app
from streams.contract import load_contract

Stream = Annotated[str, typer.Argument(help="The stream: a contract's name, or the path of its file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Force = Annotated[bool, typer.Option("--force", help="Drop what is queued in NiFi where it cannot be sent to Kafka.")]


def deploy(stream: Stream, *, force: Force = False, as_json: AsJson = False) -> None:
    """Bring the stream's NiFi flow and Kafka topics into place, and start it; twice gives one."""
    done = deployment.deploy(load_contract(stream), force=force)
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    console.print(
        f"{done.stream}: flow {done.action} and running"
        + f"; topics made: {', '.join(done.topics_made)}" * bool(done.topics_made),
        soft_wrap=True,
    )


def flow_status(stream: Stream, *, as_json: AsJson = False) -> None:
    """Show how the stream's NiFi flow does."""
    found = deployment.status(load_contract(stream).name)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    elif not found.deployed:
        console.print(f"{found.stream}: not deployed; `streamproof deploy {stream}` does it")
    else:
        table = Table("processor", "state", "in (5 min)", "out (5 min)", "problems")
        for p in found.processors:
            table.add_row(p.name, p.state, str(p.flowfiles_in), str(p.flowfiles_out), "; ".join(p.problems))
        console.print(table)
        console.print(f"queued: {found.queued} FlowFiles, {found.queued_bytes} bytes")
        for bulletin in found.bulletins:
            console.print(bulletin, markup=False)
    raise typer.Exit(0 if found.running else 1)


def flow_remove(stream: Stream, *, force: Force = False, as_json: AsJson = False) -> None:
    """Take the stream's flow out of NiFi, once its queues are empty; topics and MQTT session stay."""
    done = deployment.remove(load_contract(stream).name, force=force)
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    dropped = f", {done.dropped} FlowFiles dropped" if done.dropped else ""
    console.print(f"{done.stream}: flow removed{dropped}" if done.existed else f"{done.stream}: there was no flow")


def export() -> None:
    """Write flow.json anew from nifi_templates/definition.py."""
    FLOW_FILE.write_text(json.dumps(build_definition(), indent=2) + "\n", encoding="utf-8")
    console.print(f"written: {FLOW_FILE}")


app = new_app("The NiFi flow of a stream: MQTT to Kafka, checked against the contract.")
app.command("deploy")(deploy)
app.command("status")(flow_status)
app.command("remove")(flow_remove)
app.command("export")(export)
