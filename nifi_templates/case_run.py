"""Runs a case against the deployed flow: sends its messages, and reads all that came of them.

Each case has a run and a category that nothing else has, so it finds what is its own among any other traffic. That
nothing more comes is known, not guessed: behind its messages go three lines that take the flow's ways. Each way is
first-in first-out, so when these lines are confirmed, everything before them is in Kafka.

1. A row that breaks the schema, and a line that is no JSON object. When these are confirmed, the dead letters of the
   case are in Kafka, and its rows wait for the sink of the rows at most.
2. Then the run's end mark, which takes that sink.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from nifi_templates.case_file import CATEGORY, EVERY_PARTITION, KAFKA_KEY, PARTITION, RUN, FlowCase
from nifi_templates.case_outcome import Fields, differences
from streamproof.core.contract import Contract
from streamproof.core.errors import StreamproofError
from streamproof.core.message import CONFIRMATION_TOPIC, END_SEQ, ENVELOPE, FILLERS
from streamproof.core.settings import KafkaSettings, MqttSettings

BROKEN_ROW, BROKEN_LINE = 1, 2
_ANSWER_SECONDS = 15.0


@dataclass(frozen=True)
class CaseResult:
    """How a case went.

    Attributes:
        path: its file.
        records: how many records came.
        dead_letters: how many dead letters came.
        problems: what differs from what is expected, a text each; empty when the case has passed.

    """

    path: Path
    records: int
    dead_letters: int
    problems: list[str]

    @property
    def passed(self) -> bool:
        """Whether exactly the expected came."""
        return not self.problems


def run_cases(
    contract: Contract, cases: Iterable[FlowCase], *, wait: float, mqtt: MqttSettings, kafka: KafkaSettings
) -> Iterator[CaseResult]:
    """Run cases one after another; end behind one whose messages take more than ``wait`` seconds through the flow.

    Raises:
        StreamproofError: MQTT or Kafka cannot be reached.

    """
    with _Topics(contract, kafka) as topics:
        for case in cases:
            names = {RUN: f"flow-test-{(tag := uuid.uuid4().hex[:12])}", CATEGORY: f"case-{tag}"}
            with _Edge(contract, names, mqtt) as edge:
                for payload in case.payloads:
                    edge.publish(payload)
                drained = edge.drain(time.monotonic() + wait)
            records, letters = _outcome(topics.read_on(), contract, names, case)
            expected = [record for given in case.records for record in _each_partition(given, topics.partitions)]
            problems = differences("record", expected, records)
            problems += differences("dead letter", case.dead_letters, letters, part_of="reason")
            if case.confirmed is not None:
                untold, told = case.confirmed - edge.confirmed, edge.confirmed - case.confirmed
                problems += [f"the edge was not told that Kafka has seq {seq}" for seq in sorted(untold)]
                problems += [f"unexpected: the edge was told that Kafka has seq {seq}" for seq in sorted(told)]
            if not drained:
                problems.insert(0, f"the flow did not bring the messages through within {wait:g} s")
            yield CaseResult(case.path, len(records), len(letters), problems)
            if not drained:
                return


def _each_partition(record: dict[str, Any], partitions: int) -> list[dict[str, Any]]:
    fields = {name: value for name, value in record.items() if name != EVERY_PARTITION}
    if not record.get(EVERY_PARTITION):
        return [fields]
    return [fields | {PARTITION: partition} for partition in range(partitions)]


def _outcome(
    messages: list[Message], contract: Contract, names: dict[str, str], case: FlowCase
) -> tuple[list[Fields], list[Fields]]:
    """Return the fields of a case's records and dead letters, with the placeholders back in their place."""
    records: list[Fields] = []
    letters: list[Fields] = []
    for message in messages:
        value, key = message.value() or b"", message.key()
        if not any(name.encode() in value for name in names.values()):
            continue
        for placeholder, name in names.items():
            value = value.replace(name.encode(), placeholder.encode())
        fields = json.loads(value)
        if fields.get("category") == _end(CATEGORY):
            continue
        if message.topic() == contract.topics.rows:
            place = {KAFKA_KEY: key.decode(errors="replace") if key is not None else None}
            records.append(fields | place | {PARTITION: message.partition()})
        elif _is_own(fields, contract, case):
            letters.append({n: v for n, v in fields.items() if v is not None})
    return records, letters


def _is_own(letter: Fields, contract: Contract, case: FlowCase) -> bool:
    """Return whether a dead letter that names the case's topic is of the case.

    A row that tells no category may have come from each topic whose messages NiFi took with it; it is JSON, though.
    """
    text = letter["payload"] or ""
    if letter["mqtt_topic"] == f"{contract.name}/{CATEGORY}" or RUN in text or CATEGORY in text:
        return True
    return any(_same_json(line, text) for payload in case.payloads for line in payload.split(b"\n"))


def _same_json(line: bytes, text: str) -> bool:
    try:
        return bool(json.loads(line) == json.loads(text))
    except (ValueError, RecursionError):
        return False


def _end(category: str) -> str:
    return f"{category}-end"


class _Edge:
    """The MQTT connection of one case: publishes its messages, and hears which rows Kafka has."""

    def __init__(self, contract: Contract, names: dict[str, str], mqtt: MqttSettings) -> None:
        self._names, self._mqtt = names, mqtt
        self._fillers = {name: FILLERS[field.type] for name, field in contract.fields.items()}
        self._topic = f"{contract.name}/{names[CATEGORY]}"
        self._confirmations = CONFIRMATION_TOPIC.format(stream=contract.name, category="+", run=names[RUN])
        self._heard = threading.Condition()
        self._subscribed = threading.Event()
        self._refusal = ""
        self.confirmed: set[int] = set()
        self._ends: set[int] = set()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        if mqtt.username:
            self._client.username_pw_set(mqtt.username, mqtt.password.get_secret_value() or None)
        self._client.on_connect, self._client.on_subscribe = self._on_connect, self._on_subscribe
        self._client.on_message = self._on_message

    def __enter__(self) -> Self:
        where = f"the MQTT broker at {self._mqtt.host}:{self._mqtt.port}"
        try:
            self._client.connect(self._mqtt.host, self._mqtt.port)
        except OSError as error:
            raise StreamproofError(f"{where} cannot be reached: {error}; start it (`streamproof up`)") from error
        self._client.loop_start()
        if not self._subscribed.wait(_ANSWER_SECONDS) or self._refusal:
            self.__exit__()
            raise StreamproofError(f"{where} does not let us in: {self._refusal or 'no answer'}")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, payload: bytes) -> None:
        """Send a message, with the case's own names in the placeholders' place."""
        for placeholder, name in self._names.items():
            payload = payload.replace(placeholder.encode(), name.encode())
        self._client.publish(self._topic, payload, qos=1)

    def drain(self, deadline: float) -> bool:
        """Return whether everything that was published is in Kafka before a moment of the monotonic clock."""
        # To the case's own MQTT topic: another one could overtake.
        self.publish(b"\n".join([self._broken_row(), self._broken_line()]))
        if not self._wait_for({BROKEN_ROW, BROKEN_LINE}, deadline):
            return False
        self.publish(self._line(END_SEQ))
        return self._wait_for({BROKEN_ROW, BROKEN_LINE, END_SEQ}, deadline)

    def _line(self, seq: int) -> bytes:
        envelope = dict(zip(ENVELOPE, (RUN, _end(CATEGORY), seq, 0, 0), strict=True))
        return json.dumps(envelope | self._fillers, separators=(",", ":")).encode()

    def _broken_row(self) -> bytes:
        """Return a row that breaks the schema in every way: a flow under test may let one of them pass."""
        return json.dumps({"run": RUN, "category": _end(CATEGORY), "seq": BROKEN_ROW, "event_time": "", "": 0}).encode()

    def _broken_line(self) -> bytes:
        """Return a line that is refused, as a field is there twice, and yet tells which row it is."""
        return self._line(BROKEN_LINE)[:-1] + b',"seq":%d}' % BROKEN_LINE

    def _wait_for(self, seqs: set[int], deadline: float) -> bool:
        with self._heard:
            return self._heard.wait_for(lambda: seqs <= self._ends, deadline - time.monotonic())

    def _on_connect(self, _c: Client, _u: object, _f: ConnectFlags, code: ReasonCode, _p: Properties | None) -> None:
        if code.is_failure:
            self._refusal = str(code)
            self._subscribed.set()
        else:
            self._client.subscribe(self._confirmations, qos=1)

    def _on_subscribe(self, _c: Client, _u: object, _mid: int, codes: list[ReasonCode], _p: Properties | None) -> None:
        self._refusal = str(codes[0]) if codes[0].is_failure else ""
        self._subscribed.set()

    def _on_message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        told = json.loads(message.payload)
        with self._heard:
            seqs = self._ends if told["category"] == _end(self._names[CATEGORY]) else self.confirmed
            seqs |= {seq for first, last in told["ranges"] for seq in range(first, last + 1)}
            self._heard.notify()


class _Topics:
    """The stream's topics of rows and dead letters, read from their present end on."""

    def __init__(self, contract: Contract, kafka: KafkaSettings) -> None:
        self._servers = kafka.servers
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka.servers,
                "group.id": "streamproof-flow-test",  # required, yet unused: nothing is subscribed or committed
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        # A connection of its own: that of the consumer waits for records.
        self._admin = AdminClient({"bootstrap.servers": kafka.servers, "log_level": 0})
        try:
            self._next = dict.fromkeys(self._places(contract.topics.rows), 0)
            self.partitions = len(self._next)
            self._next |= dict.fromkeys(self._places(contract.topics.dead_letters), 0)
            self._next = self._ends()
            self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])
        except KafkaException as error:
            self._consumer.close()
            raise self._failure(error.args[0]) from error

    def _places(self, topic: str) -> list[tuple[str, int]]:
        about = self._admin.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
        if about.error:
            raise KafkaException(about.error)
        return [(topic, partition) for partition in about.partitions]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def read_on(self) -> list[Message]:
        """Return what was written since the last call, up to the present ends.

        Raises:
            StreamproofError: Kafka is away, or does not give what it has.

        """
        try:
            ends = self._ends()
        except KafkaException as error:
            raise self._failure(error.args[0]) from error
        messages: list[Message] = []
        heard = time.monotonic()
        while any(self._next[place] < end for place, end in ends.items()):
            message = self._consumer.poll(1.0)
            if message is None:
                if time.monotonic() - heard > _ANSWER_SECONDS:
                    raise StreamproofError(f"Kafka at {self._servers} does not give what it has: see the broker's log")
                continue
            heard = time.monotonic()
            failure, offset = message.error(), int(message.offset() or 0)
            if failure is None:
                messages.append(message)
                offset += 1
            elif failure.code() != KafkaError._PARTITION_EOF:
                raise self._failure(failure)
            self._next[str(message.topic()), int(message.partition() or 0)] = offset
        return messages

    def _ends(self) -> dict[tuple[str, int], int]:
        asked = {TopicPartition(*place): OffsetSpec.latest() for place in self._next}  # type: ignore[no-untyped-call]
        answers = self._admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS)
        return {(p.topic, p.partition): answer.result().offset for p, answer in answers.items()}

    def _failure(self, error: KafkaError) -> StreamproofError:
        return StreamproofError(f"Kafka at {self._servers} cannot be read: {error.str()}; is the flow deployed?")
