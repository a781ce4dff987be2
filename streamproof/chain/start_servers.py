"""The servers of this machine, with all that the other stages need of them."""

import sys
from pathlib import Path

from nifi_templates.extensions import install_extensions
from streamproof.chain.lost_jobs import resubmit_lost_jobs
from streamproof.core.settings import HomeSettings
from streamproof.stack.servers import Stack


def extensions_folder() -> Path:
    """Return where the NiFi of this machine finds its Python processors."""
    return HomeSettings().home / "nifi" / "python_extensions"


def start_servers(stack: Stack, extensions: Path) -> None:
    """Start what does not run, with NiFi's processors in place and somebody who looks after all; lost jobs go on.

    Raises:
        UsageError, StreamproofError: as ``Stack.up`` does.

    """
    install_extensions(extensions)
    stack.up(extensions=extensions)
    look_after(stack)
    resubmit_lost_jobs()


def look_after(stack: Stack) -> None:
    """Leave a process running that starts again what ends by itself, and ends the jobs of ended runs."""
    stack.supervise([sys.executable, "-m", "streamproof.chain.supervise"])
