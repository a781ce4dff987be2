"""The command line of the NiFi flow: deploy it, look at it, test it, remove it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from nifi_templates import deployment
from nifi_templates.case_file import find_cases
from nifi_templates.case_run import CaseResult, run_cases
from nifi_templates.definition import FLOW_FILE, build_definition
from streamproof.core.command import console, new_app
from streamproof.core.contract import load_contract
from streamproof.core.duration import parse_duration
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import KafkaSettings, MqttSettings

Stream = Annotated[str, typer.Argument(help="The stream: a contract's name, or the path of its file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Force = Annotated[bool, typer.Option("--force", help="Drop what is queued in NiFi where it cannot be sent to Kafka.")]

FLOW_TESTS = Path(__file__).parent / "flow_tests"
"""The project's own cases, a folder for each stream."""


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


def flow_test(
    stream: Stream,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE|FOLDER]...", help="Cases; without any, those that come with the project."),
    ] = None,
    *,
    wait: Annotated[str, typer.Option(help="How long a case's messages may take through the flow.")] = "30s",
    as_json: AsJson = False,
) -> None:
    """Test the deployed flow: messages in, exactly the expected records and dead letters out."""
    contract = load_contract(stream)
    seconds = float(parse_duration(wait) / 1000)
    own = FLOW_TESTS / contract.name
    if not paths and not own.is_dir():
        raise UsageError(f"no cases for {contract.name} come with the project: name files or folders of your own")
    cases = find_cases(paths or [own], contract)
    found = deployment.status(contract.name)
    if not found.deployed:
        raise UsageError(f"the flow of {contract.name} is not deployed: `streamproof deploy {stream}` does it")
    if not found.running:
        raise StreamproofError(f"the flow of {contract.name} does not run: look at `streamproof flow status {stream}`")
    if not deployment.is_current(contract):
        console.print(f"what is deployed is older than its files or settings; `streamproof deploy {stream}`")
    results = list(run_cases(contract, cases, wait=seconds, mqtt=MqttSettings(), kafka=KafkaSettings()))
    passed = all(result.passed for result in results)
    if left := len(cases) - len(results):
        console.print(f"{left} cases were not run; look at `streamproof flow status {stream}`")
    if as_json:
        cases_as_json = [asdict(r) | {"path": str(r.path), "passed": r.passed} for r in results]
        typer.echo(json.dumps({"stream": contract.name, "passed": passed, "cases": cases_as_json}))
    else:
        _print_results(results)
    raise typer.Exit(0 if passed else 1)


def _print_results(results: list[CaseResult]) -> None:
    table = Table(
        "case", Column("records", justify="right"), Column("dead letters", justify="right"), "verdict", box=None
    )
    for result in results:
        verdict = "passed" if result.passed else "[red]FAILED[/]"
        table.add_row(result.path.stem, str(result.records), str(result.dead_letters), verdict)
    console.print(table)
    for result in results:
        for problem in result.problems:
            console.print(f"{result.path.name}: {problem}", markup=False, soft_wrap=True)


def export() -> None:
    """Write flow.json anew from nifi_templates/definition.py."""
    FLOW_FILE.write_text(json.dumps(build_definition(), indent=2) + "\n", encoding="utf-8")
    console.print(f"written: {FLOW_FILE}")


app = new_app("The NiFi flow of a stream: MQTT to Kafka, checked against the contract.")
app.command("deploy")(deploy)
app.command("status")(flow_status)
app.command("test")(flow_test)
app.command("remove")(flow_remove)
app.command("export")(export)
