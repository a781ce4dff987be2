"""What the lake holds, by its own metadata: tables, files, snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from streamproof.sinks.lake.copies import low_watermarks_of, offsets_of

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog


class ListedSnapshot(BaseModel):
    """A snapshot: its id, when it was made (milliseconds since the epoch), and what it has of Kafka."""

    id: int
    made_at: int
    operation: str
    offsets: dict[str, int]
    low_watermarks: dict[str, dict[int, int]]


class ListedTable(BaseModel):
    """A table: its rows, its files and their bytes at the newest snapshot; its snapshots, the newest first."""

    stream: str
    name: str
    rows: int
    files: int
    bytes: int
    snapshots: list[ListedSnapshot]


def list_tables(catalogue: Catalog) -> list[ListedTable]:
    """Return the tables of all streams.

    Raises:
        StreamproofError: somebody else has written to one of them.

    """
    listed = []
    for namespace in sorted(catalogue.list_namespaces()):
        for identifier in sorted(catalogue.list_tables(namespace)):
            table, name = catalogue.load_table(identifier), ".".join(identifier[-2:])
            files = [task.file for task in table.scan().plan_files()]
            listed.append(
                ListedTable(
                    stream=".".join(namespace),
                    name=name,
                    rows=sum(file.record_count for file in files),
                    files=len(files),
                    bytes=sum(file.file_size_in_bytes for file in files),
                    snapshots=[
                        ListedSnapshot(
                            id=each.snapshot_id,
                            made_at=each.timestamp_ms,
                            operation=each.summary.operation.value if each.summary else "",
                            offsets={f"{topic}/{part}": n for (topic, part), n in offsets_of(each, name).items()},
                            low_watermarks=low_watermarks_of(each),
                        )
                        for each in sorted(table.snapshots(), key=lambda snapshot: -snapshot.timestamp_ms)
                    ],
                )
            )
    return listed
