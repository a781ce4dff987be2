"""A part of the stack: what it listens on, how it is started, and how it is known to work."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from streamproof.stack.process import Program
from streamproof.stack.settings import Address


@dataclass(frozen=True)
class Part:
    """One server.

    Attributes:
        name: as in ``status``.
        artifacts: the part names in the lock file that it needs.
        addresses: what it listens on, and which setting changes that.
        memory: mebibytes that it takes when idle, for the check before the start.
        prepare: writes its configuration and returns what to run.
        healthy: asks the server, in its own protocol, whether it works; may raise any error when it does not.
        clear: called when the part does not run, before its start and after its end.
        stop_signal: asks it to end.
        check: raises the UsageError for which it cannot be started, before anything is.
        certificates: what it reads at its start alone, so it must be started again when one is renewed.
        reread: writes what the running server reads anew on SIGHUP; None where there is nothing such.

    """

    name: str
    artifacts: tuple[str, ...]
    addresses: tuple[Address, ...]
    memory: int
    prepare: Callable[[], Program]
    healthy: Callable[[], bool]
    clear: Callable[[], None] = lambda: None
    stop_signal: int = SIGTERM
    reread: Callable[[], None] | None = None
    certificates: tuple[Path, ...] = ()
    check: Callable[[], None] = lambda: None
