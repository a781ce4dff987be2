"""Two nodes of NiFi: one reads, the other takes over, and what each has received is known together."""

import re
import signal
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from flow_stream import CATEGORY, Stream
from free_ports import free_ports
from own_servers import own_servers
from waiting import PATIENCE, eventually, until

from nifi_templates.deployment import received_rows
from nifi_templates.nodes import primary_node
from streamproof.chain.ask_servers import questions
from streamproof.chain.start_servers import extensions_folder, install_extensions
from streamproof.core.errors import StreamproofError
from streamproof.core.settings import KafkaSettings, MqttSettings, NifiSettings

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

NODES = ("nifi-1", "nifi-2")
CONNECTED = r"^(\S+ \S+): New client connected from \S+ as {client} "
LONGER_THAN_ANY_NEW_CONNECTION = timedelta(seconds=15)


@pytest.fixture(scope="module")
def stack():
    first, *_ = free_ports(14, in_a_row=True)
    more = {
        "NIFI_API_ENDPOINT": ",".join(f"http://127.0.0.1:{port}/nifi-api" for port in (first, first + 10)),
        "STREAMPROOF_STACK_NIFI_MANAGEMENT_PORT": first + 3,
        "STREAMPROOF_STACK_NIFI_CLUSTER_PORT": first + 4,
        "STREAMPROOF_STACK_ZOOKEEPER_PORT": first + 8,
        "STREAMPROOF_MQTT_PORT": first + 9,
    }
    with own_servers("mosquitto", **more) as stack:
        install_extensions(extensions_folder())
        stack.up(parts=("zookeeper", *NODES))
        yield stack


@pytest.fixture(scope="module")
def stream(stack):
    it = Stream(SimpleNamespace(stack=stack, mqtt=MqttSettings(), kafka=KafkaSettings(), nifi=NifiSettings()))
    it.deploy()
    yield it
    it.close()


def send(stream, first, last):
    """Publish rows, and return when Kafka has them."""
    stream.publish(*(stream.row(number) for number in range(first, last + 1)))
    until(lambda: {row["seq"] for _, _, row in stream.rows()} >= set(range(first, last + 1)))


def received(stream):
    """Return which rows the nodes know of."""
    _, ranges = (received_rows(stream.name) or {})["r"][CATEGORY]
    return ranges


def connections(stack, stream):
    """Return when the source connected to the broker, as the broker tells."""
    log = stack.processes.log("mosquitto").read_text()
    pattern = CONNECTED.format(client=f"streamproof-nifi-{stream.name}")
    found = [datetime.fromisoformat(time) for time in re.findall(pattern, log, re.MULTILINE)]
    return [time.astimezone(UTC) for time in found]


def test_a_primary_node_that_hangs_is_no_longer_primary_and_lets_go_of_the_client_id(stack, stream):
    send(stream, 1, 100)
    hanging = stack.processes.find(NODES[primary_node()])
    hanging.send_signal(signal.SIGSTOP)
    try:
        send(stream, 101, 200)
    finally:
        hanging.send_signal(signal.SIGCONT)
    until(lambda: all(stack.is_healthy(name) for name in NODES))
    send(stream, 201, 300)
    # Two that both want the client id take it from each other again and again.
    until(lambda: connections(stack, stream)[-1] < datetime.now(UTC) - LONGER_THAN_ANY_NEW_CONNECTION)
    send(stream, 301, 400)

    def all_known():
        assert received(stream) == [[1, 400]]

    eventually(all_known)


def test_a_lost_node_is_named_the_other_one_goes_on_and_what_both_received_is_known_when_it_is_back(stack, stream):
    asked = questions()["NiFi"].works
    assert (asked(None).is_up, asked(None).figures) == (True, (("processes", "2 of 2"),))
    send(stream, 401, 500)
    place = primary_node()
    lost, address = NODES[place], NifiSettings().endpoints[place]
    stack.processes.stop(lost, PATIENCE, signal.SIGKILL)
    send(stream, 501, 600)
    assert (asked(None).is_up, asked(None).says) == (True, f"{lost} has ended")
    assert eventually(stream.deploy).action == "unchanged"
    assert eventually(primary_node) == 1 - place
    with pytest.raises(StreamproofError, match=rf"1 of NiFi's nodes is away.*\(no node of NiFi listens at {address}\)"):
        received_rows(stream.name)
    stack.up(parts=(lost,))

    def all_known():
        assert received(stream)[-1][1] == 600

    eventually(all_known)
    assert received(stream)[0][0] == 1


def test_without_both_nodes_both_are_named(stack, stream):
    for name in NODES:
        stack.processes.stop(name, PATIENCE, signal.SIGKILL)
    with pytest.raises(StreamproofError, match=rf"no node of NiFi listens at {' and '.join(NifiSettings().endpoints)}"):
        stream.status()
    stream.publish(*(stream.row(number) for number in range(601, 701)))
    stack.up(parts=NODES)
    send(stream, 701, 800)
    until(lambda: {row["seq"] for _, _, row in stream.rows()} == set(range(1, 801)))
