"""Records of a stream as columns: what each of the lake's tables takes of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from confluent_kafka import Message

from streamproof.core.contract import Contract
from streamproof.core.message import END_SEQ, HEARTBEAT_SEQ
from streamproof.sinks.lake.tables import TABLES, arrow_type, columns_of_table

OVER = 2**63 - 1
"""The low watermark of a partition behind a run's end mark, as Flink has it: no row of the run follows."""

_BLOCK = 4 << 20
_ENVELOPE = {"run": pa.string(), "category": pa.string(), "seq": pa.int64()}
_TIMES = {"event_time": pa.int64(), "low_watermark": pa.int64()}

LowWatermarks = dict[str, dict[int, int]]
"""Of runs and partitions, the greatest low watermark, milliseconds since the epoch; ``OVER`` behind the end mark."""


@dataclass(frozen=True)
class Records:
    """A batch of records as the tables take it.

    Attributes:
        tables: by the tables' names, their rows; beside the table's own columns each has ``topic``,
            ``kafka_partition`` and ``kafka_offset``, by which those are left out that the table holds already.
        low_watermarks: what the records say.
        strange: records of the rows topic that are no rows of the contract: only ``raw`` and ``backup`` have them.

    """

    tables: dict[str, pa.Table]
    low_watermarks: LowWatermarks
    strange: int


class RecordColumns:
    """Makes columns of the records of a stream."""

    def __init__(self, contract: Contract) -> None:
        self._rows_topic, self._letters_topic = contract.topics.rows, contract.topics.dead_letters
        own = {name: arrow_type(kind) for name, kind in columns_of_table("processed", contract).items()}
        self._times = [name for name, kind in own.items() if pa.types.is_timestamp(kind)]
        self._row = pa.schema(own | _ENVELOPE | _TIMES | {name: pa.int64() for name in self._times})
        self._letter = pa.schema(_ENVELOPE)
        self._columns = {
            table: {name: arrow_type(kind) for name, kind in columns_of_table(table, contract).items()}
            for table in TABLES
        }

    def of(self, messages: Sequence[Message]) -> Records:
        """Return what the tables take of some records, in their order."""
        are_rows = [message.topic() == self._rows_topic for message in messages]
        rows = [message for message, is_row in zip(messages, are_rows, strict=True) if is_row]
        letters = [message for message, is_row in zip(messages, are_rows, strict=True) if not is_row]
        of_rows, of_letters = _values(rows), _values(letters)
        read, letters_read = parse(of_rows, self._row), parse(of_letters, self._letter)
        places, places_of_letters = _places(rows, self._rows_topic), _places(letters, self._letters_topic)
        every = pa.concat_tables(
            [_beside(read.select(list(_ENVELOPE)), places), _beside(letters_read, places_of_letters)]
        )
        values = pa.array(of_rows, pa.binary())
        everything = pa.chunked_array([values, pa.array(of_letters, pa.binary())])
        keys = pa.array([message.key() for message in (*rows, *letters)], pa.binary())
        seq = read["seq"]
        is_mark = pc.fill_null(pc.is_in(seq, pa.array([HEARTBEAT_SEQ, END_SEQ])), False)
        is_row = pc.fill_null(pc.greater_equal(seq, 1), False)
        timed = read
        for name in self._times:
            place = timed.schema.get_field_index(name)
            timed = timed.set_column(place, name, _moment(timed[name]))
        raw = _beside(timed.select([*_ENVELOPE, "event_time"]), places).append_column("value", _texts(values))
        tables = {
            "raw": raw.filter(pc.invert(is_mark)),
            "processed": _beside(timed, places).filter(is_row),
            "backup": every.append_column("kafka_key", keys).append_column("value", everything),
        }
        return Records(
            {name: _typed(table, self._columns[name]) for name, table in tables.items()},
            _low_watermarks(read, places),
            len(rows) - pc.sum(pc.or_(is_row, is_mark)).as_py() if rows else 0,
        )


def parse(values: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """Return the fields of JSON objects as columns; what cannot be read as an object with such fields is a row of NULL.

    Decimals are exact: they are read from the digits.
    """
    if not values:
        return schema.empty_table()
    if {value[:1] for value in values} == {b"{"}:
        text = b"\n".join(values)
        how = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        block = max(_BLOCK, 2 * max(map(len, values)))
        try:
            read = pyarrow.json.read_json(
                io.BytesIO(text), read_options=pyarrow.json.ReadOptions(block_size=block), parse_options=how
            )
        except pa.ArrowInvalid:
            pass
        else:
            if len(read) == len(values):
                return read.select(schema.names)
    if len(values) == 1:
        return pa.table({field.name: pa.nulls(1, field.type) for field in schema})
    half = len(values) // 2  # until what cannot be read stands alone
    return pa.concat_tables([parse(values[:half], schema), parse(values[half:], schema)])


def _values(messages: Sequence[Message]) -> list[bytes]:
    return [message.value() or b"" for message in messages]


def _texts(values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_text(value.as_py()) for value in values], pa.string())


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _places(messages: Sequence[Message], topic: str) -> pa.Table:
    return pa.table(
        {
            "topic": pa.repeat(topic, len(messages)),
            "kafka_partition": pa.array([message.partition() for message in messages], pa.int32()),
            "kafka_offset": pa.array([message.offset() for message in messages], pa.int64()),
            "kafka_time": _moment(pa.array([message.timestamp()[1] for message in messages], pa.int64())),
        }
    )


def _moment(milliseconds: pa.Array) -> pa.Array:
    return milliseconds.cast(pa.timestamp("ms")).cast(pa.timestamp("us"))


def _beside(left: pa.Table, right: pa.Table) -> pa.Table:
    for name in right.column_names:
        left = left.append_column(name, right[name])
    return left


def _typed(table: pa.Table, columns: dict[str, pa.DataType]) -> pa.Table:
    wanted = columns | {"topic": pa.string(), "kafka_partition": pa.int32(), "kafka_offset": pa.int64()}
    return table.select(list(wanted)).cast(pa.schema(wanted))


def _low_watermarks(read: pa.Table, places: pa.Table) -> LowWatermarks:
    told = _beside(read.select(["run", "seq", "low_watermark"]), places.select(["kafka_partition"])).filter(
        pc.and_(pc.is_valid(read["run"]), pc.is_valid(read["low_watermark"]))
    )
    grouped = told.group_by(["run", "kafka_partition"]).aggregate([("low_watermark", "max"), ("seq", "min")])
    found: LowWatermarks = {}
    for each in grouped.to_pylist():
        is_over = each["seq_min"] == END_SEQ
        found.setdefault(each["run"], {})[each["kafka_partition"]] = OVER if is_over else each["low_watermark_max"]
    return found
