"""Hands messages to the broker: MQTT 5, QoS 1, one connection a category; or to standard output for a look.

Delivery: at least once while this process lives. The broker's acknowledgement says only that it has a message, and it
can lose it still; a row is confirmed when the flow says, over MQTT as well, that Kafka has it. A connection that breaks
is made again, and what the broker had not acknowledged is sent again, marked as a duplicate; what else is lost on the
way is for the caller to send again (``InFlight.to_send_again``). Where the broker's word is taken for the
confirmation (``confirm="broker"``), what it loses is lost: at most once behind it.
"""

import sys
import threading
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from edge_replayer.in_flight import InFlight
from edge_replayer.message import Message
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.message import CONFIRMATION_TOPIC
from streamproof.core.mqtt import broker_at, cannot_be_reached, does_not_answer, new_client, why_refused
from streamproof.core.settings import MqttSettings

_NO_SUBSCRIBERS = 0x10
_TAKE_OVER = 0x8E
_TAKEN_OVER = "another client took its place: is a run {run} being sent from elsewhere, too?"
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

    def is_connected(self, category: str) -> bool:  # noqa: ARG002
        """There is no connection that could break."""
        return True

    def check(self) -> None:
        """Nothing happens in the background."""

    def close(self) -> None:
        """There is no connection."""

    def _print(self, payload: bytes) -> None:
        sys.stdout.buffer.write(payload + b"\n")
        sys.stdout.buffer.flush()


class _Confirmation(msgspec.Struct):
    run: str
    category: str
    ranges: list[tuple[int, int]]


class MqttPublisher:
    """One MQTT connection for each category, topic ``STREAM/CATEGORY``; it also receives the confirmations.

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
    ) -> None:
        self._failure = _Failure()
        self._connections: dict[str, _Connection] = {}
        with ExitStack() as on_error:
            on_error.callback(self.close)
            for category in in_flight.sent:
                connection = _Connection(stream, run, category, in_flight, settings, confirm, self._failure)
                self._connections[category] = connection
                connection.open(patience)
            on_error.pop_all()

    def send(self, message: Message) -> None:
        """Send a message, for the first time or again."""
        self._connections[message.category].publish(message.payload, message)

    def send_heartbeat(self, category: str, payload: bytes) -> None:
        """Send a heartbeat; none waits in this process for a connection."""
        if self.is_connected(category):
            self._connections[category].publish(payload, None)

    def is_connected(self, category: str) -> bool:
        """Whether the connection of a category stands."""
        return self._connections[category].is_connected

    def check(self) -> None:
        """Raise the StreamproofError that happened in the background, if any; send what had to wait."""
        if self._failure.text:
            raise StreamproofError(self._failure.text)
        for connection in self._connections.values():
            connection.send_queued()

    def close(self) -> None:
        """Disconnect all."""
        for connection in self._connections.values():
            connection.close()


class _Failure:
    text = ""


@dataclass
class _Connection:
    stream: str
    run: str
    category: str
    in_flight: InFlight
    settings: MqttSettings
    confirm: Confirm
    failure: _Failure

    def __post_init__(self) -> None:
        self._topic = f"{self.stream}/{self.category}"
        self._confirmations = CONFIRMATION_TOPIC.format(stream=self.stream, category=self.category, run=self.run)
        self._decoder = msgspec.json.Decoder(_Confirmation)
        self._waiting: dict[int, Message | None] = {}
        self._queue: deque[tuple[bytes, Message | None]] = deque()  # behind what may be on the wire at once
        self._window = _MOST_UNACKNOWLEDGED
        self._early: dict[int, bool] = {}
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._connected = threading.Event()
        self._closing = False
        self._warned = False
        client_id = f"streamproof/{self.run}/{self.category}"  # neither has a slash, so no two are the same
        self._client = new_client(self.settings, client_id)
        self._client.max_inflight_messages_set(0)  # bounded here: paho knows no receive maximum, and is slow at it
        self._client.reconnect_delay_set(1, 5)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected()

    @property
    def _broker(self) -> str:
        return broker_at(self.settings)

    def open(self, patience: float) -> None:
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
            attempts(self._client.connect, self.settings.host, self.settings.port, 60)
        except OSError as error:
            raise cannot_be_reached(self.settings, error) from error
        self._client.loop_start()
        answered = self._connected.wait(patience)
        if self.failure.text:
            raise StreamproofError(self.failure.text)
        if not answered:
            raise does_not_answer(self.settings)

    def publish(self, payload: bytes, message: Message | None) -> None:
        """Send a message as soon as the broker takes one more, in the order of the calls."""
        self._queue.append((payload, message))
        self.send_queued()

    def send_queued(self) -> None:
        """Send what waits for acknowledgements, as far as they have come."""
        # Two at once could overtake each other. Nor may the thread that paho calls back in wait: it holds paho's lock.
        if self._sending.acquire(blocking=False):
            try:
                while self._queue and len(self._waiting) < self._window:
                    self._publish(*self._queue.popleft())
            finally:
                self._sending.release()

    def _publish(self, payload: bytes, message: Message | None) -> None:
        info = self._client.publish(self._topic, payload, qos=1)
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            self.failure.text = f"{self._broker}: {self._topic}: {info.rc.name}"
        with self._lock:
            # The acknowledgement can come before publish() has told us the message's id.
            has_subscriber = self._early.pop(info.mid, None)
            if has_subscriber is None:
                self._waiting[info.mid] = message
        if message and has_subscriber is not None:
            self._acknowledge(message, has_subscriber=has_subscriber)

    def close(self) -> None:
        self._closing = True
        self._client.disconnect()
        self._client.loop_stop()

    def _say(self, text: str) -> None:
        console.print(f"{self.category}: {text}", markup=False, soft_wrap=True)

    def _on_connect(self, _c: Client, _u: object, _f: ConnectFlags, code: ReasonCode, told: Properties | None) -> None:
        if code.is_failure:
            self.failure.text = why_refused(self.settings, code)
            self._connected.set()
            return
        self._window = min(_MOST_UNACKNOWLEDGED, getattr(told, "ReceiveMaximum", _MOST_UNACKNOWLEDGED))
        # Before anything is sent: a confirmation that nobody hears is lost, and its rows are sent again.
        self._client.subscribe(self._confirmations, qos=1)
        if self._connected.is_set():
            with self._lock:
                again = list(self._waiting.values())  # paho sends them
            self.in_flight.resent[self.category] += sum(message.rows for message in again if message)
            self._say("connected again")

    def _on_subscribe(self, _c: Client, _u: object, _mid: int, codes: list[ReasonCode], _p: Properties | None) -> None:
        if codes[0].is_failure:
            self.failure.text = f"{self._broker} refuses to subscribe to {self._confirmations}: {codes[0]}"
        self._connected.set()

    def _on_message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        try:
            confirmation = self._decoder.decode(message.payload)
        except msgspec.DecodeError:
            return  # not the flow's: its rows are sent again
        if (confirmation.run, confirmation.category) == (self.run, self.category):
            for first, last in confirmation.ranges:
                self.in_flight.confirm(self.category, first, last)

    def _on_disconnect(
        self, _c: Client, _u: object, _f: DisconnectFlags, code: ReasonCode, _p: Properties | None
    ) -> None:
        if not self._closing and not self.failure.text:
            why = _TAKEN_OVER.format(run=self.run) if code.value == _TAKE_OVER else str(code)
            self._say(f"the connection broke ({why}): trying again")

    def _on_publish(self, _c: Client, _u: object, mid: int, code: ReasonCode, _p: Properties | None) -> None:
        if code.is_failure:
            self.failure.text = f"{self._broker} refuses messages to {self._topic}: {code}"
            return
        has_subscriber = code.value != _NO_SUBSCRIBERS
        if not has_subscriber and not self._warned:
            self._warned = True
            self._say(f"nobody subscribes to {self._topic}: what is sent now is sent again later (streamproof deploy)")
        with self._lock:
            if mid not in self._waiting:
                self._early[mid] = has_subscriber
                return
            message = self._waiting.pop(mid)
        self.send_queued()
        if message:
            self._acknowledge(message, has_subscriber=has_subscriber)

    def _acknowledge(self, message: Message, *, has_subscriber: bool) -> None:
        self.in_flight.acknowledge(message, has_subscriber=has_subscriber)
        if self.confirm == "broker":
            self.in_flight.confirm(self.category, message.first, message.last)
