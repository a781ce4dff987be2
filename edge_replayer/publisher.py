"""Hands messages to the broker: MQTT 5, QoS 1, one connection a run; or to standard output for a look.

Delivery: at least once while this process lives. The broker's acknowledgement says only that it has a message, and it
can lose it still; a row is confirmed when the flow says, over MQTT as well, that Kafka has it. A connection that breaks
is made again, and what the broker had not acknowledged is sent again, marked as a duplicate; what else is lost on the
way is for the caller to send again (``InFlight.to_send_again``). Where the broker's word is taken for the
confirmation (``confirm="broker"``), what it loses is lost: at most once behind it.
"""

import sys
import threading
import time
from collections import deque
from contextlib import ExitStack
from typing import Literal, Protocol
from uuid import uuid4

import msgspec
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from edge_replayer.edges import Edges
from edge_replayer.in_flight import InFlight
from edge_replayer.message import Message
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.message import CONFIRMATION_TOPIC, LOW_WATERMARK_TOPIC, PROCESSES_TOPIC
from streamproof.core.mqtt import breaks_off, broker_at, cannot_be_reached, does_not_answer, log_in_as, why_refused
from streamproof.core.qos1_client import Arrived, Qos1Client
from streamproof.core.settings import MqttSettings

_NO_SUBSCRIBERS = 0x10
_FAILURE = 0x80
"""From this reason code on the broker has refused (MQTT 5.0, 2.4)."""

_SENT_ALREADY = (
    "a run {run} is being sent by another process, over {broker}, too: wait for its end, or choose another id. "
    "That one goes on undisturbed"
)
_PUSHED_OFF = (
    "{broker} has ended the connection {times} times in a row as soon as it stood: another process sends with the same "
    "certificate, {certificate}. One certificate serves one process; --resume goes on with the run"
)
_ANSWER_SECONDS = 0.2
_KEPT_SECONDS = 7 * 86_400  # what an edge has said, by the broker: as long as Kafka knows its run
_SOON, _PUSHES = 5.0, 5
"""Seconds within which a connection ends that another process takes over, and how often in a row that is no chance."""

_MOST_UNACKNOWLEDGED = 500
"""Messages of one connection on the wire; fewer where the broker's receive maximum says so (MQTT 5, 4.9)."""

Confirm = Literal["kafka", "broker"]
"""Who says that a row has arrived: the flow, when Kafka has it, or the broker, which may lose it still."""


class Publisher(Protocol):
    """Where messages go."""

    def send(self, message: Message) -> None:
        """Send a message, for the first time or again; its confirmation reaches the ``InFlight`` that has it."""

    def send_heartbeat(self, category: str, payload: bytes) -> None:
        """Send a heartbeat, of which one may be lost: the next one says more."""

    def say(self, payload: bytes) -> None:
        """Tell the other edges of the run something, of which any may be lost: the next one says more."""

    def check(self) -> None:
        """Raise the StreamproofError that happened in the background, if any."""

    def close(self) -> None:
        """Disconnect."""


class StandardOutput:
    """Prints every message's lines; what is printed is confirmed."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight

    def send(self, message: Message) -> None:
        """Print a message."""
        self._print(message.payload)
        self._in_flight.confirm(message.category, message.first, message.last)

    def send_heartbeat(self, category: str, payload: bytes) -> None:  # noqa: ARG002
        """Print a heartbeat."""
        self._print(payload)

    def say(self, payload: bytes) -> None:
        """There are no other edges."""

    def is_connected(self) -> bool:
        """There is no connection that could break."""
        return True

    def check(self) -> None:
        """Nothing happens in the background."""

    def close(self) -> None:
        """There is no connection."""

    def _print(self, payload: bytes) -> None:
        sys.stdout.buffer.write(payload + b"\n")
        sys.stdout.buffer.flush()


class _Process(msgspec.Struct, omit_defaults=True):
    """What processes tell each other that send a run of the same id: a new one asks, the first one answers."""

    asks: str = ""
    sends_already: str = ""


_Waiting = tuple[bytes, bytes, Message | None]
"""A topic and what is sent there; what need not arrive has no message."""


class _Confirmation(msgspec.Struct):
    run: str
    category: str
    ranges: list[tuple[int, int]]


class MqttPublisher:
    """One MQTT connection for all categories, topic ``STREAM/CATEGORY``; it also receives the confirmations.

    Where several edges send the run, it also hears what the others say, and tells them what this one does.

    Raises:
        StreamproofError: the broker cannot be reached within ``patience`` seconds, or refuses.

    """

    def __init__(
        self,
        stream: str,
        run: str,
        in_flight: InFlight,
        settings: MqttSettings,
        *,
        patience: float = 15,
        confirm: Confirm = "kafka",
        edges: Edges | None = None,
    ) -> None:
        self._stream, self._run, self._in_flight, self._settings = stream, run, in_flight, settings
        self._confirm = confirm
        self._confirmations = CONFIRMATION_TOPIC.format(stream=stream, category="+", run=run)
        self._decoder = msgspec.json.Decoder(_Confirmation)
        self._waiting: dict[int, _Waiting] = {}  # by packet id, for an acknowledgement
        self._queue: deque[_Waiting] = deque()  # behind what may be on the wire at once
        self._window = _MOST_UNACKNOWLEDGED
        self._is_open = False
        self._lock = threading.Lock()  # for what waits, and for what goes over which connection
        self._sending = threading.Lock()
        self._connected = threading.Event()
        self._failure = ""
        self._closing = self._warned = False
        self._connected_at, self._pushes = 0.0, 0
        # With the same id for both, a second process that sends the run would push the first one off the broker, and
        # be pushed off again, for ever: so each has its own, and they talk to each other.
        self._me, self._told, self._is_only_one = uuid4().hex, threading.Event(), threading.Event()
        self._processes = PROCESSES_TOPIC.format(stream=stream, run=run) + (f"/{edges.name}" if edges else "")
        self._edges = edges
        self._low_watermarks = LOW_WATERMARK_TOPIC.format(stream=stream, run=run, edge="")
        self._own_low_watermark = f"{self._low_watermarks}{edges.name}".encode() if edges else None
        self._client = Qos1Client(f"streamproof/{stream}/{run}/{self._me}")
        log_in_as(self._client, settings)
        self._client.reconnect_delay_set(1, 5)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_acknowledged = self._on_acknowledged
        self._client.on_subscribe = self._on_subscribe
        self._client.on_arrived = self._on_arrived
        with ExitStack() as on_error:
            on_error.callback(self.close)
            self._open(patience)
            on_error.pop_all()

    def send(self, message: Message) -> None:
        """Send a message, for the first time or again, as soon as the broker takes one more; in the order of calls."""
        self._queue.append((self._topic(message.category), message.payload, message))
        self._send_queued()

    def send_heartbeat(self, category: str, payload: bytes) -> None:
        """Send a heartbeat; none waits in this process for a connection."""
        if self.is_connected():
            self._queue.append((self._topic(category), payload, None))
            self._send_queued()

    def say(self, payload: bytes) -> None:
        """Tell the other edges something, which the broker keeps; nothing waits in this process for a connection."""
        if self._own_low_watermark and self.is_connected():
            self._queue.append((self._own_low_watermark, payload, None))
            self._send_queued()

    def is_connected(self) -> bool:
        """Whether the connection stands."""
        return self._client.is_connected()

    def check(self) -> None:
        """Raise the StreamproofError that happened in the background, if any; send what had to wait."""
        if self._failure:
            raise StreamproofError(self._failure)
        if self._edges and self._edges.refusal:
            raise StreamproofError(f"the run {self._run}: {self._edges.refusal}")
        self._send_queued()

    def close(self) -> None:
        """Disconnect."""
        self._closing = True
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def _broker(self) -> str:
        return broker_at(self._settings)

    def _open(self, patience: float) -> None:
        def tell(state: RetryCallState) -> None:
            if state.attempt_number == 1 and state.outcome:
                self._say(f"{self._broker} is not there yet ({state.outcome.exception()}): trying again")

        attempts = Retrying(
            stop=stop_after_delay(patience),
            wait=wait_fixed(0.5),
            retry=retry_if_exception_type(OSError),
            after=tell,
            reraise=True,
        )
        try:
            attempts(self._client.connect, self._settings.host, self._settings.port, 60)
        except OSError as error:
            raise cannot_be_reached(self._settings, error) from error
        self._client.loop_start()
        answered = self._connected.wait(patience)
        if self._failure:
            raise StreamproofError(self._failure)
        if not answered:
            raise does_not_answer(self._settings)
        self._tell(_Process(asks=self._me))
        self._told.wait(_ANSWER_SECONDS)
        self.check()
        self._is_only_one.set()

    def _send_queued(self) -> None:
        """Send what waits for acknowledgements, as far as they have come."""
        # Two at once could overtake each other. Nor may the thread that paho calls back in wait: it holds paho's lock.
        if self._sending.acquire(blocking=False):
            try:
                while self._queue and len(self._waiting) < self._window:
                    self._publish(*self._queue.popleft())
            finally:
                self._sending.release()

    def _topic(self, category: str) -> bytes:
        return f"{self._stream}/{category}".encode()

    def _publish(self, topic: bytes, payload: bytes, message: Message | None) -> None:
        with self._lock:
            packet_id = self._client.next_packet_id()
            while packet_id in self._waiting:
                packet_id = self._client.next_packet_id()
            self._waiting[packet_id] = (topic, payload, message)
            if self._is_open:  # else it goes out when the connection stands
                self._put(topic, payload, packet_id)

    def _put(self, topic: bytes, payload: bytes, packet_id: int, *, again: bool = False) -> None:
        kept = _KEPT_SECONDS if topic == self._own_low_watermark else 0
        self._client.publish_at_qos1(topic, payload, packet_id, again=again, kept_seconds=kept)

    def _say(self, text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    def _on_connect(self, _c: Client, _u: object, _f: ConnectFlags, code: ReasonCode, told: Properties | None) -> None:
        if code.is_failure:
            self._failure = why_refused(self._settings, code)
            self._connected.set()
            return
        self._connected_at = time.monotonic()
        self._window = min(_MOST_UNACKNOWLEDGED, getattr(told, "ReceiveMaximum", _MOST_UNACKNOWLEDGED))
        # Before anything is sent: a confirmation that nobody hears is lost, and its rows are sent again.
        of_edges = [(f"{self._low_watermarks}+", 1)] if self._edges else []
        self._client.subscribe([(self._confirmations, 1), (self._processes, 1), *of_edges])
        with self._lock:
            again = list(self._waiting.items())
            for packet_id, (topic, payload, _) in again:
                self._put(topic, payload, packet_id, again=True)
            self._is_open = True
        for _, (_, _, message) in again:
            if message:
                self._in_flight.resent[message.category] += message.rows
        if self._connected.is_set():
            self._say(f"connected again to {self._broker}")

    def _on_subscribe(self, _c: Client, _u: object, _mid: int, codes: list[ReasonCode], _p: Properties | None) -> None:
        if codes[0].is_failure:  # without the other one a second process that sends the run goes unnoticed, no more
            self._failure = f"{self._broker} refuses to subscribe to {self._confirmations}: {codes[0]}"
        self._connected.set()

    def _on_arrived(self, messages: list[Arrived]) -> None:
        for message in messages:
            self._take(message)
        self._client.acknowledge([message.packet_id for message in messages])

    def _take(self, message: Arrived) -> None:
        if message.topic == self._processes:
            self._hear(message.payload)
            return
        if self._edges and message.topic.startswith(self._low_watermarks):
            self._edges.hear(message.payload)
            return
        try:
            confirmation = self._decoder.decode(message.payload)
        except msgspec.DecodeError:
            return  # not the flow's: its rows are sent again
        if confirmation.run == self._run and confirmation.category in self._in_flight.sent:
            for first, last in confirmation.ranges:
                self._in_flight.confirm(confirmation.category, first, last)

    def _hear(self, payload: bytes) -> None:
        """Hear another process that sends a run of this id: the one that was there first goes on."""
        try:
            other = msgspec.json.decode(payload, type=_Process)
        except msgspec.DecodeError:
            return
        if other.sends_already == self._me:
            self._failure = _SENT_ALREADY.format(run=self._run, broker=self._broker)
            self._told.set()
        elif other.asks and other.asks != self._me and (self._is_only_one.is_set() or self._me > other.asks):
            self._tell(_Process(sends_already=other.asks))

    def _tell(self, process: _Process) -> None:
        self._queue.append((self._processes.encode(), msgspec.json.encode(process), None))
        self._send_queued()

    def _on_disconnect(
        self, _c: Client, _u: object, _f: DisconnectFlags, code: ReasonCode, _p: Properties | None
    ) -> None:
        with self._lock:
            self._is_open = False
        if self._settings.tls.ca and not self._connected.is_set():
            self._failure = breaks_off(self._settings)
            self._connected.set()
        self._pushes = self._pushes + 1 if time.monotonic() < self._connected_at + _SOON else 0
        certificate = self._settings.tls.cert
        if certificate and self._pushes >= _PUSHES:
            self._failure = _PUSHED_OFF.format(broker=self._broker, times=self._pushes, certificate=certificate)
        if not self._closing and not self._failure:
            self._say(f"the connection to {self._broker} broke ({code}): trying again")

    def _on_acknowledged(self, codes: list[tuple[int, int]]) -> None:
        with self._lock:
            told = [(self._waiting.pop(packet_id, None), code) for packet_id, code in codes]
        self._send_queued()
        for waiting, code in told:
            if waiting:
                self._acknowledge(*waiting, code)

    def _acknowledge(self, topic: bytes, _: bytes, message: Message | None, code: int) -> None:
        if code >= _FAILURE:
            reason = ReasonCode(PacketTypes.PUBACK, identifier=code)
            self._failure = f"{self._broker} refuses messages to {topic.decode()}: {reason}"
            return
        has_subscriber = code != _NO_SUBSCRIBERS
        if not has_subscriber and not self._warned:
            self._warned = True
            self._say(
                f"nobody subscribes to {topic.decode()}: what is sent now is sent again later (streamproof deploy)"
            )
        if message:
            self._in_flight.acknowledge(message, has_subscriber=has_subscriber)
            if self._confirm == "broker":
                self._in_flight.confirm(message.category, message.first, message.last)
