"""What the pipeline wrote: a run's records in Kafka's topics, as DuckDB tables that grow with each read."""

import gc
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal, Self, cast

import duckdb
import msgspec
import pyarrow as pa
from confluent_kafka import Message
from msgspec import UNSET, UnsetType

from streamproof.core.alert_rule import EVENT_COLUMNS, alerts_topic
from streamproof.core.batch import WHOLE_NUMBER, Columns, columns_of
from streamproof.core.kafka import TopicReader, read_records, topics_of
from streamproof.core.message import END_SEQ, HEARTBEAT_SEQ
from streamproof.core.question import RESULT_COLUMNS, Question
from streamproof.core.run import Run
from streamproof.core.settings import KafkaSettings
from streamproof.core.sql_quoting import quoted
from streamproof.core.window import WindowKind
from validation.answers import alerts_number, results_table


class RunDecoder:
    """Decodes the messages of one run, a batch at a time.

    Args:
        run: the run's id.
        kind: what each message must be; it has a field ``run``.
        is_meant: tells of a message that names the run and cannot be read whether it should be of that kind.

    Attributes:
        unreadable: messages so far that name the run but are not of that kind.

    """

    def __init__(self, run: str, kind: type[Any], is_meant: Callable[[bytes], bool] = lambda _: True) -> None:
        self._is_meant = is_meant
        self._named = json.dumps(run).encode()
        self._decoder = msgspec.json.Decoder(kind)
        self.unreadable = 0

    def decode(self, messages: list[Message]) -> list[Any]:
        """Return what each message says, also one of another run; None where that cannot be read."""
        values = [message.value() or b"" for message in messages]
        try:
            records = self._decoder.decode_lines(b"\n".join(values))  # several times as fast as one by one
        except msgspec.DecodeError:
            records = []
        return records if len(records) == len(values) else [self._decode(value) for value in values]

    def _decode(self, value: bytes) -> object:
        try:
            return self._decoder.decode(value)
        except msgspec.DecodeError:
            self.unreadable += self._named in value and self._is_meant(value)
            return None


class _RowId(msgspec.Struct, gc=False):
    run: str | None
    category: str | None
    seq: int | None


_NOTHING = _RowId(None, None, None)


class _Labels(msgspec.Struct, gc=False):
    run: str | None = None
    question: str | None = None


class _Tally(msgspec.Struct, gc=False):
    run: str
    job: str
    question: str


_LOOK_SECONDS = 1.0
"""How often it is asked whether topics of results that were not there have been made."""

_TABLES = """
CREATE TABLE kafka_rows (category VARCHAR, seq BIGINT, kafka_partition INTEGER, kafka_offset BIGINT);
CREATE TABLE dead_letters AS FROM kafka_rows;
CREATE TABLE tallies (job VARCHAR, question VARCHAR, kafka_offset BIGINT);
CREATE SEQUENCE arrivals;
"""
_RESULTS = """
CREATE TABLE {table} (
    _arrival BIGINT DEFAULT nextval('arrivals'), _written_at BIGINT, _job VARCHAR,
    _size BIGINT, _slide BIGINT, _kind VARCHAR, _whole BOOLEAN,
    window_start TIMESTAMP, window_end TIMESTAMP{columns}
)
"""
_READ_ROWS = f"""
SELECT category, seq, kafka_partition, kafka_offset FROM arrow
WHERE run = ? AND (seq IS NULL OR seq NOT IN ({HEARTBEAT_SEQ}, {END_SEQ}))
"""
_FIXED: dict[str, tuple[Any, pa.DataType]] = {
    "_job": (str, pa.string()),
    "window_start": (str, pa.string()),
    "window_end": (str, pa.string()),
    "_size": (int, pa.int64()),
    "_slide": (int, pa.int64()),
    "_kind": (WindowKind, pa.string()),
}
_NAMES = {"_job": "job", "_size": "window_size", "_slide": "window_slide", "_kind": "window_kind"}


def _read_as(kind: str) -> tuple[Any, pa.DataType]:
    """Return how a value of a column's type in DuckDB stands in JSON, and how it is handed to DuckDB."""
    if WHOLE_NUMBER.fullmatch(kind):
        return int | None | UnsetType, pa.int64()
    if kind.startswith("DECIMAL"):
        return msgspec.Raw, pa.string()  # not by way of a double
    return {
        "DOUBLE": (float | str | None | UnsetType, pa.float64()),  # Infinity and NaN are texts
        "FLOAT": (float | str | None | UnsetType, pa.float64()),
        "BOOLEAN": (bool | None | UnsetType, pa.bool_()),
    }.get(kind, (str | None | UnsetType, pa.string()))


class Results:
    """The results of one question in a topic, from whatever job and with whatever windows, as a table.

    The table (``results_table(number)``) has the question's own columns, ``window_start`` and ``window_end``, and of
    each result the job (_job), the window's shape (_size, _slide, _kind), when Kafka got it (_written_at, milliseconds
    since the epoch), in which order it came (_arrival), and whether each of its values is there and can be read
    (_whole). What could not be read is NULL.

    Args:
        db: where the table is made.
        run: whose results.
        question: the question.
        number: names the table.
        more: columns that each result has beside the question's own, and their types.

    Attributes:
        others: how many results of the run are of another text, by question@digest.

    """

    def __init__(
        self, db: duckdb.DuckDBPyConnection, run: Run, question: Question, number: int, more: Columns | None = None
    ) -> None:
        self.question, self.number = question, number
        self.others: Counter[str] = Counter()
        self._db, self._run, self._label = db, run.run, question.label
        kinds = {n: k for n, k in columns_of(question, run.contract).items() if n not in RESULT_COLUMNS}
        kinds |= more or {}
        kept = {name: _kept_as(kind) for name, kind in kinds.items()}
        columns = "".join(f", {quoted(name)} {kind}" for name, kind in kept.items())
        db.execute(_RESULTS.format(table=results_table(number), columns=columns))
        places = {f"c{place}": name for place, name in enumerate(kinds)}  # any name will do for a column
        own = {place: _read_as(kinds[name]) for place, name in places.items()}
        fixed = [(name, of, *(["sliding"] if name == "_kind" else [])) for name, (of, _) in _FIXED.items()]
        fields = [("run", str), *fixed, ("question", str | None, None), *((n, of, UNSET) for n, (of, _) in own.items())]
        kind = msgspec.defstruct("Result", fields, rename=_NAMES | places, gc=False)
        self._decoder = RunDecoder(run.run, kind, self._is_of_this_question)
        self._labels = msgspec.json.Decoder(_Labels)
        self._schema = pa.schema(
            [(name, of) for name, (_, of) in (_FIXED | own).items()]
            + [("_written_at", pa.int64()), ("_present", pa.bool_())]
        )
        read = {place: f"TRY_CAST({place} AS {kept[name]})" for place, name in places.items()}
        whole = " AND ".join(
            ["_present", *(f"({place} IS NULL OR {value} IS NOT NULL)" for place, value in read.items())]
        )
        self._insert = f"""
            INSERT INTO {results_table(number)} BY NAME
            SELECT _job, _size, _slide, _kind, _written_at, {whole} AS _whole,
                   TRY_CAST(window_start AS TIMESTAMP) AS window_start, TRY_CAST(window_end AS TIMESTAMP) AS window_end
                   {"".join(f", {value} AS {quoted(places[place])}" for place, value in read.items())}
            FROM arrow
            """

    @property
    def unreadable(self) -> int:
        """Records that name the run and the question but are not what a result should be."""
        return self._decoder.unreadable

    def add(self, messages: list[Message]) -> int:
        """Take in what is of the run and of this question; return how many results that were."""
        found = [
            (message.timestamp()[1], result)
            for message, result in zip(messages, self._decoder.decode(messages), strict=True)
            if result and result.run == self._run and self._is_mine(result.question)
        ]
        if not found:
            return 0
        names = [name for name in self._schema.names if name not in {"_written_at", "_present"}]
        columns: dict[str, list[Any]] = {name: [getattr(result, name) for _, result in found] for name in names}
        own = [name for name in names if name not in _FIXED]
        present = [all(values) for values in zip(*([v is not UNSET for v in columns[n]] for n in own), strict=True)]
        columns |= {name: [_plain(value) for value in columns[name]] for name in own}
        columns |= {"_present": present or [True] * len(found), "_written_at": [moment for moment, _ in found]}
        for name in own:
            if pa.types.is_floating(self._schema.field(name).type):
                columns[name] = [_number(value) for value in columns[name]]
        arrow = pa.table(columns, schema=self._schema)  # noqa: F841 (found by its name)
        self._db.execute(self._insert)
        return len(found)

    def _is_mine(self, label: str | None) -> bool:
        if label in (None, self._label):
            return True
        self.others[label] += 1
        return False

    def _is_of_this_question(self, value: bytes) -> bool:
        return (self._label_of(value) or self._label) == self._label

    def _label_of(self, value: bytes) -> str | None:
        try:
            return self._labels.decode(value).question
        except msgspec.DecodeError:
            return None


def _kept_as(kind: str) -> str:
    """Return the type in which results are kept that may hold any value, also a wrong one."""
    return re.sub(r"DECIMAL\(\d+", "DECIMAL(38", kind)


class RunRecords:
    """A run's records, in tables that grow with each read.

    ``kafka_rows`` and ``dead_letters`` have category, seq, and the record's kafka_partition and kafka_offset; the
    heartbeats and end marks are left out, and a dead letter's seq may be NULL. Each question has a table of results.

    Args:
        db: where the tables are made.
        run: the run.
        kafka: where its records are.
        questions: whose results are read.
        only: rows or results alone.
        alerts: also the alerts that were written of each question, in a table of their own, and in ``tallies`` at which
            offset stands how many results a window has, with job and question.

    Attributes:
        results: of each question, in the questions' order.
        alerts: of each question that has an alert.

    """

    def __init__(
        self,
        db: duckdb.DuckDBPyConnection,
        run: Run,
        kafka: KafkaSettings,
        questions: Sequence[Question] = (),
        *,
        only: Literal["rows", "results"] | None = None,
        alerts: bool = False,
    ) -> None:
        db.execute(_TABLES)
        self._db, self._run, self._since, self._kafka = db, run.run, run.created, kafka
        self._row = RunDecoder(run.run, _RowId)
        self._tally = RunDecoder(run.run, _Tally)
        self.results = [Results(db, run, question, number) for number, question in enumerate(questions)]
        self.alerts = [
            Results(db, run, question, alerts_number(number), EVENT_COLUMNS)
            for number, question in enumerate(questions)
            if alerts and question.header.alert
        ]
        topics = run.contract.topics
        self._rows_topic = topics.rows
        self._contents: dict[tuple[int, int], int] = {}
        wanted: dict[str, Callable[[list[Message]], int]] = {}
        if only != "results":
            wanted |= {topics.rows: self._add_rows, topics.dead_letters: self._add_dead_letters}
        self._topics: list[tuple[TopicReader, Callable[[list[Message]], int]]] = []
        self._of_topic: dict[str, list[Callable[[list[Message]], int]]] = {}
        for results in self.results:
            self._of_topic.setdefault(results.question.topic(run.contract), []).append(results.add)
        for results in self.alerts:
            self._of_topic.setdefault(alerts_topic(run.contract), []).append(results.add)
            self._of_topic[results.question.tally_topic(run.contract)] = [self._add_tallies]
        self._absent = set(self._of_topic)
        with ExitStack() as on_error:
            on_error.callback(self.__exit__)
            for topic, add in wanted.items():
                self._topics.append((TopicReader(topic, run.created, kafka), add))
            self._open_topics()
            on_error.pop_all()

    def _open_topics(self) -> None:
        """Begin to read topics of results; a topic is made when its question is first asked."""
        self._looked = time.monotonic()
        for topic in sorted(self._absent & topics_of(self._kafka)) if self._absent else ():
            self._topics.append((TopicReader(topic, self._since, self._kafka), self._adder(topic)))
            self._absent.discard(topic)

    def _adder(self, topic: str) -> Callable[[list[Message]], int]:
        return lambda messages: sum(add(messages) for add in self._of_topic[topic])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for reader, _ in self._topics:
            reader.close()

    @property
    def unreadable(self) -> int:
        """Records that name the run but are not what their topic should hold."""
        return self._row.unreadable + sum(each.unreadable for each in (*self.results, *self.alerts))

    def unknown_questions(self) -> Counter[str]:
        """Return how many results are of questions whose text is not among those that are read, by their label."""
        known = {results.question.label for results in self.results}
        others: Counter[str] = Counter()
        for results in self.results:  # those of one topic all see the same
            others |= Counter({label: n for label, n in results.others.items() if label not in known})
        return others

    def read(self) -> None:
        """Read up to the end that each topic had when this object was made; the results last."""
        self._db.begin()  # one transaction: each would be written to disk for itself
        gc.disable()  # it would look again and again at millions of records, none of which refers to another
        try:
            for reader, add in self._topics:
                for messages in reader.read():
                    add(messages)
        finally:
            gc.enable()
        self._db.commit()

    def poll(self, seconds: float = 1) -> bool:
        """Read what came since, waiting for up to ``seconds``; return whether anything of this run did."""
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._open_topics()
        if not self._topics:
            time.sleep(seconds)
        came = 0
        for reader, add in self._topics:
            if messages := reader.poll(seconds / len(self._topics)):
                came += add(messages)
        return came > 0

    def contents(self, places: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
        """Return a digest of what rows say, given as (partition, offset), less the low watermark they came with.

        They are read once more: to keep it of each row would cost every run what only doubled rows are asked for.
        """
        new = [place for place in places if place not in self._contents]
        for message in read_records(self._rows_topic, new, self._kafka):
            place = cast("tuple[int, int]", (message.partition(), message.offset()))
            self._contents[place] = _digest(message.value() or b"")
        return self._contents

    def is_at_end(self) -> bool:
        """Return whether all that is committed was read; False also where Kafka does not tell."""
        return all(reader.is_at_end() for reader, _ in self._topics)

    def why_hidden(self) -> str | None:
        """Say where records of whatever run cannot be read yet, and why; None where all can be."""
        hidden = [
            f"{records} in {reader.topic}/{partition}"
            for reader, _ in self._topics
            for partition, records in reader.behind_open_transactions().items()
        ]
        if not hidden:
            return None
        return (
            f"some records cannot be read yet, {', '.join(hidden)}: they lie behind a transaction that is not "
            "committed. A killed job's ends when that job goes on, or after Kafka's transaction.timeout.ms (15 minutes)"
        )

    def _add_rows(self, messages: list[Message], table: str = "kafka_rows") -> int:
        rows = [row or _NOTHING for row in self._row.decode(messages)]
        arrow = pa.table(  # noqa: F841 (found by its name)
            {
                "run": pa.array([row.run for row in rows], pa.string()),
                "category": pa.array([row.category for row in rows], pa.string()),
                "seq": pa.array([row.seq for row in rows], pa.int64()),
                "kafka_partition": pa.array([message.partition() for message in messages], pa.int32()),
                "kafka_offset": pa.array([message.offset() for message in messages], pa.int64()),
            }
        )
        inserted = self._db.execute(f"INSERT INTO {table} {_READ_ROWS}", [self._run]).fetchone()
        return cast("tuple[int]", inserted)[0]

    def _add_tallies(self, messages: list[Message]) -> int:
        tallies = zip(messages, self._tally.decode(messages), strict=True)
        found = [(t.job, t.question, m.offset()) for m, t in tallies if t and t.run == self._run]
        if found:
            columns = zip(("job", "question", "kafka_offset"), zip(*found, strict=True), strict=True)
            arrow = pa.table({name: list(values) for name, values in columns})  # noqa: F841 (found by its name)
            self._db.execute("INSERT INTO tallies BY NAME SELECT * FROM arrow")
        return len(found)

    def _add_dead_letters(self, messages: list[Message]) -> int:
        return self._add_rows(messages, "dead_letters")


def _digest(row: bytes) -> int:
    try:
        fields = json.loads(row)
        fields.pop("low_watermark", None)
        return hash(json.dumps(fields, sort_keys=True))
    except (ValueError, AttributeError):
        return hash(row)


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Raw):
        text = bytes(value).decode()
        return None if text == "null" else text
    return None if value is UNSET else value


def _number(value: object) -> float | None:
    try:
        return None if value is None else float(cast("float | str", value))
    except ValueError:
        return None
