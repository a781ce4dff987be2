"""The tables of a database, and what records make of them: one for each question, its alerts, rows, and dead letters.

A table is made from the question's own columns and types. Another text of the question, or another contract, is another
version of the table.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from hashlib import sha256
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import msgspec
from confluent_kafka import Message

from flink_jobs.records import JobRecord, asked_by, load_records
from streamproof.core.alert_rule import EVENT_COLUMNS, alerts_topic
from streamproof.core.batch import WHOLE_NUMBER, columns_of
from streamproof.core.contract import Contract
from streamproof.core.question import RESULT_COLUMNS, Question
from streamproof.core.run import Run

Kind = Literal["text", "integer", "decimal", "double", "boolean", "time"]
"""A type of columns; each database has its own name for it."""

Column = list[str | None]
"""The values of a column as text, as they stand in Kafka."""

_BOUNDS: dict[str, Kind] = {"window_start": "time", "window_end": "time"}
_QUESTION = attrgetter("question")
_FEW = 16
"""Up to so many jobs are expected at once."""

_HEADS = ("job", "question", "run", "window_size", "window_slide", "window_kind")


class Job(NamedTuple):
    """What results have in common: the job that wrote them, the question, the run, the windows.

    ``number`` stands for all of it in the tables; it is made from the rest.
    """

    number: int
    label: str
    question: str
    run: str
    window_size: int
    window_slide: int
    window_kind: str
    submitted_at: str | None

    @classmethod
    def of(cls, head: tuple[Any, ...], submitted_at: datetime | None) -> "Job":
        """Return what results have in common; ``head`` is all but the number and the time."""
        number = int.from_bytes(sha256(repr(head).encode()).digest()[:8]) >> 1
        return cls._make((number, *head, submitted_at.isoformat() if submitted_at else None))


@dataclass(frozen=True)
class Table:
    """A version of a table.

    Attributes:
        view: the name under which people find the newest version.
        label: what it is a version of: a question's text, or a contract.
        title: what it says, in words.
        columns: its columns and their kinds.
        key: the columns that tell its rows apart.
        alert_of: of alerts, the columns that tell whose they are.

    """

    view: str
    label: str
    title: str
    columns: dict[str, Kind]
    key: tuple[str, ...]
    alert_of: tuple[str, ...] = ()

    @cached_property
    def identity(self) -> tuple[str, str, str]:
        """What tells it from others: view, label, and the columns in JSON."""
        return self.view, self.label, json.dumps(self.columns)

    @property
    def has_jobs(self) -> bool:
        """Whether its rows are results: the column ``job`` names what they have in common."""
        return "job" in self.columns


@dataclass(frozen=True)
class Rows:
    """Rows for a table, column by column, with the jobs that they name and the records that they come from."""

    table: Table
    columns: list[Column]
    messages: Sequence[Message]
    jobs: frozenset[Job] = frozenset()

    def origin(self, number: int) -> str:
        """Say where a row comes from: a record, or the lake, where there are none."""
        if not self.messages:
            return "an answer of the lake"
        message = self.messages[number]
        return f"record {message.topic()}/{message.partition()}/{message.offset()}"


class Refused(NamedTuple):
    """A record that no table has a place for."""

    topic: str
    partition: int
    offset: int
    reason: str
    value: str


def answers_table(question: Question, contract: Contract) -> Table:
    """Return the table of a question's results."""
    own = {n: _kind(k) for n, k in columns_of(question, contract).items() if n not in RESULT_COLUMNS}
    key = ("job", *_BOUNDS, *question.key)
    view = f"{contract.name}_{question.name}"
    first: dict[str, Kind] = {"job": "integer", **_BOUNDS}
    return Table(view, question.label, question.title, first | own, key)


def alerts_table(question: Question, contract: Contract) -> Table:
    """Return the table of a question's alerts: each event, with the columns of the answer that it is about."""
    answers = answers_table(question, contract)
    events = {name: _kind(kind) for name, kind in EVENT_COLUMNS.items()} | {"alert_title": "text"}
    key = ("job", "alert_id", "alert_state", "alert_number")
    columns = answers.columns | events
    return Table(f"{answers.view}_alerts", question.label, question.title, columns, key, question.key)


def rows_table(contract: Contract) -> Table:
    """Return the table of a stream's rows."""
    fields = {name: _kind(each.duckdb_type) for name, each in contract.fields.items()}
    columns: dict[str, Kind] = {"run": "text", "category": "text", "seq": "integer", "event_time": "time"}
    label = f"{contract.name}@{sha256(json.dumps(fields).encode()).hexdigest()[:12]}"
    return Table(f"{contract.name}_rows", label, "The rows", columns | fields, ("run", "category", "seq"))


def dead_letters_table(contract: Contract) -> Table:
    """Return the table of a stream's dead letters."""
    columns: dict[str, Kind] = {"kafka_partition": "integer", "kafka_offset": "integer", "run": "text"}
    columns |= {"category": "text", "seq": "integer", "received_at": "time", "stage": "text", "reason": "text"}
    columns |= {"mqtt_topic": "text", "payload": "text", "payload_base64": "text"}
    label = f"{contract.name}@dead-letters"
    return Table(
        f"{contract.name}_dead_letters", label, "What did not fit", columns, ("kafka_partition", "kafka_offset")
    )


def _kind(duckdb_type: str) -> Kind:
    if WHOLE_NUMBER.fullmatch(duckdb_type):
        return "decimal" if "HUGE" in duckdb_type or duckdb_type == "UBIGINT" else "integer"
    if duckdb_type.startswith("TIMESTAMP"):
        return "time"
    kinds: dict[str, Kind] = {"DECIMAL": "decimal", "DOUBLE": "double", "FLOAT": "double", "BOOLEAN": "boolean"}
    return kinds.get(duckdb_type.partition("(")[0], "text")


class _Label(msgspec.Struct, gc=False):
    question: str = ""


class _Decoder:
    """Reads the records of one table.

    What results have in common is known after the first: a decoder that expects just that makes no texts of it.
    """

    def __init__(self, table: Table, *, in_milliseconds: bool) -> None:
        self.table = table
        self._places = {name: f"c{n}" for n, name in enumerate(table.columns) if name != "job"}
        self._in_milliseconds = in_milliseconds
        self._known: dict[str, set[Any]] = {name: set() for name in _HEADS if table.has_jobs}
        self._any = self._new_decoder({})
        self._expecting = self._any

    def _new_decoder(self, expected: dict[str, set[Any]]) -> msgspec.json.Decoder[Any]:
        whole = {"window_size", "window_slide"}
        fields = [
            (name, Literal[*expected[name]] if name in expected else int if name in whole else str)
            for name in self._known
        ]
        fields += [(place, self._read_as(name)) for name, place in self._places.items() if not _of_kafka(name)]
        rename = {place: name for name, place in self._places.items()}
        return msgspec.json.Decoder(msgspec.defstruct("Record", fields, rename=rename, gc=False))

    def _read_as(self, name: str) -> Any:  # noqa: ANN401 - a type
        is_text = {"text": True, "time": not self._in_milliseconds}.get(self.table.columns[name], False)
        return str | None if is_text else msgspec.Raw

    def decode(self, values: Sequence[bytes]) -> list[Any]:
        """Return what records say.

        Raises:
            msgspec.DecodeError: one of them cannot be read, or lacks a column.

        """
        try:
            return _decode(self._expecting, values)
        except msgspec.ValidationError:
            if self._expecting is self._any:
                raise
        found = _decode(self._any, values)
        self._expect(found)
        return found

    def _expect(self, records: Sequence[Any]) -> None:
        for name, known in self._known.items():
            known.update(getattr(record, name) for record in records)
        are_few = all(len(known) <= _FEW for known in self._known.values())
        self._expecting = self._new_decoder(self._known) if are_few else self._any

    def heads(self, records: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return of each result what it has in common with others."""
        if records and self._expecting is self._any:
            self._expect(records[:1])
        return list(map(attrgetter(*_HEADS), records))

    def is_meant(self, record: Any, run: str | None) -> bool:  # noqa: ANN401 - made by ``decode``
        """Whether a record belongs into the table: it is of the run, where one is named, and no mark."""
        if self.table.has_jobs:
            return run in (None, record.run)
        of_run = run in (None, getattr(record, self._places["run"]))
        return of_run and ("event_time" not in self._places or int(bytes(getattr(record, self._places["seq"]))) > 0)

    def columns(self, records: Sequence[Any], messages: Sequence[Message]) -> Iterator[Column]:
        """Yield the table's columns but ``job``."""
        for name, place in self._places.items():
            if _of_kafka(name):
                yield [str(m.partition() if name == "kafka_partition" else m.offset()) for m in messages]
                continue
            values = list(map(attrgetter(place), records))
            if self._read_as(name) is msgspec.Raw:
                text = b"\n".join(values).decode()
                found = text.split("\n")  # a fraction of the time that it takes one by one
                values = found if len(found) == len(values) else [str(value, "utf-8") for value in values]
                if "null" in text:
                    values = [None if value == "null" else value for value in values]
                if '"' in text:
                    values = [value[1:-1] if value and value[0] == '"' else value for value in values]
                if self.table.columns[name] == "time":
                    values = [value and _iso(int(value)) for value in values]
            yield values


def _decode(decoder: msgspec.json.Decoder[Any], values: Sequence[bytes]) -> list[Any]:
    found = decoder.decode_lines(b"\n".join(values))  # several times as fast as one by one
    return found if len(found) == len(values) else [decoder.decode(value) for value in values]


def _of_kafka(name: str) -> bool:
    return name in {"kafka_partition", "kafka_offset"}


def _iso(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"


@dataclass
class Catalogue:
    """What is known of the topics: which there are, and which table a record belongs to.

    Args:
        run: of this run alone; None for all jobs that this machine knows.
        rows: also the rows and dead letters.

    """

    run: Run | None
    rows: bool = False
    _decoders: dict[tuple[str, str], _Decoder] = field(default_factory=dict)
    _submitted: dict[str, datetime | None] = field(default_factory=dict)

    def topics(self) -> set[str]:
        """Return the topics that are to be read; what is new of them is known from then on."""
        return {topic for record in self._records() for topic in self.learn(record)}  # the newest first

    def learn(self, record: JobRecord) -> set[str]:
        """Know what a job writes; return its topics."""
        self._submitted[record.label] = record.submitted_at
        contract, found = record.contract, set()
        for question in record.questions:
            found.add(topic := question.topic(contract))
            self._learn(topic, question.label, partial(answers_table, question, contract))
            if question.header.alert:
                found.add(topic := alerts_topic(contract))
                self._learn(topic, question.label, partial(alerts_table, question, contract))
        if self.rows:
            found |= {contract.topics.rows, contract.topics.dead_letters}
            self._learn(contract.topics.rows, "", partial(rows_table, contract))
            self._learn(contract.topics.dead_letters, "", partial(dead_letters_table, contract))
        return found

    def _records(self) -> list[JobRecord]:
        return asked_by(self.run.run, self.run.contract.name) if self.run else load_records()[::-1]

    def _learn(self, topic: str, label: str, table: Callable[[], Table]) -> None:
        if (topic, label) not in self._decoders:
            made = table()
            self._decoders[topic, label] = _Decoder(made, in_milliseconds=not made.has_jobs)

    def rows_of(self, messages: Iterable[Message]) -> tuple[list[Rows], list[Refused]]:
        """Sort records into tables; what belongs into none is returned beside them."""
        by_topic: dict[str, list[Message]] = defaultdict(list)
        for message in messages:
            by_topic[message.topic() or ""].append(message)
        rows: list[Rows] = []
        refused: list[Refused] = []
        for topic, of_topic in by_topic.items():
            for decoder, of_table, records in self._sort(topic, of_topic, refused):
                rows.append(self._fill(decoder, of_table, records))
        return rows, refused

    def _sort(
        self, topic: str, messages: list[Message], refused: list[Refused]
    ) -> Iterator[tuple[_Decoder, list[Message], list[Any]]]:
        labels = [label for known, label in self._decoders if known == topic]
        if len(labels) == 1:  # nearly always
            decoder = self._decoders[topic, labels[0]]
            try:
                records = decoder.decode([message.value() or b"" for message in messages])
            except msgspec.DecodeError:
                pass
            else:
                if not decoder.table.has_jobs or {*map(_QUESTION, records)} == {labels[0]}:
                    yield decoder, messages, records
                    return
        by_label: dict[str, tuple[list[Message], list[Any]]] = defaultdict(lambda: ([], []))
        for message in messages:
            value = message.value() or b""
            try:
                label = msgspec.json.decode(value, type=_Label).question if labels != [""] else ""
                if (topic, label) not in self._decoders:
                    self.topics()  # a job may have been submitted a moment ago
                record = self._decoders[topic, label].decode([value])[0]
            except (KeyError, IndexError):
                refused.append(_refuse(message, f"no job that this machine knows was asked {label!r}"))
            except msgspec.DecodeError as error:
                refused.append(_refuse(message, str(error)))
            else:
                of_label = by_label[label]
                of_label[0].append(message)
                of_label[1].append(record)
        for label, (of_table, records) in by_label.items():
            yield self._decoders[topic, label], of_table, records

    def _fill(self, decoder: _Decoder, messages: list[Message], records: list[Any]) -> Rows:
        run = self.run.run if self.run else None
        if run is not None or not decoder.table.has_jobs:
            meant = [n for n, record in enumerate(records) if decoder.is_meant(record, run)]
            messages, records = [messages[n] for n in meant], [records[n] for n in meant]
        columns = list(decoder.columns(records, messages))
        if not decoder.table.has_jobs:
            return Rows(decoder.table, columns, messages)
        heads = decoder.heads(records)
        jobs = {head: Job.of(head, self._submitted.get(head[0])) for head in set(heads)}
        numbers = {head: str(job.number) for head, job in jobs.items()}
        return Rows(decoder.table, [[numbers[head] for head in heads], *columns], messages, frozenset(jobs.values()))


def _refuse(message: Message, reason: str) -> Refused:
    value = (message.value() or b"").decode(errors="backslashreplace").replace("\0", "\\0")
    return Refused(message.topic() or "", message.partition() or 0, message.offset() or 0, reason, value)
