"""The ``streamproof`` command: every stage's commands, and those that need several stages."""

from pathlib import Path
from typing import Annotated

import typer

import edge_replayer.cli
import flink_jobs.cli
import nifi_templates.cli
import stack.cli
import validation.cli
from nifi_templates.extensions import install_extensions
from stack.servers import Stack
from streamproof.demo import run_demo
from streamproof.late_rows import late_rows
from streamproof.lost_jobs import resubmit_lost_jobs
from streams.command import new_app
from streams.settings import HomeSettings

app = new_app("Replay a CSV through MQTT, NiFi, Kafka and Flink, and prove every window.")


def _extensions() -> Path:
    return HomeSettings().home / "nifi" / "python_extensions"


@app.command()
def setup() -> None:
    """Fetch and check everything that the servers need; what is there is skipped."""
    Stack.from_environment().setup()
    install_extensions(_extensions())


@app.command()
def up() -> None:
    """Start the servers on this machine and wait until each is healthy; jobs that ran before go on."""
    install_extensions(_extensions())
    Stack.from_environment().up(extensions=_extensions())
    resubmit_lost_jobs()


app.command()(stack.cli.down)
app.command()(stack.cli.status)
app.command()(stack.cli.logs)
app.command()(nifi_templates.cli.deploy)
flow = new_app("Look at a stream's NiFi flow, or take it away.")
flow.command("status")(nifi_templates.cli.flow_status)
flow.command("remove")(nifi_templates.cli.flow_remove)
app.add_typer(flow, name="flow")
app.command()(flink_jobs.cli.submit)
app.command("list")(flink_jobs.cli.list_jobs)
app.command()(flink_jobs.cli.cancel)
app.command()(flink_jobs.cli.savepoint)
app.command()(edge_replayer.cli.replay)
validation.cli.late_rows = late_rows
app.command()(validation.cli.validate)
app.command()(validation.cli.windows)


@app.command()
def demo(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CATEGORY=FILE]...", help="Your own ratings; without any, two generated categories."),
    ] = None,
) -> None:
    """Start the servers, replay ratings through the whole chain, and prove every window."""
    run_demo(files or [], _extensions())
