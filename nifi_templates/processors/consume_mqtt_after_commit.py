"""NiFi source: MQTT messages in, FlowFiles of JSON lines out; acknowledged only after the commit.

Delivery guarantee: at least once. A message is acknowledged to the broker when every FlowFile made of it is
committed; whatever ends before that (this process, NiFi, the connection) makes the broker send it again.

Before a message is acknowledged, its rows stand in the ledger of what was received, which is NiFi's component state.
What was committed when everything ended, but not yet in the ledger, comes again, so the ledger misses no row: only of
such copies it counts the later one alone.
"""

import threading
import time
from collections import deque
from typing import Any, NamedTuple

import py4j.protocol
from dead_letters import dead_letter
from nifiapi.componentstate import Scope, StateException
from nifiapi.flowfilesource import FlowFileSource, FlowFileSourceResult
from nifiapi.properties import PropertyDescriptor, StandardValidators
from nifiapi.relationship import Relationship
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from python_process import carry_bytes_fast, end_with_parent
from qos1_client import Arrived, Qos1Client
from received_lines import check_message, fitting_rows
from row_ranges import Ledger, RowRanges

FOR_EVER = 0xFFFFFFFF
WAIT_SECONDS = 0.25
MOST_TOPICS = 100
"""Of one FlowFile, whose attribute names them all, and so does that of each row that is split from it."""
SETTLE_SECONDS = 0.1
"""The ledger is written that often, at most: a FlowFile can hold a single row."""

QOS = 1

IDLE_SECONDS = 1.0
"""What NiFi does not call for so long is not to make a lost connection again by itself."""


class Received(NamedTuple):
    """A message and how to acknowledge it: a packet id is good for one connection only."""

    connection: int
    packet_id: int
    topic: str
    payload: bytes
    received_at: int


class Batch(NamedTuple):
    """The messages of a FlowFile, and the rows in them."""

    messages: list[Received]
    rows: RowRanges


class ConsumeMqttAfterCommit(FlowFileSource):
    """One connection with a fixed client id; messages wait in memory until NiFi's thread takes a batch."""

    class Java:
        """What NiFi knows it as."""

        implements = ["org.apache.nifi.python.processor.FlowFileSource"]

    class ProcessorDetails:
        """Read by NiFi from the source text: literals only."""

        version = "0.1.0"
        description = (
            "Consumes MQTT 5 messages of JSON lines and acknowledges each only after the FlowFile is committed."
        )
        tags = ["mqtt", "subscribe", "at-least-once", "json"]
        dependencies = ["paho-mqtt==2.2.0", "msgspec==0.22.0", "pybase64==1.5.1"]

    BROKER = PropertyDescriptor(
        name="Broker",
        description="Address of the MQTT broker, host:port.",
        required=True,
        validators=[StandardValidators.NON_EMPTY_VALIDATOR],
    )
    TOPIC_FILTER = PropertyDescriptor(
        name="Topic Filter",
        description="What to subscribe to, with QoS 1.",
        required=True,
        validators=[StandardValidators.NON_EMPTY_VALIDATOR],
    )
    CLIENT_ID = PropertyDescriptor(
        name="Client ID",
        description="Names the session that the broker keeps while this processor is away: one for each flow.",
        required=True,
        validators=[StandardValidators.NON_EMPTY_VALIDATOR],
    )
    USERNAME = PropertyDescriptor(name="Username", description="For brokers that ask for one.", required=False)
    PASSWORD = PropertyDescriptor(
        name="Password", description="For brokers that ask for one.", required=False, sensitive=True
    )
    CA_FILE = PropertyDescriptor(
        name="CA File",
        description="Authorities that must have signed the server's certificate, PEM. Without it nothing is encrypted.",
        required=False,
    )
    CERTIFICATE_FILE = PropertyDescriptor(
        name="Certificate File", description="The certificate that is shown to the server, PEM.", required=False
    )
    KEY_FILE = PropertyDescriptor(name="Key File", description="Its private key, PEM.", required=False)
    RECEIVE_MAXIMUM = PropertyDescriptor(
        name="Receive Maximum",
        description="Messages that the broker may send ahead of their acknowledgement.",
        required=True,
        default_value="4000",
        validators=[StandardValidators.POSITIVE_INTEGER_VALIDATOR],
    )
    BATCH_MESSAGES = PropertyDescriptor(
        name="Batch Messages",
        description="Messages in one FlowFile, at most.",
        required=True,
        default_value="2000",
        validators=[StandardValidators.POSITIVE_INTEGER_VALIDATOR],
    )
    BATCH_BYTES = PropertyDescriptor(
        name="Batch Bytes",
        description="No message is added to a FlowFile that has this many bytes.",
        required=True,
        default_value="4000000",
        validators=[StandardValidators.POSITIVE_INTEGER_VALIDATOR],
    )
    LINGER = PropertyDescriptor(
        name="Linger Milliseconds",
        description="How long the first message of a FlowFile waits for more.",
        required=True,
        default_value="40",
        validators=[StandardValidators.NON_NEGATIVE_INTEGER_VALIDATOR],
    )
    RECORD_SCHEMA = PropertyDescriptor(
        name="Record Schema",
        description="Avro schema of the rows, as JSON: what plainly fits it need not be checked. Without it, all must.",
        required=False,
    )
    descriptors = (
        BROKER,
        TOPIC_FILTER,
        CLIENT_ID,
        USERNAME,
        PASSWORD,
        CA_FILE,
        CERTIFICATE_FILE,
        KEY_FILE,
        RECEIVE_MAXIMUM,
        BATCH_MESSAGES,
        BATCH_BYTES,
        LINGER,
        RECORD_SCHEMA,
    )
    SUCCESS = Relationship(name="success", description="Rows that fit the schema, one a line, in the order they came")
    UNCHECKED = Relationship(name="unchecked", description="JSON objects, one a line, that are to be checked")
    DEAD_LETTER = Relationship(name="dead_letter", description="Dead letters, one a line, for what is no JSON object")

    def __init__(self, **_: object) -> None:
        end_with_parent()
        carry_bytes_fast(py4j.protocol)
        self.client: Qos1Client | None = None
        self.called_at, self.has_let_go = 0.0, False
        self.arrival = threading.Condition()
        self.buffer: deque[Received] = deque()
        self.committed: list[Batch] = []  # all of their FlowFiles are committed at the next call
        self.batch = Batch([], RowRanges())
        self.to_make: list[tuple[str, list[bytes]]] = []  # FlowFiles of the batch: relationship and lines
        self.settle_at = 0.0
        self.topics: list[str] = []
        self.connection, self.priority, self.first_received_at = 0, 0, 0

    def getPropertyDescriptors(self) -> list[object]:
        """Return the properties; NiFi calls this."""
        return list(self.descriptors)

    def getRelationships(self) -> list[object]:
        """Return the ways out; NiFi calls this."""
        return [self.SUCCESS, self.UNCHECKED, self.DEAD_LETTER]

    def onScheduled(self, context: Any) -> None:
        """Begin anew; NiFi calls this at each start, but not for a process that it had to start again."""
        self._disconnect()

    def onStopped(self, context: Any) -> None:
        """Settle the last FlowFile, which is committed when NiFi calls this, and leave; the session stays."""
        self._settle(context)
        self._disconnect()

    def create(self, context: Any) -> Any:
        """Return the next FlowFile, or None; that it is called again means that the former one is committed."""
        self.called_at = time.monotonic()
        if self.client is None:
            self._connect(context)
        elif self.has_let_go:
            self._connect_again(self.client)
        if self.called_at >= self.settle_at or sum(len(b.messages) for b in self.committed) >= self.unsettled:
            self._settle(context)
        if not self.to_make:
            messages = self._take()
            if not messages:
                return None
            self._sort(messages)
        relationship, lines = self.to_make.pop(0)
        if not self.to_make:  # the batch is whole with this FlowFile
            self.committed.append(self.batch)
        return FlowFileSourceResult(relationship, self._attributes(), b"\n".join(lines) + b"\n")

    def _sort(self, messages: list[Received]) -> None:
        """Sort the lines of messages by what is to become of them, a FlowFile for each kind."""
        rows: list[bytes] = []
        unchecked: list[bytes] = []
        letters: list[bytes] = []
        received = RowRanges()
        for message in messages:
            if self.fit(message.payload):
                rows.append(message.payload)
                received.add_message(message.payload)
                continue
            good, bad = check_message(message.payload)
            for line in good:
                (rows if self.fit(line) else unchecked).append(line)
            if good:
                received.add_message(b"\n".join(good))
            for line, reason in bad:
                letters.append(dead_letter(line, reason, "message", message.topic, message.received_at))
                received.add_dead_letter(letters[-1])
        self.topics = sorted({message.topic for message in messages})
        self.first_received_at = messages[0].received_at
        self.batch = Batch(messages, received)
        made = (("success", rows), ("unchecked", unchecked), ("dead_letter", letters))
        self.to_make = [(relationship, lines) for relationship, lines in made if lines]

    def _attributes(self) -> dict[str, str]:
        self.priority = max(self.priority + 1, time.time_ns())
        return {
            "mime.type": "application/x-ndjson",
            "mqtt.topics": "\n".join(self.topics),
            "mqtt.received_at": str(self.first_received_at),
            "priority": str(self.priority),  # queues are sorted by it: a FlowFile that is tried again stays first
        }

    def _take(self) -> list[Received]:
        """Wait for a message, then a little for more; return them in the order of their arrival."""
        with self.arrival:
            if not self.arrival.wait_for(lambda: self.buffer, WAIT_SECONDS):
                return []
            deadline = time.monotonic() + self.linger
            seen = 0
            while seen < len(self.buffer) < self.batch_messages and (left := deadline - time.monotonic()) > 0:
                seen = len(self.buffer)
                self.arrival.wait(left)
            batch: list[Received] = []
            size, topics = 0, set[str]()
            while (
                self.buffer
                and len(batch) < self.batch_messages
                and size < self.batch_bytes
                and len(topics) < MOST_TOPICS
            ):
                batch.append(self.buffer.popleft())
                topics.add(batch[-1].topic)
                size += len(batch[-1].payload)
            return batch

    def _settle(self, context: Any) -> None:
        """Write the rows of what is committed into the ledger, then acknowledge it."""
        committed, self.committed = self.committed, []
        self.settle_at = time.monotonic() + SETTLE_SECONDS
        if self.client is None or not committed:
            return
        if self.ledger.add((batch.rows for batch in committed), time.time_ns() // 1_000_000):
            try:
                context.getStateManager().setState(self.ledger.texts, Scope.LOCAL)
            except StateException as error:  # the next time writes the whole ledger anew
                self.logger.warn(f"The ledger of received rows cannot be written: {error}")
        messages = (message for batch in committed for message in batch.messages)
        with self.arrival:  # the connection cannot change between the look and the acknowledgement
            self.client.acknowledge([m.packet_id for m in messages if m.connection == self.connection])

    def _connect(self, context: Any) -> None:
        def value(descriptor: Any) -> str:
            return context.getProperty(descriptor).getValue() or ""

        self._forget()
        self.ledger = Ledger(context.getStateManager().getState(Scope.LOCAL).toMap())
        self.topic_filter = value(self.TOPIC_FILTER)
        self.linger = int(value(self.LINGER)) / 1000
        self.batch_messages, self.batch_bytes = int(value(self.BATCH_MESSAGES)), int(value(self.BATCH_BYTES))
        self.fit = fitting_rows(value(self.RECORD_SCHEMA))
        client = Qos1Client(value(self.CLIENT_ID))
        if username := value(self.USERNAME):
            client.username_pw_set(username, value(self.PASSWORD) or None)
        if ca := value(self.CA_FILE):
            client.tls_set(ca, value(self.CERTIFICATE_FILE) or None, value(self.KEY_FILE) or None)
        # Set before the connection is made: the broker sends what it kept at once.
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_arrived = self._on_arrived
        client.reconnect_delay_set(1, 5)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = FOR_EVER
        receive_maximum = min(int(value(self.RECEIVE_MAXIMUM)), 65535)
        properties.ReceiveMaximum = receive_maximum
        self.unsettled = receive_maximum // 2  # messages; with more of them the broker would soon have to wait
        host, _, port = value(self.BROKER).rpartition(":")
        self.broker, self.session = (host, int(port)), properties
        self.client = client
        self._connect_again(client)

    def _connect_again(self, client: Client) -> None:
        """Take the client id back; the buffer stays."""
        client.loop_stop()
        self.has_let_go = False
        client.connect_async(*self.broker, keepalive=30, clean_start=False, properties=self.session)
        client.loop_start()

    def _disconnect(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            client.disconnect()  # goes out behind the acknowledgements
            client.loop_stop()
        self._forget()

    def _forget(self) -> None:
        """Drop what is not acknowledged: the broker has it and sends it again."""
        self.buffer, self.committed, self.to_make = deque(), [], []

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.logger.error(f"The MQTT broker refuses the connection: {reason}")
            return
        with self.arrival:
            self.connection += 1
        client.subscribe(self.topic_filter, qos=QOS)

    def _on_disconnect(
        self, client: Client, _data: object, _flags: DisconnectFlags, reason: ReasonCode, _: Properties | None
    ) -> None:
        # The buffer stays: a broker that was killed may not send it again, and twice is better than never.
        with self.arrival:
            self.connection += 1
        if not reason.is_failure or self.client is None:
            return
        if time.monotonic() - self.called_at > IDLE_SECONDS:
            # NiFi has another node read, which took over the client id: to take it back would cut that one off. Or the
            # flow's queues are full, and nothing is to be read.
            self.has_let_go = True
            client.loop_stop()  # a disconnect() within this callback would not keep it from connecting again
            return
        self.logger.warn(f"The MQTT connection is gone: {reason}; it will be made again")

    def _on_arrived(self, messages: list[Arrived]) -> None:
        received_at = time.time_ns() // 1_000_000
        with self.arrival:
            self.buffer += [Received(self.connection, m.packet_id, m.topic, m.payload, received_at) for m in messages]
            self.arrival.notify()
