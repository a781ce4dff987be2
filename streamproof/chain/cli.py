"""The commands ``setup``, ``up``, ``submit`` and ``resubmit``: this machine's servers, and the jobs looked after."""

from functools import wraps
from typing import Annotated, Any

import typer

import flink_jobs.cli
from nifi_templates.extensions import install_extensions
from streamproof.chain.ended_runs import EndedRuns
from streamproof.chain.lost_jobs import resubmit_lost_jobs
from streamproof.chain.secured import named_edge, secure
from streamproof.chain.start_servers import WithOption, extensions_folder, look_after, named_sinks, start_servers
from streamproof.core.command import console
from streamproof.core.settings import HomeSettings
from streamproof.stack.authority import Authority
from streamproof.stack.kafka import keep_brokers
from streamproof.stack.nifi import keep_nodes
from streamproof.stack.servers import Stack


def setup() -> None:
    """Fetch and check everything that the servers need; what is there is skipped."""
    Stack.from_environment().setup()
    install_extensions(extensions_folder())


def up(
    sinks: WithOption = "",
    secured: Annotated[
        bool, typer.Option("--secured", help="Let in only who has a certificate, which is made and renewed by this.")
    ] = False,
    edges: Annotated[
        list[str] | None,
        typer.Option(
            "--edge",
            metavar="NAME=STREAM/CATEGORY,…",
            help="Make a certificate for an edge, which may send these categories. Can be given several times.",
        ),
    ] = None,
    brokers: Annotated[
        int | None,
        typer.Option(help="Kafka brokers: 1, or 3, of which one may be away. A home keeps the number it began with."),
    ] = None,
    nifi_nodes: Annotated[
        int | None,
        typer.Option(help="Nodes of NiFi: 1, or 2, of which one may be away. A home keeps the number it began with."),
    ] = None,
) -> None:
    """Start the servers on this machine and wait until each is healthy; jobs that ran before go on.

    What ends by itself from then on is started again.
    """
    named = named_sinks(sinks)
    if brokers is not None:
        keep_brokers(HomeSettings().home, brokers)
    if nifi_nodes is not None:
        keep_nodes(HomeSettings().home, nifi_nodes)
    if secured or edges or Authority(HomeSettings().home / "tls").exists:
        secure([named_edge(text) for text in edges or []])
    start_servers(Stack.from_environment(), extensions_folder(), named)


@wraps(flink_jobs.cli.submit)
def submit(**options: Any) -> None:  # noqa: D103 - they are those of the stage
    flink_jobs.cli.submit(**options)
    if options["run"]:
        look_after(Stack.from_environment())


def resubmit() -> None:
    """Submit the jobs again that a JobManager that was started anew does not know, from their newest checkpoints.

    Jobs whose run has ended are looked after once more: their last windows are closed, and then they end as well.
    """
    are_all_back = resubmit_lost_jobs()
    for line in EndedRuns().look():
        console.print(line, markup=False, soft_wrap=True)
    if not are_all_back:
        raise typer.Exit(1)
