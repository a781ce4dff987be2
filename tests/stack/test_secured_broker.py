"""Who may do what with a secured broker: each test fails when that door is open."""

import queue
import re
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from free_ports import free_ports
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from waiting import until

from edge_replayer.in_flight import InFlight
from edge_replayer.publisher import MqttPublisher
from nifi_templates.session import keep_session
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.mqtt import connected, log_in_as, new_client
from streamproof.core.qos1_client import Qos1Client
from streamproof.core.settings import (
    FlinkSettings,
    HomeSettings,
    KafkaSettings,
    MqttSettings,
    NifiSettings,
    TlsSettings,
)
from streamproof.stack import authority
from streamproof.stack.authority import Authority, Edge
from streamproof.stack.servers import Stack
from streamproof.stack.settings import StackSettings

NOT_AUTHORISED = 0x87
NIFI_ID = "streamproof-nifi-ratings"
EDGES = [Edge("books", ("ratings/Books",)), Edge("games", ("ratings/Games",))]


class Broker:
    """A secured broker, and whoever has a certificate for it."""

    def __init__(self, folder):
        home = self.home = HomeSettings(home=folder / "home", cache=HomeSettings().cache)
        self.authority = Authority(home.home / "tls")
        self.authority.renew(EDGES)
        self.inner, self.edge_port = free_ports(2)
        tls = self.authority.identity("operator")
        self.stack = Stack(
            home=home,
            mqtt=MqttSettings(port=self.inner, tls=tls),
            kafka=KafkaSettings(tls=tls),
            nifi=NifiSettings(tls=tls, api_endpoint="https://127.0.0.1:28080/nifi-api"),
            flink=FlinkSettings(tls=tls),
            settings=StackSettings(mosquitto_edge_port=self.edge_port),
        )
        self.stack.up(parts=["mosquitto"])

    def settings(self, name):
        is_edge = name in {edge.name for edge in EDGES}
        return MqttSettings(port=self.edge_port if is_edge else self.inner, tls=self.authority.identity(name))

    @contextmanager
    def client(self, name, topic_filter=None, client_id="", session=None):
        """Yield how to publish, which returns the broker's answer, and a queue of what arrives."""
        arrived, answers = queue.Queue(), queue.Queue()
        settings = self.settings(name)
        client = new_client(settings, client_id)
        client.on_publish = lambda _c, _u, _mid, code, _p: answers.put(code.value)

        def publish(topic, payload="x"):
            client.publish(topic, payload, qos=1)
            return answers.get(timeout=60)

        def put(message):
            arrived.put((message.topic, message.payload.decode()))

        with connected(client, settings, topic_filter, put, session=session, seconds=60):
            yield publish, arrived


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("secured"))
    yield broker
    broker.stack.down(["mosquitto"])


def _unchecked(ca, cert=None, key=None):
    """Settings that the toolkit itself would refuse, as somebody else's client would have them."""
    return TlsSettings.model_construct(ca=ca, cert=cert, key=key, cluster=None)


@pytest.fixture(scope="module")
def strangers(broker, tmp_path_factory):
    """Those who do not belong, by what is wrong with them."""
    ours, folder = broker.authority.folder, tmp_path_factory.mktemp("strangers")
    foreign = Authority(folder / "foreign")
    foreign.renew([Edge("books", ("ratings/Books",))])
    found = {
        "plain text": TlsSettings(),
        "no certificate": _unchecked(ours / "ca.pem"),
        **{f"a foreign {name}": _foreign(ours, foreign.folder, name) for name in ("operator", "books")},
    }
    with pytest.MonkeyPatch.context() as clock:
        long_ago = datetime.now(UTC) - timedelta(days=400)
        clock.setattr(authority, "_now", lambda: long_ago)
        old = {
            "operator": broker.authority._own("services").sign("operator", authority.IDENTITIES["operator"], ()),
            "books": broker.authority._own("edges").sign("books", authority.IDENTITIES["operator"], ()),
        }
    for name, pair in old.items():
        broker.authority.__class__(folder)._write(name, pair)
        found[f"an expired {name}"] = _foreign(ours, folder, name)
    return found


def _foreign(ours, folder, name):
    return _unchecked(ours / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key")


@pytest.mark.long
@pytest.mark.parametrize("door", ["inner", "edge_port"])
def test_nobody_comes_in_who_does_not_belong(broker, strangers, door):
    port = getattr(broker, door)
    for what, tls in strangers.items():
        settings = MqttSettings(port=port).model_copy(update={"tls": tls})
        seconds = 2 if what == "plain text" else 60  # there the broker ends the connection, and paho makes it again
        with pytest.raises(StreamproofError), connected(new_client(settings), settings, seconds=seconds):
            pytest.fail(f"{what} came in at {door}")


@pytest.mark.long
def test_an_edge_comes_in_at_its_own_door_only_and_nobody_else_there(broker):
    for name, port in (("books", broker.inner), ("operator", broker.edge_port), ("nifi", broker.edge_port)):
        settings = MqttSettings(port=port, tls=broker.authority.identity(name))
        with (
            pytest.raises(StreamproofError, match=rf"ends the connection.*{name}.pem \(STREAMPROOF_TLS_CERT\)"),
            connected(new_client(settings), settings, seconds=60),
        ):
            pytest.fail(f"{name} came in")


def test_an_edge_writes_its_own_category_alone(broker):
    with broker.client("operator", "ratings/+") as (_, arrived), broker.client("books") as (publish, _):
        assert publish("ratings/Games") == NOT_AUTHORISED
        assert publish("other/Books") == NOT_AUTHORISED
        assert publish("ratings/Books", "own") < NOT_AUTHORISED
        assert arrived.get(timeout=60) == ("ratings/Books", "own")


def test_an_edge_says_its_own_low_watermark_alone_and_hears_those_of_others(broker):
    topic = "ratings/r1/low_watermark/{}".format
    with broker.client("books", topic("+")) as (_, arrived), broker.client("games") as (publish, _):
        assert publish(topic("books"), "made up") == NOT_AUTHORISED
        assert publish(topic("games"), "own") < NOT_AUTHORISED
        assert arrived.get(timeout=60) == (topic("games"), "own")


@pytest.mark.parametrize("name", ["books", "games", "operator", "observer", "health"])
def test_nobody_but_nifi_confirms(broker, name):
    confirmations = "ratings/Books/confirmed/r1"
    with broker.client("operator", "ratings/+/confirmed/+") as (_, arrived):
        with broker.client(name) as (publish, _):
            assert publish(confirmations, "made up") == NOT_AUTHORISED
        with broker.client("nifi") as (publish, _):
            assert publish(confirmations, "true") < NOT_AUTHORISED
        assert arrived.get(timeout=60) == (confirmations, "true")


@pytest.mark.long
@pytest.mark.parametrize("name", ["observer", "health", "nifi"])
def test_whoever_is_no_edge_and_not_the_operator_writes_no_rows(broker, name):
    with broker.client(name) as (publish, _):
        assert publish("ratings/Books") == NOT_AUTHORISED


def test_an_edge_that_subscribes_to_everything_gets_its_own_confirmations_alone(broker):
    with broker.client("books", "#") as (_, arrived):
        with broker.client("operator") as (publish, _):
            publish("ratings/Games", "a row of another")
            publish("ratings/Books", "an own row")
        with broker.client("nifi") as (publish, _):
            publish("ratings/Games/confirmed/r1", "of another")
            publish("ratings/Books/confirmed/r1", "own")
        assert arrived.get(timeout=60) == ("ratings/Books/confirmed/r1", "own")
        assert arrived.empty()


def test_a_client_id_that_an_edge_takes_is_not_nifis_and_nifis_session_keeps_its_messages(broker):
    keep_session(NIFI_ID, "ratings/+", broker.settings("nifi"))
    with broker.client("books", client_id=NIFI_ID) as (publish, _):
        assert publish("ratings/Books", "kept") == 0
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 60
    with broker.client("nifi", "ratings/+", NIFI_ID, session) as (_, arrived):
        assert arrived.get(timeout=60) == ("ratings/Books", "kept")


@contextmanager
def qos1_client(settings, topic_filter=None):
    """Yield a client that stands, the messages that arrive and the acknowledgements that come."""
    client, arrived, acknowledged, stands = Qos1Client(settings.tls.cert.stem), [], [], threading.Event()
    log_in_as(client, settings)
    client.on_acknowledged = acknowledged.extend
    client.on_subscribe = lambda *_: stands.set()

    def on_connect(*_):
        if topic_filter:
            client.subscribe(topic_filter, qos=1)
        else:
            stands.set()

    def on_arrived(messages):
        arrived.extend(message.payload for message in messages)
        client.acknowledge([message.packet_id for message in messages])

    client.on_connect, client.on_arrived = on_connect, on_arrived
    client.connect(settings.host, settings.port)
    client.loop_start()
    try:
        assert stands.wait(60)
        yield client, arrived, acknowledged
    finally:
        client.disconnect()
        client.loop_stop()


def test_messages_of_every_size_pass_over_tls_whole_and_in_order(broker):
    # Shorter than a record, about as long as one, and longer than what either side's socket holds.
    sizes = [*range(0, 3000, 3), *range(16_300, 16_450), 1 << 17, *[7 << 20] * 3, *range(200)]
    sent = [bytes((number % 251,)) * size for number, size in enumerate(sizes)]
    with (
        qos1_client(broker.settings("operator"), "ratings/Books") as (_, arrived, _),
        qos1_client(broker.settings("books")) as (client, _, acknowledged),
    ):
        for packet_id, payload in enumerate(sent, 1):
            client.publish_at_qos1(b"ratings/Books", payload, packet_id)
        until(lambda: len(arrived) == len(acknowledged) == len(sent))
        assert [code for _, code in acknowledged] == [0] * len(sent)
        assert arrived == sent


@pytest.mark.long
def test_two_processes_with_one_edges_certificate_are_told_of_each_other(broker):
    settings = broker.settings("games")
    with ExitStack() as cleanup:
        publishers = [
            MqttPublisher("ratings", f"r{number}", InFlight(["Games"], 100), settings, patience=60) for number in (1, 2)
        ]
        for publisher in publishers:
            cleanup.callback(publisher.close)

        def why():
            for publisher in publishers:
                try:
                    publisher.check()
                except StreamproofError as error:
                    return str(error)
            return ""

        assert re.search(r"another process sends with the same certificate, .*games.pem", until(why))


@pytest.mark.long
def test_a_new_edge_may_write_after_up_though_the_broker_goes_on(broker):
    before = broker.stack.processes.find("mosquitto").pid
    edges = [*EDGES, Edge("toys", ("ratings/Toys", "ratings/Café & Küche"))]
    broker.authority.renew(edges)
    broker.stack.up(parts=["mosquitto"])
    assert broker.stack.processes.find("mosquitto").pid == before
    settings = MqttSettings(port=broker.edge_port, tls=broker.authority.identity("toys"))
    for topic in edges[-1].categories:
        _publish_until_taken(settings, topic)


def _publish_until_taken(settings, topic):
    def is_taken():
        answers = queue.Queue()
        client = new_client(settings)
        client.on_publish = lambda _c, _u, _mid, code, _p: answers.put(code.value)
        with ExitStack() as stack:
            stack.enter_context(connected(client, settings, seconds=60))
            client.publish(topic, "x", qos=1)
            return answers.get(timeout=60) < NOT_AUTHORISED

    until(is_taken)


def test_a_nifi_that_settings_name_in_the_plain_is_refused_before_anything_starts(broker):
    tls = broker.authority.identity("operator")
    nifi = NifiSettings(tls=tls, api_endpoint="http://127.0.0.1:28080/nifi-api")
    stack = Stack(
        home=broker.home,
        mqtt=broker.settings("operator"),
        kafka=KafkaSettings(tls=tls),
        nifi=nifi,
        flink=FlinkSettings(tls=tls),
    )
    with pytest.raises(UsageError, match=r"NIFI_API_ENDPOINT=http://.*: write https://"):
        stack.up(parts=["kafka", "nifi"])
    assert stack.processes.find("kafka") is None


@pytest.mark.long
def test_a_plain_broker_is_secured_by_a_first_up_and_no_stack_of_that_home_is_plain_again(tmp_path):
    home, (port, edge_port) = HomeSettings(home=tmp_path / "home", cache=HomeSettings().cache), free_ports(2)

    def stack(tls):
        return Stack(
            home=home,
            mqtt=MqttSettings(port=port, tls=tls),
            kafka=KafkaSettings(tls=tls),
            nifi=NifiSettings(tls=tls, api_endpoint="http://127.0.0.1:28080/nifi-api"),
            flink=FlinkSettings(tls=tls),
            settings=StackSettings(mosquitto_edge_port=edge_port),
        )

    plain = TlsSettings()
    authority = Authority(home.home / "tls")
    stack(plain).up(parts=["mosquitto"])
    authority.renew()
    secured = stack(authority.identity("operator"))
    try:
        secured.up(parts=["mosquitto"])
        assert secured.is_healthy("mosquitto")
        assert not stack(plain).is_healthy("mosquitto")
        before = secured.processes.find("mosquitto").pid
        secured.up(parts=["mosquitto"])
        assert secured.processes.find("mosquitto").pid == before
        with pytest.raises(UsageError, match="are secured"):
            stack(plain).up(parts=["mosquitto"])
        (authority.folder / "mosquitto.pem").unlink()
        authority.renew()
        secured.up(parts=["mosquitto"])
        shown = ssl.PEM_cert_to_DER_cert((authority.folder / "mosquitto.pem").read_text())
        assert is_shown(port, authority.identity("operator"), shown)
    finally:
        secured.down(["mosquitto"])


def is_shown(port, tls, certificate):
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        tls.context().wrap_socket(plain, server_hostname="localhost") as shaken,
    ):
        return shaken.getpeercert(binary_form=True) == certificate
