"""Hands messages to the broker: MQTT 5, QoS 1, one connection a category; or to standard output for a look.

Delivery: at least once while this process lives. A connection that breaks is made again, and what the broker had
not acknowledged is sent again, marked as a duplicate.
"""

import sys
import threading
from dataclasses import dataclass
from typing import Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from edge_replayer.in_flight import InFlight, Message
from streams.command import console
from streams.errors import StreamproofError
from streams.settings import MqttSettings

_NO_SUBSCRIBERS = 0x10


class Publisher(Protocol):
    """Where messages go.

    Attributes:
        resent: the rows of each category that were sent again, each time counted.

    """

    resent: dict[str, int]

    def send(self, message: Message) -> None:
        """Send a batch of rows; its confirmation reaches the ``InFlight`` it was made with."""

    def send_mark(self, category: str, payload: bytes) -> None:
        """Send a heartbeat or an end mark."""

    def is_idle(self) -> bool:
        """Whether everything sent, marks included, is acknowledged."""

    def check(self) -> None:
        """Raise the StreamproofError that happened in the background, if any."""

    def close(self) -> None:
        """Disconnect."""


class StandardOutput:
    """Prints every message's lines; what is printed is confirmed."""

    def __init__(self, in_flight: InFlight) -> None:
        self.resent = dict.fromkeys(in_flight.sent, 0)
        self._in_flight = in_flight

    def send(self, message: Message) -> None:
        """Print a batch of rows."""
        self._print(message.payload)
        self._in_flight.confirm(message.category, message.first, message.last)

    def send_mark(self, category: str, payload: bytes) -> None:  # noqa: ARG002
        """Print a mark."""
        self._print(payload)

    def is_idle(self) -> bool:
        """Nothing is ever under way."""
        return True

    def check(self) -> None:
        """Nothing happens in the background."""

    def close(self) -> None:
        """There is no connection."""

    def _print(self, payload: bytes) -> None:
        sys.stdout.buffer.write(payload + b"\n")
        sys.stdout.buffer.flush()


class MqttPublisher:
    """One MQTT connection for each category, topic ``STREAM/CATEGORY``.

    Raises:
        StreamproofError: the broker cannot be reached within ``patience`` seconds, or refuses.

    """

    def __init__(
        self, stream: str, run: str, in_flight: InFlight, settings: MqttSettings, patience: float = 15
    ) -> None:
        self.resent = dict.fromkeys(in_flight.sent, 0)
        self._failure = _Failure()
        self._connections: dict[str, _Connection] = {}
        try:
            for category in in_flight.sent:
                connection = _Connection(
                    run, category, f"{stream}/{category}", in_flight, settings, self.resent, self._failure
                )
                self._connections[category] = connection
                connection.open(patience)
        except BaseException:
            self.close()
            raise

    def send(self, message: Message) -> None:
        """Send a batch of rows."""
        self._connections[message.category].publish(message.payload, message)

    def send_mark(self, category: str, payload: bytes) -> None:
        """Send a heartbeat or an end mark."""
        self._connections[category].publish(payload, None)

    def is_idle(self) -> bool:
        """Whether the broker has acknowledged everything."""
        return not any(connection.waiting for connection in self._connections.values())

    def check(self) -> None:
        """Raise the StreamproofError that happened in the background, if any."""
        if self._failure.text:
            raise StreamproofError(self._failure.text)

    def close(self) -> None:
        """Disconnect all."""
        for connection in self._connections.values():
            connection.close()


class _Failure:
    text = ""


@dataclass
class _Connection:
    run: str
    category: str
    topic: str
    in_flight: InFlight
    settings: MqttSettings
    resent: dict[str, int]
    failure: _Failure

    def __post_init__(self) -> None:
        self.waiting: dict[int, Message | None] = {}
        self._early: set[int] = set()
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._closing = False
        self._warned = False
        client_id = f"streamproof-{self.run}-{self.category}"
        self._client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
        if self.settings.username:
            self._client.username_pw_set(self.settings.username, self.settings.password.get_secret_value())
        self._client.reconnect_delay_set(1, 5)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish

    @property
    def _broker(self) -> str:
        return f"the MQTT broker at {self.settings.host}:{self.settings.port}"

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
            raise StreamproofError(
                f"{self._broker} cannot be reached: {error}. Start the servers (streamproof up), "
                "or set STREAMPROOF_MQTT_HOST and STREAMPROOF_MQTT_PORT"
            ) from error
        self._client.loop_start()
        answered = self._connected.wait(patience)
        if self.failure.text:
            raise StreamproofError(self.failure.text)
        if not answered:
            raise StreamproofError(f"{self._broker} accepts connections but does not answer: is it MQTT?")

    def publish(self, payload: bytes, message: Message | None) -> None:
        info = self._client.publish(self.topic, payload, qos=1)
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            raise StreamproofError(f"{self._broker}: {self.topic}: {info.rc.name}")
        with self._lock:
            # The acknowledgement can come before publish() has told us the message's id.
            if is_early := info.mid in self._early:
                self._early.discard(info.mid)
            else:
                self.waiting[info.mid] = message
        if is_early and message:
            self.in_flight.confirm(message.category, message.first, message.last)

    def close(self) -> None:
        self._closing = True
        self._client.disconnect()
        self._client.loop_stop()

    def _say(self, text: str) -> None:
        console.print(f"{self.category}: {text}", markup=False, soft_wrap=True)

    def _on_connect(self, _c: Client, _u: object, _f: ConnectFlags, code: ReasonCode, _p: Properties | None) -> None:
        if code.is_failure:
            self.failure.text = (
                f"{self._broker} refuses the connection: {code}. "
                "Check STREAMPROOF_MQTT_USERNAME and STREAMPROOF_MQTT_PASSWORD"
            )
        elif self._connected.is_set():
            with self._lock:
                # paho sends every waiting message again; what lay beyond its window had not been on the wire.
                again = list(self.waiting.values())[: self._client.max_inflight_messages]
                self.resent[self.category] += sum(message.rows for message in again if message)
            self._say("connected again")
        self._connected.set()

    def _on_disconnect(
        self, _c: Client, _u: object, _f: DisconnectFlags, code: ReasonCode, _p: Properties | None
    ) -> None:
        if not self._closing and not self.failure.text:
            self._say(f"the connection broke ({code}): trying again")

    def _on_publish(self, _c: Client, _u: object, mid: int, code: ReasonCode, _p: Properties | None) -> None:
        if code.is_failure:
            self.failure.text = f"{self._broker} refuses messages to {self.topic}: {code}"
            return
        if code.value == _NO_SUBSCRIBERS and not self._warned:
            self._warned = True
            self._say(f"nobody subscribes to {self.topic}: what is sent now reaches no one (streamproof deploy)")
        with self._lock:
            if mid not in self.waiting:
                self._early.add(mid)
                return
            message = self.waiting.pop(mid)
        if message:
            self.in_flight.confirm(message.category, message.first, message.last)
