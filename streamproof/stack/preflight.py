"""What is checked before anything starts: free ports and enough memory."""

import contextlib
import socket
from collections.abc import Iterable

import psutil

from streamproof.core.errors import StreamproofError, UsageError
from streamproof.stack.part import Part
from streamproof.stack.settings import Address

_MEBIBYTE = 1024 * 1024


def check_before_start(parts: Iterable[Part]) -> None:
    """Check that the parts can be started.

    Raises:
        UsageError: two parts are to use one port, or a part's own settings cannot be used.
        StreamproofError: a port is taken, or there is too little memory.

    """
    wanted = list(parts)
    for part in wanted:
        part.check()
    addresses = [address for part in wanted for address in part.addresses]
    for number, address in enumerate(addresses):
        for other in addresses[:number]:
            if address.port == other.port:
                raise UsageError(f"{other.setting} and {address.setting} both name port {address.port}: change one")
    if taken := [_who_has(address) for address in addresses if not _is_free(address)]:
        raise StreamproofError("\n".join(taken))
    needed = sum(part.memory for part in wanted)
    available = psutil.virtual_memory().available // _MEBIBYTE
    if available < needed:
        raise StreamproofError(
            f"too little memory: {', '.join(part.name for part in wanted)} need about {needed} MB, "
            f"{available} MB are available; end other programs first"
        )


def _is_free(address: Address) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port whose last user has just ended is free
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return False
    return True


def _who_has(address: Address) -> str:
    owner = "another program (only root can see which)"
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == address.port
                and connection.pid
            ):
                owner = f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return (
        f"port {address.port} on {address.host} is taken by {owner}: end that, or choose another with {address.setting}"
    )
