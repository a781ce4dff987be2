"""What the pipeline wrote: a run's records in Kafka's topics, as DuckDB tables that grow with each read.

Topics are read from shortly before the run began, without a consumer group, so reading leaves no trace in Kafka and
does not disturb any other reader.
"""

import gc
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import compress
from typing import Any, Literal, Self, cast

import duckdb
import msgspec
import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from msgspec import UNSET, UnsetType

from streamproof.core.contract import Contract
from streamproof.core.errors import StreamproofError
from streamproof.core.measures import MEASURES, USUAL, Measure, WindowKind, column
from streamproof.core.message import END_SEQ, HEARTBEAT_SEQ
from streamproof.core.run import Run
from streamproof.core.settings import KafkaSettings
from validation.jobs import COLUMNS

_SLACK = timedelta(minutes=10)
"""How far the clocks of this machine and of Kafka may lie apart."""

_BATCH = 20_000
_STALLED_SECONDS = 60


class TopicReader:
    """Reads a topic from a moment on: first up to its present end, then whatever comes.

    Only committed records are read. Raises ``StreamproofError`` where Kafka or the topic cannot be read.
    """

    def __init__(self, topic: str, since: datetime, kafka: KafkaSettings) -> None:
        self.topic, self._servers = topic, kafka.servers
        self._config: dict[str, str | int] = {
            "bootstrap.servers": kafka.servers,
            "group.id": "streamproof-validation",  # required, yet unused: nothing is subscribed or committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": 16_384,
            "fetch.queue.backoff.ms": 10,  # a second by default, for each time that the queue was full
            "log_level": 0,
        }
        self._consumer = Consumer(self._config)
        # Ends are asked for by another one: on the connection of one that reads, the answer waits for the next records.
        self._asking = Consumer(self._config)
        try:
            self._start(since)
        except KafkaException as error:
            self.close()
            raise self._failure(error.args[0]) from error

    def _start(self, since: datetime) -> None:
        about = self._consumer.list_topics(self.topic, timeout=15).topics[self.topic]
        if about.error:
            raise KafkaException(about.error)
        moment = int((since - _SLACK).timestamp() * 1000)
        asked = [TopicPartition(self.topic, partition, moment) for partition in about.partitions]
        # The ends first: asked for afterwards, they would lie behind what was committed in between, unread for ever.
        ends = _ends(self._consumer, asked)
        starts = self._consumer.offsets_for_times(asked, timeout=15)
        for start in starts:
            start.offset = start.offset if start.offset >= 0 else ends[start.partition]
        self._unread = {s.partition: ends[s.partition] for s in starts if s.offset < ends[s.partition]}
        self._positions = {start.partition: start.offset for start in starts}
        self._consumer.assign(starts)

    def read(self) -> Iterator[list[Message]]:
        """Yield the records up to the end that the topic had when the reader was made."""
        heard = time.monotonic()
        while self._unread:
            if messages := self._consume(0.1):
                heard = time.monotonic()
                yield messages
            elif time.monotonic() - heard > _STALLED_SECONDS:
                raise StreamproofError(
                    f"Kafka at {self._servers}: nothing more of topic {self.topic} within {_STALLED_SECONDS} s, "
                    "though its end is not reached: see the broker's log"
                )

    def poll(self, seconds: float) -> list[Message]:
        """Return records that came since; wait for up to ``seconds`` where there is none yet."""
        return self._consume(seconds)

    def is_at_end(self) -> bool:
        """Return whether all that the topic has now was read; False also where Kafka does not tell."""
        try:
            ends = self._ends(timeout=2)
        except KafkaException:
            return False
        return all(self._positions[partition] >= end for partition, end in ends.items())

    def behind_open_transactions(self) -> dict[int, int]:
        """Return, by partition, how many records cannot be read as a transaction before them is not committed."""
        everything = Consumer(self._config | {"isolation.level": "read_uncommitted"})
        places = self._consumer.assignment()
        try:
            stable, ends = self._ends(timeout=15), _ends(everything, places)
        except KafkaException as error:
            raise self._failure(error.args[0]) from error
        finally:
            everything.close()
        return {partition: end - stable[partition] for partition, end in ends.items() if end > stable[partition]}

    def _ends(self, timeout: float) -> dict[int, int]:
        # First what leads the partitions: that one had no leader for a moment would be remembered for minutes.
        self._asking.list_topics(self.topic, timeout=timeout)
        return _ends(self._asking, self._consumer.assignment(), timeout)

    def _consume(self, seconds: float) -> list[Message]:
        found = self._consumer.consume(_BATCH, seconds)
        for message in found:
            if (error := message.error()) and error.code() != KafkaError._PARTITION_EOF:
                raise self._failure(error)
        # The last offsets of a topic can be marks of transactions, which are never delivered: the end event tells.
        for partition, last in {cast("int", message.partition()): message for message in found}.items():
            self._positions[partition] = cast("int", last.offset()) + (last.error() is None)
            if last.error() or cast("int", last.offset()) + 1 >= self._unread.get(partition, 0):
                self._unread.pop(partition, None)
        return [message for message in found if not message.error()]

    def _failure(self, error: KafkaError) -> StreamproofError:
        return StreamproofError(
            f"Kafka at {self._servers}: topic {self.topic} cannot be read: {error.str()}. "
            "Are the servers up, and has the flow been deployed?"
        )

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()
        self._asking.close()


def _ends(consumer: Consumer, places: list[TopicPartition], timeout: float = 15) -> dict[int, int]:
    """Return, by partition, the offset behind the last record that the consumer may read."""
    return {place.partition: consumer.get_watermark_offsets(place, timeout=timeout)[1] for place in places}


class RunDecoder:
    """Decodes the messages of one run, a batch at a time.

    Args:
        run: the run's id.
        kind: what each message must be; it has a field ``run``.

    Attributes:
        unreadable: messages so far that name the run but are not of that kind.

    """

    def __init__(self, run: str, kind: type[Any]) -> None:
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
            self.unreadable += self._named in value
            return None


class _RowId(msgspec.Struct, gc=False):
    run: str | None
    category: str | None
    seq: int | None


_NOTHING = _RowId(None, None, None)


def _window_type(contract: Contract) -> type[Any]:
    """Return what a window's record must be; which measures are there is the job's choice."""
    texts = [(name, str) for name in ("job", "run", "category", "key", "window_start", "window_end")]
    shape = [("window_size", int), ("window_slide", int)]
    kind = ("window_kind", WindowKind, "sliding")
    chosen = [measure for measure in MEASURES if measure != "distinct" or contract.actor]
    values = [(COLUMNS[measure], _TYPES[measure], UNSET) for measure in chosen]
    names = {COLUMNS[measure]: column(contract, measure) for measure in chosen} | {"key": contract.key}
    return msgspec.defstruct("Window", [*texts, *shape, kind, *values], rename=names)


_TYPES: dict[Measure, Any] = {
    "count": int | None | UnsetType,
    "sum": msgspec.Raw,
    "avg": float | None | UnsetType,
    "min": msgspec.Raw,
    "max": msgspec.Raw,
    "stddev": float | None | UnsetType,
    "histogram": dict[str, int] | None | UnsetType,
    "distinct": int | None | UnsetType,
}

_EXACT = "DECIMAL(38, 15)"
"""Wide enough for any sum; a contract's scale is at most 9, so nothing that was written is rounded away."""

_TABLES = f"""
CREATE TABLE kafka_rows (category VARCHAR, seq BIGINT, kafka_partition INTEGER, kafka_offset BIGINT);
CREATE TABLE dead_letters AS FROM kafka_rows;
CREATE SEQUENCE arrivals;
CREATE TABLE kafka_windows (
    arrival BIGINT DEFAULT nextval('arrivals'), written_at BIGINT,
    job VARCHAR, window_size BIGINT, window_slide BIGINT,
    category VARCHAR, key VARCHAR, window_start BIGINT, window_end BIGINT,
    window_kind VARCHAR DEFAULT 'sliding', measures VARCHAR DEFAULT '{",".join(USUAL)}',
    n BIGINT, total {_EXACT}, average DOUBLE, least {_EXACT}, greatest {_EXACT},
    deviation DOUBLE, histogram VARCHAR, actors BIGINT
);
"""
_READ_ROWS = f"""
SELECT category, seq, kafka_partition, kafka_offset FROM arrow
WHERE run = ? AND (seq IS NULL OR seq NOT IN ({HEARTBEAT_SEQ}, {END_SEQ}))
"""
_READ_WINDOW = f"""
INSERT INTO kafka_windows BY NAME
SELECT * REPLACE (
    epoch_ms(TRY_CAST(window_start AS TIMESTAMP)) AS window_start,
    epoch_ms(TRY_CAST(window_end AS TIMESTAMP)) AS window_end,
    TRY_CAST(total AS {_EXACT}) AS total,
    TRY_CAST(least AS {_EXACT}) AS least,
    TRY_CAST(greatest AS {_EXACT}) AS greatest)
FROM arrow
"""
_ARROW_WINDOW = pa.schema(
    [(name, pa.string()) for name in ("job", "category", "key", "window_start", "window_end", "window_kind")]
    + [(name, pa.int64()) for name in ("window_size", "window_slide", "n", "actors")]
    + [(name, pa.string()) for name in ("total", "least", "greatest", "histogram")]
    + [(name, pa.float64()) for name in ("average", "deviation")]
    + [("measures", pa.string()), ("written_at", pa.int64())]
)


class RunRecords:
    """A run's records, in tables that grow with each read.

    ``kafka_rows`` and ``dead_letters`` have category, seq, and the record's kafka_partition and kafka_offset; the
    heartbeats and end marks are left out, and a dead letter's seq may be NULL. ``kafka_windows`` has each window as it
    was written, from any job, with window_size, window_slide, window_kind, measures (those that are there, as text) and
    written_at (Kafka's timestamp); times are milliseconds, a value that could not be read is NULL.
    """

    def __init__(
        self,
        db: duckdb.DuckDBPyConnection,
        run: Run,
        kafka: KafkaSettings,
        *,
        only: Literal["rows", "windows"] | None = None,
    ) -> None:
        db.execute(_TABLES)
        self._db, self._run = db, run.run
        self._row = RunDecoder(run.run, _RowId)
        self._window = RunDecoder(run.run, _window_type(run.contract))
        topics = run.contract.topics
        wanted: dict[str, Callable[[list[Message]], None]] = {}
        if only != "windows":
            wanted |= {topics.rows: self._add_rows, topics.dead_letters: self._add_dead_letters}
        if only != "rows":
            wanted |= {topics.windows: self._add_windows}
        self._topics = [(TopicReader(topic, run.created, kafka), add) for topic, add in wanted.items()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for reader, _ in self._topics:
            reader.close()

    @property
    def unreadable(self) -> int:
        """Records that name the run but are not what their topic should hold."""
        return self._row.unreadable + self._window.unreadable

    def read(self) -> None:
        """Read up to the end that each topic had when this object was made; the windows last."""
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
        before = self._size()
        for reader, add in self._topics:
            if messages := reader.poll(seconds / len(self._topics)):
                add(messages)
        return self._size() > before

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

    def _size(self) -> int:
        tables = ("kafka_rows", "dead_letters", "kafka_windows")
        found = self._db.execute("SELECT " + " + ".join(f"(SELECT count(*) FROM {table})" for table in tables))
        return cast("tuple[int]", found.fetchone())[0]

    def _add_rows(self, messages: list[Message], table: str = "kafka_rows") -> None:
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
        self._db.execute(f"INSERT INTO {table} {_READ_ROWS}", [self._run])

    def _add_dead_letters(self, messages: list[Message]) -> None:
        self._add_rows(messages, "dead_letters")

    def _add_windows(self, messages: list[Message]) -> None:
        decoded = zip(messages, self._window.decode(messages), strict=True)
        found = [(message.timestamp()[1], window) for message, window in decoded if window and window.run == self._run]
        if not found:
            return
        columns = {
            name: [getattr(window, name, UNSET) for _, window in found]
            for name in _ARROW_WINDOW.names
            if name not in {"measures", "written_at"}
        }
        there = list(zip(*([v is not UNSET for v in columns[COLUMNS[m]]] for m in MEASURES), strict=True))
        names = {each: ",".join(compress(MEASURES, each)) for each in set(there)}
        columns |= {name: [_plain(value) for value in columns[name]] for name in COLUMNS.values()}
        columns |= {"measures": [names[each] for each in there], "written_at": [moment for moment, _ in found]}
        arrow = pa.table(columns, schema=_ARROW_WINDOW)  # noqa: F841 (found by its name)
        self._db.execute(_READ_WINDOW)


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{number}": {value[number]}' for number in sorted(value, key=_as_number)) + "}"
    return None if value is UNSET else value


def _as_number(text: str) -> tuple[Decimal, str]:
    try:
        return Decimal(text), text
    except InvalidOperation:
        return Decimal(0), text
