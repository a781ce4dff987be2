"""Some servers of a stack, on free ports and in a home of their own; the environment says where they are."""

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pytest
from free_ports import free_ports

from streamproof.stack.servers import Stack


@contextmanager
def own_servers(*parts: str, brokers: Collection[str] = ("kafka",), **more: object) -> Iterator[Stack]:
    """Start a Kafka and other parts, and stop them at the end.

    Args:
        parts: those beside Kafka.
        brokers: those that are Kafka's.
        more: environment variables that hold as long.

    """
    kafka, controller = free_ports(2)
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "STREAMPROOF_HOME": home,
            "STREAMPROOF_KAFKA_SERVERS": f"127.0.0.1:{kafka}",
            "STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT": controller,
            "STREAMPROOF_STACK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
            **more,
        }.items():
            environment.setenv(name, str(value))
        stack = Stack.from_environment()
        try:
            stack.up(parts=(*brokers, *parts))
            yield stack
        finally:
            stack.down()
