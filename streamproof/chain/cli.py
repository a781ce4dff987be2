"""The commands ``setup``, ``up`` and ``resubmit``: this machine's servers, with what the stages need."""

import typer

from nifi_templates.extensions import install_extensions
from streamproof.chain.end_marks import mark_ends_again
from streamproof.chain.lost_jobs import resubmit_lost_jobs
from streamproof.chain.start_servers import extensions_folder, start_servers
from streamproof.core.command import console
from streamproof.stack.servers import Stack


def setup() -> None:
    """Fetch and check everything that the servers need; what is there is skipped."""
    Stack.from_environment().setup()
    install_extensions(extensions_folder())


def up() -> None:
    """Start the servers on this machine and wait until each is healthy; jobs that ran before go on.

    What ends by itself from then on is started again.
    """
    start_servers(Stack.from_environment(), extensions_folder())


def resubmit() -> None:
    """Submit the jobs again that a JobManager that was started anew does not know, from their newest checkpoints.

    Jobs that Flink itself has restarted get the end marks of their runs once more, which closes their last windows.
    """
    are_all_back = resubmit_lost_jobs()
    for run in mark_ends_again({}):
        console.print(f"the end of the run {run} is marked again", markup=False)
    if not are_all_back:
        raise typer.Exit(1)
