"""Runs a case against the deployed flow: sends its messages, and reads all that came of them.

Each case has a run and a category that nothing else has, so it finds what is its own among any other traffic. That
nothing more comes is known, not guessed: behind its messages go lines that take the flow's ways. Each way is
first-in first-out, so when these lines are confirmed, everything before them is in Kafka.

1. A row that breaks the schema, a line that is no JSON object, and a good row that is checked with the broken one. When
   these are confirmed, the dead letters of the case are in Kafka, and its rows wait for the sink of the rows at most.
2. Then a good row that is checked with no broken one, and the run's end mark, which is not checked.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Message
from paho.mqtt.client import MQTTMessage

from nifi_templates.case_file import CATEGORY, EVERY_PARTITION, KAFKA_KEY, PARTITION, RUN, FlowCase
from nifi_templates.case_outcome import Fields, differences
from streamproof.core.contract import Contract
from streamproof.core.kafka import TopicReader
from streamproof.core.message import CONFIRMATION_TOPIC, END_SEQ, ENVELOPE
from streamproof.core.mqtt import connected, new_client
from streamproof.core.settings import KafkaSettings, MqttSettings

BROKEN_ROW, BROKEN_LINE, SPLIT_ROW, CHECKED_ROW = 1, 2, 3, 4


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
    with ExitStack() as readers:
        rows, dead_letters = (
            readers.enter_context(closing(TopicReader(topic, None, kafka)))
            for topic in (contract.topics.rows, contract.topics.dead_letters)
        )
        for case in cases:
            names = {RUN: f"flow-test-{(tag := uuid.uuid4().hex[:12])}", CATEGORY: f"case-{tag}"}
            with _Edge(contract, names, mqtt) as edge:
                for payload in case.payloads:
                    edge.publish(payload)
                drained = edge.drain(time.monotonic() + wait)
            records, letters = _outcome([*rows.read_on(), *dead_letters.read_on()], contract, names, case)
            expected = [record for given in case.records for record in _each_partition(given, rows.partitions)]
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
        self._fillers = {name: field.filler for name, field in contract.fields.items()}
        self._topic = f"{contract.name}/{names[CATEGORY]}"
        self._confirmations = CONFIRMATION_TOPIC.format(stream=contract.name, category="+", run=names[RUN])
        self._heard = threading.Condition()
        self.confirmed: set[int] = set()
        self._ends: set[int] = set()
        self._client = new_client(mqtt)

    def __enter__(self) -> Self:
        with ExitStack() as connection:
            connection.enter_context(connected(self._client, self._mqtt, self._confirmations, self._on_message))
            self._connection = connection.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def publish(self, payload: bytes) -> None:
        """Send a message, with the case's own names in the placeholders' place."""
        for placeholder, name in self._names.items():
            payload = payload.replace(placeholder.encode(), name.encode())
        self._client.publish(self._topic, payload, qos=1)

    def drain(self, deadline: float) -> bool:
        """Return whether everything that was published is in Kafka before a moment of the monotonic clock."""
        # To the case's own MQTT topic: another one could overtake.
        self.publish(b"\n".join([self._unusual_row(SPLIT_ROW), self._broken_row(), self._broken_line()]))
        if not self._wait_for({SPLIT_ROW, BROKEN_ROW, BROKEN_LINE}, deadline):
            return False
        self.publish(b"\n".join([self._unusual_row(CHECKED_ROW), self._line(END_SEQ)]))
        return self._wait_for({CHECKED_ROW, END_SEQ}, deadline)

    def _line(self, seq: int) -> bytes:
        envelope = dict(zip(ENVELOPE, (RUN, _end(CATEGORY), seq, 0, 0), strict=True))
        return json.dumps(envelope | self._fillers, separators=(",", ":")).encode()

    def _unusual_row(self, seq: int) -> bytes:
        """Return a row that fits the schema, but not in the form that needs no check."""
        return self._line(seq).replace(b"{", b"{ ", 1)

    def _broken_row(self) -> bytes:
        """Return a row that breaks the schema in every way: a flow under test may let one of them pass."""
        return json.dumps({"run": RUN, "category": _end(CATEGORY), "seq": BROKEN_ROW, "event_time": "", "": 0}).encode()

    def _broken_line(self) -> bytes:
        """Return a line that is refused, as a field is there twice, and yet tells which row it is."""
        return self._line(BROKEN_LINE)[:-1] + b',"seq":%d}' % BROKEN_LINE

    def _wait_for(self, seqs: set[int], deadline: float) -> bool:
        with self._heard:
            return self._heard.wait_for(lambda: seqs <= self._ends, deadline - time.monotonic())

    def _on_message(self, message: MQTTMessage) -> None:
        told = json.loads(message.payload)
        with self._heard:
            seqs = self._ends if told["category"] == _end(self._names[CATEGORY]) else self.confirmed
            seqs |= {seq for first, last in told["ranges"] for seq in range(first, last + 1)}
            self._heard.notify()
