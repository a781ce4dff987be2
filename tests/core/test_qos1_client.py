"""The short way for QoS 1: byte for byte what paho sends, and nothing lost however the broker's bytes come."""

import io

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client, MQTTErrorCode
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamproof.core.qos1_client import Arrived, Qos1Client

IDS = st.integers(1, 65535)
PAYLOADS = st.binary(max_size=300) | st.integers(16_370, 16_400).map(bytes)  # lengths of one, two and three bytes
TOPICS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="+#"), min_size=1, max_size=20)


class Paho(Client):
    """paho's client, of which only what it would send is looked at."""

    def __init__(self):
        super().__init__(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._sock = io.BytesIO()  # any will do
        self.sent = []

    def _packet_queue(self, _command, packet, *_):
        self.sent.append(bytes(packet))
        return MQTTErrorCode.MQTT_ERR_SUCCESS


class Fed(Qos1Client):
    """A client whose broker's bytes come from a list, a piece at each look."""

    def __init__(self, pieces=()):
        super().__init__("fed")
        self.pieces, self.closed = list(pieces), []
        self.acknowledged, self.arrived, self.others = [], [], []
        self.on_acknowledged, self.on_arrived = self.acknowledged.extend, self.arrived.extend

    def _sock_recv(self, _size):
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def _packet_handle(self):
        self.others.append((self._in_packet["command"], bytes(self._in_packet["packet"]), len(self.arrived)))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _loop_rc_handle(self, code):
        self.closed.append(code)
        return code


def properties(kind, pairs):
    """Return MQTT 5 properties as bytes."""
    made = Properties(kind)
    if pairs:
        made.UserProperty = pairs
    return made.pack()


@st.composite
def publications(draw):
    paho, topic, payload, packet_id = Paho(), draw(TOPICS), draw(PAYLOADS), draw(IDS)
    made = Properties(PacketTypes.PUBLISH)
    if pairs := draw(st.lists(st.tuples(TOPICS, TOPICS), max_size=9)):
        made.UserProperty = pairs
    paho._send_publish(packet_id, topic.encode(), payload, 1, draw(st.booleans()), draw(st.booleans()), properties=made)
    return paho.sent[0], ("arrived", Arrived(packet_id, topic, payload))


@st.composite
def acknowledgements(draw):
    packet_id, code = draw(IDS), draw(st.sampled_from([0, 0x10, 0x87, 0x97]))
    body = packet_id.to_bytes(2, "big")
    if code or draw(st.booleans()):
        body += bytes((code,))
        if draw(st.booleans()):
            body += properties(PacketTypes.PUBACK, draw(st.lists(st.tuples(TOPICS, TOPICS), max_size=3)))
    if len(body) > 127:
        body = body[:2] + bytes((code,))
    return bytes((0x40, len(body))) + body, ("acknowledged", (packet_id, code))


OTHERS = st.sampled_from([b"\xd0\x00", b"\x90\x04\x00\x01\x00\x01"]).map(lambda p: (p, ("other", (p[0], p[2:]))))


@given(st.lists(publications() | acknowledgements() | OTHERS, min_size=1, max_size=12), st.data())
def test_packets_are_read_whole_and_in_order_wherever_the_bytes_are_cut(packets, data):
    stream = b"".join(packet for packet, _ in packets)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=8)) if len(stream) > 1 else [])
    fed = Fed(stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True))
    while fed.pieces:
        assert fed.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
    said = [what for _, what in packets]
    assert fed.arrived == [value for kind, value in said if kind == "arrived"]
    assert fed.acknowledged == [value for kind, value in said if kind == "acknowledged"]
    assert [other[:2] for other in fed.others] == [value for kind, value in said if kind == "other"]
    # paho sees a packet when everything before it was handed on, and nothing behind it
    before = [sum(kind == "arrived" for kind, _ in said[:n]) for n, (kind, _) in enumerate(said) if kind == "other"]
    assert [count for *_, count in fed.others] == before


@given(TOPICS, PAYLOADS, IDS, st.booleans(), st.integers(0, 2**32 - 1))
def test_what_is_published_is_byte_for_byte_what_paho_sends(topic, payload, packet_id, again, kept):
    paho, client, made = Paho(), Qos1Client("ours"), Properties(PacketTypes.PUBLISH)
    if kept:
        made.MessageExpiryInterval = kept
    paho._send_publish(packet_id, topic.encode(), payload, 1, kept > 0, again, properties=made)
    client.publish_at_qos1(topic.encode(), payload, packet_id, again=again, kept_seconds=kept)
    assert list(client._unwritten) == paho.sent


@given(st.lists(IDS, min_size=1, max_size=5))
def test_acknowledgements_are_byte_for_byte_what_paho_sends(packet_ids):
    paho, client = Paho(), Qos1Client("ours")
    for packet_id in packet_ids:
        paho._send_puback(packet_id)
    client.acknowledge(packet_ids)
    assert b"".join(client._unwritten) == b"".join(paho.sent)


def test_what_is_no_mqtt_and_an_end_close_the_connection():
    for pieces, code in (
        ([b"\x30\xff\xff\xff\xff\x7f"], MQTTErrorCode.MQTT_ERR_PROTOCOL),
        ([b"\x32\x02\x00\x09"], MQTTErrorCode.MQTT_ERR_PROTOCOL),
        ([b""], MQTTErrorCode.MQTT_ERR_CONN_LOST),
    ):
        fed = Fed(pieces)
        assert fed.loop_read() == code
        assert fed.closed == [code]


def test_what_waits_for_a_connection_that_broke_is_not_sent_over_the_next_one():
    client = Qos1Client("ours")
    client.publish_at_qos1(b"a", b"x", 1)
    client._create_socket = lambda: (_ for _ in ()).throw(OSError("nobody there"))
    client._host, client._port = "localhost", 1
    try:
        client.reconnect()
    except OSError:
        client._packet_queue(0x10, b"connect", 0, 0)
    assert [packet["packet"] for packet in client._out_packet] == [b"connect"]


def test_over_tls_all_records_that_came_are_read_at_once_and_none_is_lost_to_what_comes_behind():
    record = b"\x40\x02\x00"
    for behind in (BlockingIOError(), ConnectionResetError(), b""):
        fed = Fed([record + b"\x01", record + b"\x02", behind])
        fed._ssl = True
        assert fed.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
        assert fed.acknowledged == [(1, 0), (2, 0)]
    for nothing, closed in ((BlockingIOError(), []), (ConnectionResetError(), [MQTTErrorCode.MQTT_ERR_CONN_LOST])):
        fed = Fed([nothing])
        fed._ssl = True
        fed.loop_read()
        assert fed.closed == closed
