"""paho's MQTT 5 client with a short way for what there is much of: messages at QoS 1, and their acknowledgements.

paho connects, keeps the connection and the session, and reads and writes every other packet. Of QoS 1 this client does
the rest: it reads all that has come at once, and what is to be sent goes out together. It keeps no message: whoever
publishes has it until it is acknowledged, and sends it again after a new connection (MQTT 5.0, section 4.4).

NiFi's processors import this file from their own folder, so it needs paho alone. It overrides what paho 2.2 calls
within itself, so another version of paho needs a look; both environments pin it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from paho.mqtt.client import Client, MQTTErrorCode, _ConnectionState
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import MalformedPacket

_PUBLISH, _DUPLICATE, _RETAIN = 0x32, 0x08, 0x01  # at QoS 1 (MQTT 5.0, 3.3.1)
_NO_PROPERTIES, _MESSAGE_EXPIRY = b"\x00", b"\x05\x02"  # their length, and then the first one's name (3.3.2.3)
_PUBACK = 0x40
_MOST_READ = 1 << 18
_MOST_WRITTEN = 1 << 18
"""Bytes that are read or joined at once."""
_RECORD, _MOST_RECORDS = 1 << 14, 256
"""The bytes of a TLS record at most (RFC 8446, 5.1), and how many are read at once."""


class Arrived(NamedTuple):
    """A message at QoS 1 that came, and the id that acknowledges it on this connection."""

    packet_id: int
    topic: str
    payload: bytes


class Qos1Client(Client):
    """One connection at MQTT 5, used with ``loop_start``.

    Delivery: at least once, if what is not acknowledged is sent again after each new connection, and what came is
    acknowledged only when it is safe.

    Attributes:
        on_arrived: called with the messages at QoS 1 that came together, in their order. None acknowledges itself.
        on_acknowledged: called with the ids of messages whose acknowledgements came together, each with its reason
            code (MQTT 5.0, 3.4.2.1).

    Args:
        client_id: what the broker knows the session by.

    """

    on_arrived: Callable[[list[Arrived]], None]
    on_acknowledged: Callable[[list[tuple[int, int]]], None]

    def __init__(self, client_id: str) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
        self._unread = b""
        self._unwritten: deque[bytes] = deque()
        self._is_woken = False
        self._joining = threading.Lock()
        self._topics: dict[bytes, str] = {}

    def next_packet_id(self) -> int:
        """Return the next id; after 65,535 they begin anew."""
        return self._mid_generate()

    def publish_at_qos1(
        self, topic: bytes, payload: bytes, packet_id: int, *, again: bool = False, kept_seconds: int = 0
    ) -> None:
        """Send a message; its acknowledgement reaches ``on_acknowledged``, unless the connection breaks before.

        The broker retains it for ``kept_seconds``, until another one of the topic replaces it.
        """
        kind, properties = _PUBLISH | _DUPLICATE if again else _PUBLISH, _NO_PROPERTIES
        if kept_seconds:
            kind, properties = kind | _RETAIN, _MESSAGE_EXPIRY + kept_seconds.to_bytes(4, "big")
        length = len(topic) + len(payload) + len(properties) + 4
        self._write(
            b"".join(
                (
                    _fixed_header(kind, length),
                    len(topic).to_bytes(2, "big"),
                    topic,
                    packet_id.to_bytes(2, "big"),
                    properties,
                    payload,
                )
            )
        )

    def acknowledge(self, packet_ids: list[int]) -> None:
        """Acknowledge messages of this connection, in this order."""
        self._write(b"".join([b"\x40\x02" + packet_id.to_bytes(2, "big") for packet_id in packet_ids]))

    def reconnect(self) -> MQTTErrorCode:
        """Connect again; what was to be sent over the old connection is forgotten."""
        self._unread = b""
        return super().reconnect()

    def want_write(self) -> bool:
        """Return whether there is anything to send."""
        return bool(self._unwritten) or super().want_write()

    def loop_read(self, *_: int) -> MQTTErrorCode:
        """Read what has come, and hand it on."""
        try:
            data = self._receive()
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            data = b""
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        try:
            code = self._handle(self._unread + data if self._unread else data)
        except (IndexError, MalformedPacket):
            code = MQTTErrorCode.MQTT_ERR_PROTOCOL
        return self._loop_rc_handle(code) if code else code

    def _receive(self) -> bytes:
        """Return what has come. Over TLS a read returns one record, and brokers make one of each packet."""
        if not self._ssl:
            return self._sock_recv(_MOST_READ)
        records = [self._sock_recv(_RECORD)]
        with suppress(OSError):  # no more has come; or the connection has ended, as the next read finds again
            while records[-1] and len(records) < _MOST_RECORDS:
                records.append(self._sock_recv(_RECORD))
        return b"".join(records)

    def _handle(self, data: bytes) -> MQTTErrorCode:
        acknowledged: list[tuple[int, int]] = []
        arrived: list[Arrived] = []
        code, begin = MQTTErrorCode.MQTT_ERR_SUCCESS, 0
        while not code and (place := _next_packet(data, begin)):
            first, end = place
            if end < 0:
                code = MQTTErrorCode.MQTT_ERR_PROTOCOL
                break
            kind = data[begin]
            if kind == _PUBACK:
                acknowledged.append((data[first] << 8 | data[first + 1], data[first + 2] if end - first > 2 else 0))  # noqa: PLR2004
            elif kind & 0xF6 == _PUBLISH:
                arrived.append(self._arrived(data, first, end))
            else:
                self._hand_on(acknowledged, arrived)  # in the order in which all came
                acknowledged, arrived = [], []
                code = self._handle_by_paho(kind, data[first:end])
            begin = end
        self._hand_on(acknowledged, arrived)
        self._unread = data[begin:]
        return code

    def _hand_on(self, acknowledged: list[tuple[int, int]], arrived: list[Arrived]) -> None:
        if acknowledged:
            self.on_acknowledged(acknowledged)
        if arrived:
            self.on_arrived(arrived)

    def _arrived(self, data: bytes, begin: int, end: int) -> Arrived:
        at = begin + 2 + (data[begin] << 8 | data[begin + 1])
        name = data[begin + 2 : at]
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = name.decode("utf-8", "replace")
        packet_id = data[at] << 8 | data[at + 1]
        length, at = _number(data, at + 2)
        return Arrived(packet_id, topic, data[at + length : end])

    def _handle_by_paho(self, kind: int, body: bytes) -> MQTTErrorCode:
        self._in_packet |= {"command": kind, "remaining_length": len(body), "packet": bytearray(body), "pos": 0}
        return self._packet_handle()

    def _write(self, packets: bytes) -> None:
        self._unwritten.append(packets)
        # The thread that reads and writes looks for itself. Its flag falls before it takes what is there.
        if not self._is_woken and threading.current_thread() is not self._thread and self._sockpairW:
            self._is_woken = True
            self._sockpairW.send(b"\0")

    def _packet_queue(self, *packet: Any) -> MQTTErrorCode:
        self._join_unwritten()  # what paho sends comes behind
        return super()._packet_queue(*packet)

    def _packet_write(self) -> MQTTErrorCode:
        self._is_woken = False
        self._join_unwritten()
        return super()._packet_write()

    def _join_unwritten(self) -> None:
        with self._joining:
            if self._state == _ConnectionState.MQTT_CS_CONNECTING:  # it was for the former connection
                self._unwritten.clear()
            while self._unwritten:
                joined, size = [], 0
                while self._unwritten and size < _MOST_WRITTEN:
                    joined.append(self._unwritten.popleft())
                    size += len(joined[-1])
                packets = b"".join(joined)
                told: Any = {"command": _PUBLISH, "mid": 0, "qos": 1, "info": None}
                self._out_packet.append(told | {"packet": packets, "pos": 0, "to_process": len(packets)})


def _fixed_header(kind: int, length: int) -> bytes:
    """Return a packet's first byte and its length (MQTT 5.0, 2.1)."""
    if length < 128:  # noqa: PLR2004
        return bytes((kind, length))
    header = bytearray((kind,))
    while length >= 128:  # noqa: PLR2004
        header.append(length & 127 | 128)
        length >>= 7
    header.append(length)
    return bytes(header)


def _next_packet(data: bytes, begin: int) -> tuple[int, int] | None:
    """Return where a packet's body begins and ends; None if it is not all there, an end of -1 if it is none."""
    at, shift, length = begin + 1, 0, 0
    while at < len(data):
        byte = data[at]
        length |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:  # noqa: PLR2004
            return (at, at + length) if at + length <= len(data) else None
        if shift > 21:  # noqa: PLR2004 - four bytes at most (MQTT 5.0, 1.5.5)
            return at, -1
    return None


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable byte integer and where the next thing begins."""
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:  # noqa: PLR2004
            return value, at
