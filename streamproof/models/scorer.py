"""The scorer: reads what a job has committed of a question, and writes a model's scores, each exactly once.

A window is complete when as many answers of it were read as its tally says (streamproof/alerts/alerter.py says why), so
no later answer comes before those of a complete one. The answers of complete windows go through the model in the order
of window and key.

One Kafka transaction holds the scores, their tally, what has changed of the model's state, the digests of it, and how
far the answers and tallies were read. A scorer that begins anew reads the state topic and goes on from there; it reads
again only answers of windows that were not complete. A second one that begins for the same model fences the first,
whose transaction is then aborted.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast

import msgspec
from confluent_kafka import KafkaException, Message, Producer

from streamproof.core.batch import columns_of
from streamproof.core.contract import Contract
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import TopicReader, produce
from streamproof.core.model_rule import SCORE, ModelRule
from streamproof.core.question import RESULT_COLUMNS, Question
from streamproof.core.settings import KafkaSettings
from streamproof.core.topics import ensure_topics, partitions_of
from streamproof.models.conditions import Conditions
from streamproof.models.scoring import Digest, Scoring, as_value, place_in_order

_TIMEOUT_S = 15
_TRANSACTION_TIMEOUT_MS = 60_000
_MOST = 5_000
"""Answers that one transaction scores, about: it ends with a window."""

_COMPACTED = {"cleanup.policy": "compact", "segment.bytes": "67108864"}
"""Kafka keeps the last record of each key; it compacts what lies before the newest 64 MB."""

_DIGEST, _PROGRESS = "digest", "progress"


class _Head(msgspec.Struct, gc=False):
    job: str
    question: str
    window_end: str


class _Tally(_Head, gc=False):
    answers: int


class _Complete(NamedTuple):
    """A window's tally, its place, and how many answers the window has."""

    record: bytes
    end: str
    answers: int
    offset: int


class _Answer(NamedTuple):
    value: dict[str, msgspec.Raw]
    key: tuple[object, ...]
    partition: int
    offset: int


class _Progress(msgspec.Struct):
    """How far a model is.

    Attributes:
        rows: how many answers it has gone through.
        tally: the offset behind the last tally that was used.
        answers: by partition, the offset before which all answers were used.
        window_end: the end of the last window that was used; empty where none was.

    """

    rows: int = 0
    tally: int | None = None
    answers: dict[int, int] = msgspec.field(default_factory=dict)
    window_end: str = ""


@dataclass
class _Stored:
    """What the state topic says of a model of a job."""

    progress: _Progress = field(default_factory=_Progress)
    state: dict[str, object] = field(default_factory=dict)
    digests: list[Digest] = field(default_factory=list)


class Scorer:
    """Computes the scores of one model of one job.

    Args:
        job: the job's label; it follows a run.
        question: the model, as a question (``Question.models``).
        contract: the stream.
        since: the job's results came later.
        kafka: where they are.

    Delivery: exactly once, for readers of what is committed.

    Raises:
        StreamproofError: Kafka cannot be read or written, or another scorer of the same model has begun. A new scorer
            then goes on.

    """

    def __init__(
        self, job: str, question: Question, contract: Contract, *, since: datetime, kafka: KafkaSettings
    ) -> None:
        self._job, self._question, self._model = job, question, cast("ModelRule", question.model)
        scored = cast("Question", question.scored)
        answers, tallies = scored.topic(contract), scored.tally_topic(contract)
        self._scores, self._tallies = question.topic(contract), question.tally_topic(contract)
        self._state = question.state_topic(contract)
        self._label = scored.label
        columns = columns_of(question, contract)
        self._kinds = [columns[name] for name in question.key]
        self._value_kinds = [columns[name] for name in self._model.values]
        self._added = {*columns} - {*RESULT_COLUMNS}
        self._conditions = Conditions(question.header.alert, columns)
        self._waiting: dict[str, list[_Answer]] = {}
        self._complete: deque[_Complete] = deque()
        self._head, self._tally = msgspec.json.Decoder(_Head), msgspec.json.Decoder(_Tally)
        self._raw = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._job_in_json = job.encode()
        self._producer = Producer(
            {
                **kafka.client,
                "transactional.id": f"streamproof-scores-{job}-{question.name}",
                "transaction.timeout.ms": _TRANSACTION_TIMEOUT_MS,
                "log_level": 0,
            }
        )
        ensure_topics([self._scores], kafka.model_copy(update={"partitions": len(partitions_of(answers, kafka))}))
        one = kafka.model_copy(update={"partitions": 1})
        ensure_topics([self._tallies], one)
        ensure_topics([self._state], one, _COMPACTED)
        try:
            # It ends whatever transaction another one has left, so what is committed is settled.
            self._producer.init_transactions(_TIMEOUT_S)
        except KafkaException as error:
            raise self._failure(error) from error
        stored = _read_stored(job, self._state, since, kafka)
        self._scoring = Scoring(self._model, stored.progress.rows, stored.state)
        self._used = stored.progress
        at = {} if self._used.tally is None else {0: self._used.tally}
        self._readers = (
            TopicReader(tallies, since, kafka, at),
            TopicReader(answers, since, kafka, self._used.answers),
        )

    def step(self, seconds: float) -> None:
        """Read what came, waiting for up to ``seconds``, and write the scores that follow from it."""
        tallies, answers = self._readers
        wait = 0.0 if self._is_ready() else seconds / 2
        for message in tallies.poll(wait):
            self._take_tally(message)
        for message in answers.poll(wait):
            self._take_answer(message)
        self._write()

    def is_at_end(self) -> bool:
        """Whether all was scored that is committed; False also where Kafka does not tell."""
        return not self._is_ready() and all(reader.is_at_end() for reader in self._readers)

    def close(self) -> None:
        """Leave Kafka."""
        for reader in self._readers:
            reader.close()

    def _is_mine(self, head: _Head) -> bool:
        return (head.job, head.question) == (self._job, self._label)

    def _take_tally(self, message: Message) -> None:
        value = message.value() or b""
        try:
            tally = self._tally.decode(value)
        except msgspec.DecodeError:
            return
        if self._is_mine(tally):
            self._complete.append(_Complete(value, tally.window_end, tally.answers, cast("int", message.offset())))

    def _take_answer(self, message: Message) -> None:
        value = message.value() or b""
        if self._job_in_json not in value:
            return
        try:
            head = self._head.decode(value)
            answer = self._raw.decode(value)
            if not self._is_mine(head) or _moment(head.window_end) <= _moment(self._used.window_end):
                return
            key = tuple(
                as_value(bytes(answer[name]), kind) for name, kind in zip(self._question.key, self._kinds, strict=True)
            )
        except (msgspec.DecodeError, KeyError, ValueError):
            return  # the verdict tells of it
        place = (cast("int", message.partition()), cast("int", message.offset()))
        self._waiting.setdefault(head.window_end, []).append(_Answer(answer, key, *place))

    def _is_ready(self) -> bool:
        return bool(self._complete) and self._read_of(self._complete[0]) >= self._complete[0].answers

    def _read_of(self, window: _Complete) -> int:
        return len(self._waiting.get(window.end, ()))

    def _write(self) -> None:
        """Score what is complete, some windows at a time, and commit it."""
        scored: list[bytes] = []
        tallies: list[bytes] = []
        last: _Complete | None = None
        while self._is_ready() and len(scored) < _MOST:
            last = self._complete.popleft()
            answers = sorted(self._waiting.pop(last.end, []), key=lambda answer: place_in_order(answer.key))
            scored += self._scored(answers)
            own = {"question": msgspec.json.encode(self._question.label)}
            tallies.append(msgspec.json.encode(self._raw.decode(last.record) | _raw(own)))
        if last is None:
            return
        waiting = [answer for answers in self._waiting.values() for answer in answers]
        begin = self._readers[1].positions
        for answer in waiting:
            begin[answer.partition] = min(begin[answer.partition], answer.offset)
        self._used = _Progress(self._scoring.rows, last.offset + 1, begin, last.end)
        entries: dict[tuple[str, str], object] = {
            ("state", name): value for name, value in self._scoring.model.changes().items()
        }
        entries |= {(_DIGEST, str(each.rows)): each.sha256 for each in self._scoring.digests}
        entries[_PROGRESS, ""] = self._used
        self._scoring.digests.clear()
        try:
            self._producer.begin_transaction()
            for value in scored:
                produce(self._producer, self._scores, value)
            for value in tallies:
                produce(self._producer, self._tallies, value)
            for (what, name), entry in entries.items():
                produce(
                    self._producer,
                    self._state,
                    msgspec.json.encode(entry),
                    msgspec.json.encode([self._job, what, name]),
                )
            self._producer.commit_transaction(_TIMEOUT_S)
        except KafkaException as error:
            raise self._failure(error) from error

    def _scored(self, answers: list[_Answer]) -> list[bytes]:
        found = []
        for answer in answers:
            values = [
                as_value(bytes(answer.value[name]), kind)
                for name, kind in zip(self._model.values, self._value_kinds, strict=True)
            ]
            start = _moment(msgspec.json.decode(answer.value["window_start"], type=str))
            score = self._scoring.score(answer.key, start, cast("list[Any]", values))
            own = {"question": self._question.label, SCORE: score}
            record = answer.value | _raw({name: msgspec.json.encode(value) for name, value in own.items()})
            found.append({name: value for name, value in record.items() if name in self._added | {*RESULT_COLUMNS}})
        return [msgspec.json.encode(record) for record in self._conditions.add(found)]

    def _failure(self, error: KafkaException) -> StreamproofError:
        return StreamproofError(f"the scores of {self._question.name}, job {self._job}: {error.args[0].str()}")


def read_digests(
    job: str, question: Question, contract: Contract, since: datetime, kafka: KafkaSettings
) -> list[Digest]:
    """Return the digests that the scorer of a model of a job has written, by the number of answers.

    Raises:
        StreamproofError: Kafka cannot be read.

    """
    return _read_stored(job, question.state_topic(contract), since, kafka).digests


def _read_stored(job: str, topic: str, since: datetime, kafka: KafkaSettings) -> _Stored:
    reader, stored = TopicReader(topic, since, kafka), _Stored()
    digests: dict[int, str] = {}
    try:
        for message in (each for messages in reader.read() for each in messages):
            of, what, name = msgspec.json.decode(message.key() or b"", type=tuple[str, str, str])
            value = message.value() or b""
            if of != job:
                continue
            if what == _PROGRESS:
                stored.progress = msgspec.json.decode(value, type=_Progress)
            elif what == _DIGEST:
                digests[int(name)] = msgspec.json.decode(value)
            else:
                stored.state[name] = msgspec.json.decode(value)
    finally:
        reader.close()
    stored.digests = [Digest(rows, digest) for rows, digest in sorted(digests.items())]
    return stored


def _raw(values: dict[str, bytes]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(value) for name, value in values.items()}


@lru_cache(maxsize=4096)
def _moment(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000) if text else 0
