"""A table of the lake as its writer sees it: data files, and commits that hold how far Kafka was read.

The offsets behind the records that a snapshot holds stand in the snapshot's own properties, so that one commit stores
both. Each snapshot has them, also one that only rewrites files.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import write_file
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.table import WriteTask

from streamproof.core.errors import StreamproofError
from streamproof.sinks.lake.records import OVER, LowWatermarks
from streamproof.sinks.target import FencedError, Place, Places

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot
    from pyiceberg.table.update.snapshot import UpdateSnapshot

PARTITIONS = "streamproof.partitions"
"""Property of a snapshot: how many partitions the rows topic had. Only what all of them have passed is complete."""

OFFSETS, LOW_WATERMARKS = "streamproof.offsets", "streamproof.low-watermarks"
"""Properties of a snapshot, in JSON: ``{topic: {partition: next offset}}`` and ``{run: {partition: milliseconds}}``."""

_RUNS = 20
"""How many runs' low watermarks a snapshot has: those that were heard of last."""

_TRIES = 5
_LONGEST_NAME = 255


class Copy:
    """One of the three tables, for the one who writes it.

    Attributes:
        table: as it is in the catalogue, or was when it was last asked for.
        held: the offsets behind the records that it holds.
        low_watermarks: what these records say.
        partitions: how many the rows topic has.

    Raises:
        StreamproofError: the newest snapshot has no offsets, so somebody else has written it.

    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.held: dict[Place, int] = {}
        self.low_watermarks: LowWatermarks = {}
        self.partitions = 0
        self.refresh()

    @property
    def name(self) -> str:
        """The stream's name and the table's."""
        return ".".join(self.table.name()[-2:])

    def refresh(self) -> None:
        """Ask the catalogue for the newest snapshot."""
        self.table.refresh()
        self.held, self.low_watermarks = {}, {}
        if snapshot := self.table.current_snapshot():
            self.held, self.low_watermarks = offsets_of(snapshot, self.name), low_watermarks_of(snapshot)
            self.partitions = max(self.partitions, partitions_in(snapshot))

    def properties(self, held: Places, low_watermarks: LowWatermarks) -> dict[str, str]:
        """Return the properties of a snapshot."""
        offsets: dict[str, dict[str, int]] = {}
        for (topic, partition), offset in sorted(held.items()):
            offsets.setdefault(topic, {})[str(partition)] = offset
        newest = dict(list(low_watermarks.items())[-_RUNS:])
        return {
            OFFSETS: json.dumps(offsets),
            LOW_WATERMARKS: json.dumps(newest),
            PARTITIONS: str(self.partitions),
        }

    def append(self, rows: pa.Table, begins: Places, ends: Places, low_watermarks: LowWatermarks) -> None:
        """Append the rows that the table does not hold yet, and commit them with the offsets behind them.

        Raises:
            FencedError: another one has written to it meanwhile.

        """
        if any(self.held.get(place, -1) < begin for place, begin in begins.items()):
            raise FencedError(f"{self.name}: it holds less than before: somebody has rolled it back meanwhile")
        if all(self.held.get(place, -1) >= end for place, end in ends.items()):
            return
        files = list(write_rows(self.table, _unheld(rows, self.held)))
        held = self.held | {place: max(end, self.held.get(place, end)) for place, end in ends.items()}
        known = _later(self.low_watermarks, low_watermarks)

        def add(update: UpdateSnapshot) -> None:
            with update.fast_append() as append:
                for file in files:
                    append.append_data_file(file)

        self.commit(add, held, known)

    def commit(self, change: Callable[[UpdateSnapshot], None], held: Places, low_watermarks: LowWatermarks) -> None:
        """Commit a change of the table's files; where files alone were rewritten meanwhile, on top of that.

        Raises:
            FencedError: another one has written records to it meanwhile.

        """
        before = dict(self.held)
        for attempt in itertools.count(1):
            try:
                with self.table.transaction() as transaction:
                    change(transaction.update_snapshot(self.properties(held, low_watermarks)))
            except CommitFailedException:
                self.refresh()
                if self.held != before or attempt == _TRIES:
                    raise FencedError(
                        f"{self.name}: another writer has written to it meanwhile. A table has one writer: end the "
                        "other one, or this one"
                    ) from None
            else:
                self.held, self.low_watermarks = dict(held), low_watermarks
                return


def offsets_of(snapshot: Snapshot, name: str) -> dict[Place, int]:
    """Return how far was read what a snapshot holds.

    Raises:
        StreamproofError: it does not say so.

    """
    found = _property(snapshot, OFFSETS)
    if found is None:
        raise StreamproofError(
            f"{name}: its snapshot {snapshot.snapshot_id} has no offsets of Kafka ({OFFSETS}): somebody else has "
            "written to it, and which records it holds cannot be known. Roll the table back to the snapshot before "
            f"({snapshot.parent_snapshot_id}), or give streamproof a lake of its own (STREAMPROOF_LAKE_WAREHOUSE)"
        )
    return {(topic, int(part)): offset for topic, parts in found.items() for part, offset in parts.items()}


def low_watermarks_of(snapshot: Snapshot) -> LowWatermarks:
    """Return what the records of a snapshot say of their runs' low watermarks."""
    found = _property(snapshot, LOW_WATERMARKS) or {}
    return {run: {int(part): moment for part, moment in parts.items()} for run, parts in found.items()}


def partitions_in(snapshot: Snapshot) -> int:
    """Return how many partitions the rows topic had."""
    return int(snapshot.summary.additional_properties.get(PARTITIONS, 0)) if snapshot.summary else 0


def complete_to(low_watermarks: LowWatermarks, run: str, partitions: int) -> int | None:
    """Return the event time up to which every row of a run is there, ``OVER`` for all; None where that is not known."""
    told = low_watermarks.get(run, {})
    return min(told.values()) if len(told) >= partitions > 0 else None


def is_finished(low_watermarks: LowWatermarks, run: str | None) -> bool:
    """Whether no more rows of a run will come; also of a run that was not heard of for long."""
    return all(moment == OVER for moment in low_watermarks.get(run or "", {}).values())


def write_rows(table: Table, rows: pa.Table) -> Iterable[DataFile]:
    """Write rows into files of their own, one a partition; they belong to the table once they are committed."""
    names = [field.name for field in table.schema().fields]
    tasks = [
        _Task(
            write_uuid=uuid.uuid4(),
            task_id=number,
            schema=table.schema(),
            record_batches=part.select(names).combine_chunks().to_batches(),
            partition_key=PartitionKey(
                [PartitionFieldValue(field, key[field.name]) for field in table.spec().fields],
                table.spec(),
                table.schema(),
            ),
        )
        for number, (key, part) in enumerate(_by_partition(rows, [field.name for field in table.spec().fields]))
    ]
    return write_file(table.io, table.metadata, iter(tasks))


class _Task(WriteTask):
    """A file of a partition, whose folder bears the partition's name where no part of that is too long for a file's."""

    def generate_data_file_path(self, extension: str) -> str:
        path = super().generate_data_file_path(extension)
        is_short = max(map(len, path.split("/"))) <= _LONGEST_NAME
        return path if is_short else self.generate_data_file_filename(extension)


def _by_partition(rows: pa.Table, columns: list[str]) -> Iterable[tuple[dict[str, Any], pa.Table]]:
    keys = rows.select(columns).group_by(columns).aggregate([]).to_pylist()
    for key in keys:
        if len(keys) == 1:
            yield key, rows
            return
        is_here = [
            pc.is_null(rows[name]) if value is None else pc.equal(rows[name], value) for name, value in key.items()
        ]
        yield key, rows.filter(reduce(pc.and_, is_here))


def _unheld(rows: pa.Table, held: Mapping[Place, int]) -> pa.Table:
    """Leave out what a table holds already: it may be ahead of the others after a kill between their commits."""
    if not len(rows) or not held:
        return rows
    firsts = rows.group_by(["topic", "kafka_partition"]).aggregate([("kafka_offset", "min")]).to_pylist()
    for each in firsts:
        next_ = held.get((each["topic"], each["kafka_partition"]), 0)
        if each["kafka_offset_min"] < next_:
            is_there = pc.and_(
                pc.and_(
                    pc.equal(rows["topic"], each["topic"]), pc.equal(rows["kafka_partition"], each["kafka_partition"])
                ),
                pc.less(rows["kafka_offset"], next_),
            )
            rows = rows.filter(pc.invert(is_there))
    return rows


def _later(known: LowWatermarks, told: LowWatermarks) -> LowWatermarks:
    later = dict(known)
    for run, parts in told.items():
        before = later.pop(run, {})  # what was heard of last stands last
        later[run] = before | {part: max(moment, before.get(part, moment)) for part, moment in parts.items()}
    return later


def _property(snapshot: Snapshot, name: str) -> dict[str, dict[str, int]] | None:
    text = snapshot.summary.additional_properties.get(name) if snapshot.summary else None
    return None if text is None else cast("dict[str, dict[str, int]]", json.loads(text))
