"""The servers of this machine, with all that the other stages need of them."""

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from nifi_templates.extensions import install_extensions
from streamproof.chain.lost_jobs import resubmit_lost_jobs
from streamproof.chain.secured import give_rights
from streamproof.core.errors import UsageError
from streamproof.core.settings import HomeSettings, PostgresSettings
from streamproof.stack.live_sinks import LAKE, keep_live
from streamproof.stack.postgres import POSTGRES
from streamproof.stack.servers import Stack

SINKS = (POSTGRES, LAKE)
"""The sinks that can be kept running beside the servers."""

WithOption = Annotated[
    str,
    typer.Option(
        "--with",
        metavar="SINKS",
        help=f"Keep results and rows elsewhere, too: {', '.join(SINKS)}.",
        show_default=False,
    ),
]


def extensions_folder() -> Path:
    """Return where the NiFi of this machine finds its Python processors."""
    return HomeSettings().home / "nifi" / "python_extensions"


def start_servers(stack: Stack, extensions: Path, sinks: Collection[str] = ()) -> None:
    """Start what does not run, with NiFi's processors in place and somebody who looks after all; lost jobs go on.

    Args:
        stack: the servers.
        extensions: where NiFi's processors go.
        sinks: the names of sinks that are kept running, too, with the servers that they need.

    Raises:
        UsageError, StreamproofError: as ``Stack.up`` does.

    """
    install_extensions(extensions)
    with_postgres = POSTGRES in sinks and PostgresSettings().is_own
    stack.up(extensions=extensions, parts=stack.all_parts if with_postgres else stack.parts)
    if stack.authority:
        give_rights()
    if sinks:
        keep_live(sinks)
    look_after(stack)
    resubmit_lost_jobs()


def named_sinks(names: str) -> list[str]:
    """Return which sinks ``--with`` names, with commas between them.

    Raises:
        UsageError: there is none of that name.

    """
    found = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := set(found) - set(SINKS):
        raise UsageError(f"--with {names}: there is no sink {min(unknown)!r}: name one of {', '.join(SINKS)}")
    return found


def look_after(stack: Stack) -> None:
    """Leave a process running that starts again what ends by itself, and ends the jobs of ended runs."""
    stack.supervise([sys.executable, "-m", "streamproof.chain.supervise"])
