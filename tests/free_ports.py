"""Ports for servers of tests: below those that the system gives to whoever asks for any.

A server that is killed and started again finds its port as it left it. One of the system's own choice might meanwhile
be a client's, or that of a server of another test.
"""

import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

_COUNT = 12_000


def free_ports(count: int, *, in_a_row: bool = False) -> list[int]:
    """Return so many ports of 127.0.0.1 on which nobody listens."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    while True:
        first = random.randrange(end - _COUNT, end - count)
        ports = range(first, first + count) if in_a_row else random.sample(range(end - _COUNT, end), count)
        with ExitStack() as held, suppress(OSError):
            for port in ports:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return list(ports)
