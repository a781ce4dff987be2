"""A Kafka of its own, and runs that lie in it as the chain leaves them."""

import tempfile

import pytest
from free_ports import free_ports

from streamproof.stack.servers import Stack


@pytest.fixture(scope="session")
def own_kafka():
    """Start a Kafka; the environment says where it is, and where the lake."""
    kafka, controller = free_ports(2)
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "STREAMPROOF_HOME": home,
            "STREAMPROOF_KAFKA_SERVERS": f"127.0.0.1:{kafka}",
            "STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT": controller,
            "STREAMPROOF_STACK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
        }.items():
            environment.setenv(name, str(value))
        stack = Stack.from_environment()
        try:
            stack.up(parts=("kafka",))
            yield
        finally:
            stack.down()
