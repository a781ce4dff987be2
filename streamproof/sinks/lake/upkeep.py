"""What keeps a table of the lake fast and small: compaction, expiry of snapshots, and the removal of lost files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    RemoveSnapshotsUpdate,
    TableMetadata,
    _apply_table_update,
    _TableMetadataUpdateContext,
)
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.typedef import EMPTY_DICT

from streamproof.sinks.lake.copies import Copy, is_finished, write_rows
from streamproof.sinks.lake.tables import file_system

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.update.snapshot import UpdateSnapshot

SNAPSHOTS = 100
"""How many snapshots of a table are kept, the newest: a commit takes longer the more there are."""

LOST_FOR = timedelta(days=1)
"""How old a file must be that no snapshot names: a commit under way has files that none names yet."""

_ROWS, _BYTES = 500_000, 64 << 20
"""A file is full with so many rows or bytes; so many are rewritten in memory at once."""

_FILES_OF_OPEN_RUN = 20
"""So many files of a partition are rewritten while its run goes on; of a finished run two are enough."""


def look_after(copy: Copy) -> None:
    """Compact a table, and let its old snapshots expire.

    Raises:
        FencedError: another one has written records to it meanwhile.

    """
    compact(copy)
    expire_snapshots(copy)


def compact(copy: Copy) -> int:
    """Rewrite small files of a partition into large ones; the new snapshot has the offsets of the one before.

    Returns:
        How many files are gone.

    """
    old: list[DataFile] = []
    new: list[DataFile] = []
    for files in _small_files(copy):
        rows = pa.concat_tables([_read(copy.table, file) for file in files])
        old += files
        new += write_rows(copy.table, rows)
    if not old:
        return 0

    def replace(update: UpdateSnapshot) -> None:
        there = {task.file.file_path for task in update._transaction._scan().plan_files()}
        if not there.issuperset(file.file_path for file in old):
            raise _ReplacedError
        whole = _ReplaceFiles(
            operation=Operation.REPLACE,
            transaction=update._transaction,
            io=update._io,
            snapshot_properties=update._snapshot_properties,
        )
        with whole:
            for file in old:
                whole.delete_data_file(file)
            for file in new:
                whole.append_data_file(file)

    try:
        copy.commit(replace, copy.held, copy.low_watermarks)
    except _ReplacedError:
        return 0
    return len(old) - len(new)


class _ReplacedError(Exception):
    """Raised when another one has rewritten the files meanwhile: to add these would double their rows."""


class _ReplaceFiles(_OverwriteFiles):
    """Files are replaced by others with the same rows, which pyiceberg 0.8 does not sum up."""

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        self._operation = Operation.DELETE  # what is deleted and what is added then both count
        return Summary(Operation.REPLACE, **super()._summary(snapshot_properties).additional_properties)


def _small_files(copy: Copy) -> Iterator[list[DataFile]]:
    """Yield files that become one: of one partition, in the order in which they were written."""
    partitions: dict[tuple[str | None, str | None], list[DataFile]] = {}
    for task in copy.table.scan().plan_files():
        file = task.file
        if file.record_count < _ROWS and file.file_size_in_bytes < _BYTES:
            partitions.setdefault((file.partition[0], file.partition[1]), []).append(file)
    for (run, _), files in partitions.items():
        if len(files) >= (2 if is_finished(copy.low_watermarks, run) else _FILES_OF_OPEN_RUN):
            yield from (group for group in _grouped(files) if len(group) > 1)


def _grouped(files: list[DataFile]) -> Iterator[list[DataFile]]:
    group: list[DataFile] = []
    for file in files:
        rows = sum(each.record_count for each in group) + file.record_count
        if group and (
            rows > _ROWS or sum(each.file_size_in_bytes for each in group) + file.file_size_in_bytes > _BYTES
        ):
            yield group
            group = []
        group.append(file)
    yield group


def _read(table: Table, file: DataFile) -> pa.Table:
    with table.io.new_input(file.file_path).open() as stream:
        return pyarrow.parquet.ParquetFile(stream).read()


def expire_snapshots(copy: Copy, keep: int = SNAPSHOTS) -> int:
    """Let all but the newest snapshots go; a snapshot that a tag or a branch names stays. Files are not removed.

    Returns:
        How many are gone.

    """
    table = copy.table
    named = {ref.snapshot_id for ref in table.metadata.refs.values()}
    by_age = sorted(table.snapshots(), key=lambda snapshot: snapshot.timestamp_ms)
    old = [each.snapshot_id for each in by_age[:-keep] if each.snapshot_id not in named]
    if old:
        newest = AssertRefSnapshotId.model_validate({"ref": "main", "snapshot-id": table.metadata.current_snapshot_id})
        try:
            with table.transaction() as transaction:
                transaction._apply((RemoveSnapshotsUpdate.model_validate({"snapshot-ids": old}),), (newest,))
        except CommitFailedException:  # a commit came in between: the next time will do
            copy.refresh()
            return 0
    return len(old)


@_apply_table_update.register(RemoveSnapshotsUpdate)
def _(
    update: RemoveSnapshotsUpdate, base_metadata: TableMetadata, context: _TableMetadataUpdateContext
) -> TableMetadata:
    """Do what pyiceberg 0.8 leaves to REST catalogues."""
    gone = set(update.snapshot_ids)
    context.add_update(update)
    return base_metadata.model_copy(
        update={
            "snapshots": [each for each in base_metadata.snapshots if each.snapshot_id not in gone],
            "snapshot_log": [each for each in base_metadata.snapshot_log if each.snapshot_id not in gone],
        }
    )


def remove_lost_files(table: Table, older_than: timedelta = LOST_FOR) -> int:
    """Remove files in the table's folder that no snapshot names: of killed writers, and of snapshots that are gone.

    Args:
        table: whose files.
        older_than: what is younger stays. It must be longer than any commit takes.

    Returns:
        How many files were removed.

    """
    scheme, _, folder = PyArrowFileIO.parse_location(table.location())
    before = datetime.now(UTC) - older_than
    files = file_system(table).get_file_info(pyarrow.fs.FileSelector(folder, recursive=True))
    old = {file.path for file in files if file.type == pyarrow.fs.FileType.File and file.mtime < before}
    table.refresh()  # only now: what is committed meanwhile is named
    lost = old - {PyArrowFileIO.parse_location(path)[2] for path in _named_files(table)}
    for path in lost:
        table.io.delete(f"{scheme}://{path}")
    return len(lost)


def _named_files(table: Table) -> Iterator[str]:
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    seen: set[str] = set()
    for snapshot in table.snapshots():
        if snapshot.manifest_list:
            yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                yield manifest.manifest_path
                yield from (entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))
