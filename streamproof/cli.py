"""The ``streamproof`` command: every stage's commands, and those that need several stages."""

from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

import edge_replayer.cli
import flink_jobs.cli
import nifi_templates.cli
import streamproof.bench.cli
import streamproof.dashboard.cli
import streamproof.drills.cli
import streamproof.stack.cli
import validation.cli
from nifi_templates.extensions import install_extensions
from streamproof.chain.ask_servers import questions
from streamproof.chain.ask_stages import STAGES
from streamproof.chain.ended_runs import EndedRuns
from streamproof.chain.late_rows import late_rows
from streamproof.chain.lost_jobs import resubmit_lost_jobs
from streamproof.chain.start_servers import extensions_folder, look_after, start_servers
from streamproof.core.command import console, new_app
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.demo import run_demo
from streamproof.stack.servers import Stack
from validation.jobs import Wanted
from validation.verdict import validate as judge

app = new_app("Replay a CSV through MQTT, NiFi, Kafka and Flink, and prove every window.")


@app.command()
def setup() -> None:
    """Fetch and check everything that the servers need; what is there is skipped."""
    Stack.from_environment().setup()
    install_extensions(extensions_folder())


@app.command()
def up() -> None:
    """Start the servers on this machine and wait until each is healthy; jobs that ran before go on.

    What ends by itself from then on is started again.
    """
    start_servers(Stack.from_environment(), extensions_folder())


app.command()(streamproof.stack.cli.down)
app.command()(streamproof.stack.cli.status)
app.command()(streamproof.stack.cli.logs)
app.command()(nifi_templates.cli.deploy)
flow = new_app("Look at a stream's NiFi flow, test it, or take it away.")
flow.command("status")(nifi_templates.cli.flow_status)
flow.command("test")(nifi_templates.cli.flow_test)
flow.command("remove")(nifi_templates.cli.flow_remove)
app.add_typer(flow, name="flow")


@app.command()
@wraps(flink_jobs.cli.submit)
def submit(**options: Any) -> None:  # noqa: D103 - they are those of the stage
    flink_jobs.cli.submit(**options)
    if options["run"]:
        look_after(Stack.from_environment())


app.command("list")(flink_jobs.cli.list_jobs)
app.command()(flink_jobs.cli.cancel)
app.command()(flink_jobs.cli.savepoint)


@app.command()
def resubmit() -> None:
    """Submit the jobs again that a JobManager that was started anew does not know, from their newest checkpoints.

    Jobs whose run has ended are looked after once more: their last windows are closed, and then they end as well.
    """
    are_all_back = resubmit_lost_jobs()
    for line in EndedRuns().look():
        console.print(line, markup=False, soft_wrap=True)
    if not are_all_back:
        raise typer.Exit(1)


app.command()(edge_replayer.cli.replay)
validation.cli.late_rows, validation.cli.stages = late_rows, STAGES
app.command()(validation.cli.validate)
app.command()(validation.cli.audit)
app.command()(validation.cli.windows)


@app.command()
def report(
    run: validation.cli.RunArgument,
    output: Annotated[
        Path | None, typer.Option(help="The file to write. Default: report.html beside the manifest.")
    ] = None,
    job: validation.cli.JobOption = None,
    size: validation.cli.SizeOption = None,
    slide: validation.cli.SlideOption = None,
) -> None:
    """Judge a run and write one HTML page that needs no network: verdict, charts, what ran, settings."""
    from streamproof.report import write_run_report  # no other command draws

    home, kafka = HomeSettings(), KafkaSettings()
    wanted = Wanted.parse(job, size, slide)
    verdict = judge(run, home, kafka, wanted=wanted, wait=validation.cli.WAIT_SECONDS, late=late_rows, stages=STAGES)
    page = output or home.runs / run / "report.html"
    write_run_report(verdict, home, kafka, page)
    console.print(f"report: {page} ({'PROVEN' if verdict.proven else 'NOT PROVEN'})", markup=False, soft_wrap=True)


streamproof.dashboard.cli.questions = questions
app.command()(streamproof.dashboard.cli.dashboard)
app.command()(streamproof.drills.cli.drill)
app.command()(streamproof.bench.cli.bench)


@app.command()
def demo(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CATEGORY=FILE]...", help="Your own ratings; without any, two generated categories."),
    ] = None,
) -> None:
    """Start the servers, replay ratings through the whole chain, and prove every window."""
    run_demo(files or [], extensions_folder())
