"""Two nodes of NiFi: one reads, the other takes over, and what each has received is known together."""

import signal
import time
from types import SimpleNamespace

import psutil
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
LONGER_THAN_ANY_NEW_CONNECTION = 15


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


def connections(stack, name):
    """Return the connections of a node's Python processes to the MQTT broker, each by its own port."""
    to = MqttSettings().port
    processes = stack.processes.find(name).children(recursive=True)
    found = (each for process in processes for each in process.net_connections() if each.raddr)
    return {each.laddr.port for each in found if each.raddr.port == to and each.status == psutil.CONN_ESTABLISHED}


def settled(stack):
    """Wait until no connection to the broker was made anew for a while; return how many each node has."""
    seen, since = None, time.monotonic()

    def is_settled():
        nonlocal seen, since
        if (now := [connections(stack, name) for name in NODES]) != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > LONGER_THAN_ANY_NEW_CONNECTION

    until(is_settled)
    return [len(ports) for ports in seen]


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
    # Two that both want the client id take it from each other again and again. Both nodes confirm, one reads.
    assert sorted(settled(stack)) == [1, 2]
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
