"""What the pipeline wrote: a run's records in Kafka's topics, as DuckDB tables that grow with each read."""

import gc
import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from itertools import compress
from typing import Any, Literal, Self, cast

import duckdb
import msgspec
import pyarrow as pa
from confluent_kafka import Message
from msgspec import UNSET, UnsetType

from streamproof.core.contract import Contract
from streamproof.core.kafka import TopicReader, read_records
from streamproof.core.measures import MEASURES, USUAL, Measure, WindowKind, column
from streamproof.core.message import END_SEQ, HEARTBEAT_SEQ
from streamproof.core.run import Run
from streamproof.core.settings import KafkaSettings
from validation.jobs import COLUMNS


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
        self._kafka, self._rows_topic = kafka, topics.rows
        self._contents: dict[tuple[int, int], int] = {}
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


def _digest(row: bytes) -> int:
    try:
        fields = json.loads(row)
        fields.pop("low_watermark", None)
        return hash(json.dumps(fields, sort_keys=True))
    except (ValueError, AttributeError):
        return hash(row)


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
