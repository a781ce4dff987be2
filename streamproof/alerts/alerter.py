"""The alerter: reads what a job has committed of a question, and writes its alerts, each exactly once.

A window is complete when as many answers of it were read as its tally says. The job writes one tally a window, in the
order of the windows' ends, also where a window has no answer; so a window without a tally before a later one held no
row. What is complete is final: the job writes a window once, when the low watermark has passed its end.

Alerts are a function of complete windows in the order of event time, so nothing of them is stored. Their topic gets
them in Kafka transactions that also commit, for a consumer group, how many tallies they follow from. An alerter that
begins anew goes through the windows from the first, and writes what follows from tallies behind that offset. A second
one that begins for the same question fences the first, whose transaction is then aborted.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import KafkaException, Message, Producer, TopicPartition

from flink_jobs.records import JobRecord
from streamproof.alerts.identity import alert_id
from streamproof.alerts.states import AlertStates, Answer, Event, Key
from streamproof.core.alert_rule import BREACH_COLUMN, CLEAR_COLUMN, GROUP, alerts_topic
from streamproof.core.batch import columns_of
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import TopicReader, new_consumer, produce
from streamproof.core.question import RESULT_COLUMNS, Question
from streamproof.core.settings import KafkaSettings

_TIMEOUT_S = 15
_TRANSACTION_TIMEOUT_MS = 60_000
LONG_AGO = datetime(1971, 1, 1, tzinfo=UTC)


class _Tally(msgspec.Struct, gc=False):
    job: str
    question: str
    window_end: str
    answers: int


class _Complete(NamedTuple):
    """A window's tally: the window's end, how many answers it has, and the offset of the tally."""

    end: int
    answers: int
    offset: int


@dataclass(slots=True)
class _Window:
    """What was read of a window: how many answers, what counts of them, and the answers as they stand in Kafka."""

    count: int = 0
    answers: dict[Key, Answer] = field(default_factory=dict)
    values: dict[Key, bytes] = field(default_factory=dict)


class Alerter:
    """Computes the alerts of one question of one job.

    Args:
        record: the job; it follows a run.
        question: one that it was asked, which has an alert.
        kafka: where its answers are.

    Delivery: exactly once, for readers of what is committed.

    Raises:
        StreamproofError: Kafka cannot be read or written, or another alerter of the same question has begun. A new
            alerter then goes on.

    """

    def __init__(self, record: JobRecord, question: Question, kafka: KafkaSettings) -> None:
        self._job, self._run, self._question = record.label, record.options.run or "", question
        self._rule = question.header.alert
        assert self._rule  # noqa: S101 - a question without an alert has no alerter
        contract, since = record.contract, record.submitted_at or LONG_AGO
        self._topic, self._tallies, self._alerts = (
            question.topic(contract),
            question.tally_topic(contract),
            alerts_topic(contract),
        )
        self._kinds = {n: k for n, k in columns_of(question, contract).items() if n not in RESULT_COLUMNS}
        self._states = AlertStates(self._rule, question.result_window.slide)
        self._windows: dict[int, _Window] = {}
        self._complete: deque[_Complete] = deque()
        own = {f"k{place}": name for place, name in enumerate(question.key)}
        wanted = {"job": "job", "question": "question", "window_end": "window_end", "breach": BREACH_COLUMN}
        fields: list[tuple[Any, ...]] = [("job", str), ("question", str), ("window_end", str), ("breach", bool)]
        if self._rule.clear:
            fields.append(("clear", bool))
            wanted["clear"] = CLEAR_COLUMN
        fields += [(place, msgspec.Raw) for place in own]
        self._result = msgspec.json.Decoder(msgspec.defstruct("Result", fields, rename=wanted | own, gc=False))
        self._tally = msgspec.json.Decoder(_Tally)
        self._raw = msgspec.json.Decoder(dict[str, msgspec.Raw])

        self._job_in_json = record.label.encode()
        self._group = GROUP.format(job=record.label, question=question.name)
        self._producer = Producer(
            {
                **kafka.client,
                "transactional.id": self._group,
                "transaction.timeout.ms": _TRANSACTION_TIMEOUT_MS,
                "log_level": 0,
            }
        )
        self._consumer = new_consumer(kafka, self._group)
        try:
            # First the producer: it ends whatever transaction another one has left, so what is committed is settled.
            self._producer.init_transactions(_TIMEOUT_S)
            (place,) = self._consumer.committed([TopicPartition(self._tallies, 0)], timeout=_TIMEOUT_S)
        except KafkaException as error:
            raise self._failure(error) from error
        self._written = max(0, place.offset)
        self._readers = (TopicReader(self._tallies, since, kafka), TopicReader(self._topic, since, kafka))

    def step(self, seconds: float) -> None:
        """Read what came, waiting for up to ``seconds``, and write what follows from it.

        It may never return: librdkafka's ``send_offsets_to_transaction`` has a timeout, which it does not keep when the
        broker ends at that moment (librdkafka's issue 5456).
        """
        tallies, results = self._readers
        for message in tallies.poll(seconds / 2):
            self._take_tally(message)
        for message in results.poll(seconds / 2):
            self._take_result(message)
        self._write(*self._follow())

    def is_at_end(self) -> bool:
        """Whether all was read that is committed; False also where Kafka does not tell."""
        return all(reader.is_at_end() for reader in self._readers)

    def close(self) -> None:
        """Leave Kafka."""
        for reader in self._readers:
            reader.close()
        self._consumer.close()

    def _take_tally(self, message: Message) -> None:
        try:
            tally = self._tally.decode(message.value() or b"")
        except msgspec.DecodeError:
            return
        if (tally.job, tally.question) == (self._job, self._question.label):
            self._complete.append(_Complete(_milliseconds(tally.window_end), tally.answers, message.offset() or 0))

    def _take_result(self, message: Message) -> None:
        value = message.value() or b""
        if self._job_in_json not in value:
            return
        try:
            result: Any = self._result.decode(value)
        except msgspec.DecodeError:
            return
        if (result.job, result.question) != (self._job, self._question.label):
            return
        key = tuple(bytes(getattr(result, f"k{place}")) for place in range(len(self._question.key)))
        place = f"{self._topic}/{message.partition()}/{message.offset()}"
        clear = result.clear if self._rule and self._rule.clear else not result.breach
        window = self._windows.setdefault(_milliseconds(result.window_end), _Window())
        window.count += 1
        if before := window.answers.get(key):  # the key tells nothing apart, which the verdict says
            window.answers[key] = Answer(before.breach or result.breach, before.clear and clear, before.place)
            return
        window.answers[key] = Answer(result.breach, clear, place)
        window.values[key] = value

    def _follow(self) -> tuple[list[tuple[str, bytes]], int]:
        """Return what follows from the windows that are complete, by alert, and the offset behind their tallies."""
        records: list[tuple[str, bytes]] = []
        written = self._written
        while self._complete:
            end, count, offset = self._complete[0]
            window = self._windows.get(end) or _Window()
            if window.count < count:
                break
            self._complete.popleft()
            self._windows.pop(end, None)
            events = self._states.window(end, window.answers)
            if offset >= self._written:
                written = offset + 1
                records += [
                    self._record(event, window.values.get(event.key) if event.end == end else None, offset)
                    for event in events
                ]
        return records, written

    def _record(self, event: Event, answer: bytes | None, tally: int) -> tuple[str, bytes]:
        question, shape = self._question, self._question.result_window
        key = dict(zip(question.key, event.key, strict=True))
        begin = event.end - shape.size
        if shape.kind == "cumulative":
            begin = (event.end - 1) // shape.size * shape.size
        head = {
            "job": self._job,
            "question": question.label,
            "run": self._run,
            "window_start": _iso(begin),
            "window_end": _iso(event.end),
            "window_size": question.window.size,
            "window_slide": question.window.slide,
            "window_kind": question.window.kind,
        }
        own = dict.fromkeys(self._kinds, msgspec.Raw(b"null")) | {n: msgspec.Raw(value) for n, value in key.items()}
        if answer is not None:
            own |= {name: value for name, value in self._raw.decode(answer).items() if name in self._kinds}
        name = alert_id(question, self._run, key, self._kinds, event.begin)
        alert = {
            "alert_id": name,
            "alert_state": event.state,
            "alert_begin": _iso(event.begin),
            "alert_number": event.number,
            "alert_key": question.key,
            "alert_title": question.title,
            "alert_from": [*event.places, f"{self._tallies}/0/{tally}"],
        }
        return name, msgspec.json.encode(head | own | alert)

    def _write(self, records: list[tuple[str, bytes]], written: int) -> None:
        if written == self._written:
            return
        try:
            self._producer.begin_transaction()
            for name, record in records:
                produce(self._producer, self._alerts, record, name)
            self._producer.send_offsets_to_transaction(
                [TopicPartition(self._tallies, 0, written)], self._consumer.consumer_group_metadata(), _TIMEOUT_S
            )
            self._producer.commit_transaction(_TIMEOUT_S)
        except KafkaException as error:
            raise self._failure(error) from error
        self._written = written

    def _failure(self, error: KafkaException) -> StreamproofError:
        return StreamproofError(f"the alerts of {self._question.name}, job {self._job}: {error.args[0].str()}")


@lru_cache(maxsize=4096)
def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).replace(microsecond=milliseconds % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds" if milliseconds % 1000 else "seconds").removesuffix("+00:00") + "Z"
