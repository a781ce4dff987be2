"""The lake's tables as views in DuckDB: at their newest snapshots, or as they were when one of them was made."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import duckdb
import pyarrow.dataset
from pyiceberg.io.pyarrow import PyArrowFileIO, schema_to_pyarrow

from streamproof.core.command import console
from streamproof.core.errors import UsageError
from streamproof.core.sql_quoting import literal, quoted
from streamproof.sinks.lake.copies import offsets_of
from streamproof.sinks.lake.tables import TABLES, file_system, find_table

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

_LOOK_S = 0.2


def streams_of(catalogue: Catalog) -> list[str]:
    """Return the names of the streams that the lake holds."""
    return sorted(".".join(namespace) for namespace in catalogue.list_namespaces())


def create_lake_views(
    db: duckdb.DuckDBPyConnection, catalogue: Catalog, stream: str, at: int | None = None
) -> dict[str, Snapshot | None]:
    """Create the views ``raw``, ``processed``, ``backup``, and one of the stream's name, which has each row once.

    They stand in a schema of the stream's name, which becomes the current one.

    Args:
        db: where they are made.
        catalogue: of the lake.
        stream: its name.
        at: a snapshot of one of the tables. Of the others it is the newest that had read Kafka no further.

    Returns:
        Which snapshot each of the three shows; None where a table is empty.

    Raises:
        UsageError: the lake has no such stream, or no such snapshot.

    """
    tables = {name: find_table(catalogue, stream, name) for name in TABLES}
    shown = {name: table.current_snapshot() for name, table in tables.items()}
    if at is not None:
        shown = _snapshots_at(tables, at)
    db.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(stream)}")
    for name, table in tables.items():
        create_view(db, f"{quoted(stream)}.{name}", table, shown[name])
    db.execute(f"SET schema = {literal(stream)}")
    db.execute(
        f"CREATE OR REPLACE VIEW {quoted(stream)} AS SELECT DISTINCT ON (run, category, seq) * FROM "
        f"{quoted(stream)}.processed"
    )
    return shown


def create_view(db: duckdb.DuckDBPyConnection, view: str, table: Table, snapshot: Snapshot | None) -> None:
    """Create a view of a snapshot of a table; of no snapshot it is empty."""
    files = []
    if snapshot:
        files = sorted(task.file.file_path for task in table.scan(snapshot_id=snapshot.snapshot_id).plan_files())
    scheme, _, _ = PyArrowFileIO.parse_location(table.location())
    paths = [PyArrowFileIO.parse_location(file)[2] for file in files]
    if paths and scheme == "file":
        listed = ", ".join(map(literal, paths))
        source = f"read_parquet([{listed}], hive_partitioning = false)"
    else:
        rows = pyarrow.dataset.dataset(
            paths,
            schema=schema_to_pyarrow(table.schema(), include_field_ids=False),
            filesystem=file_system(table),
            format="parquet",
        )
        source = f"lake_{len(db.execute('SELECT view_name FROM duckdb_views()').fetchall())}"
        db.register(source, rows)
    db.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {source}")


def _snapshots_at(tables: dict[str, Table], at: int) -> dict[str, Snapshot | None]:
    for name, table in tables.items():
        if found := table.snapshot_by_id(at):
            limit = offsets_of(found, name)
            return {
                other: found
                if other == name
                else next(
                    (
                        each
                        for each in sorted(of.snapshots(), key=lambda s: -s.timestamp_ms)
                        if all(offset <= limit.get(place, 0) for place, offset in offsets_of(each, other).items())
                    ),
                    None,
                )
                for other, of in tables.items()
            }
    raise UsageError(f"no table has a snapshot {at}: `streamproof lake tables` lists those that are kept")


def run_query(db: duckdb.DuckDBPyConnection, query: str, present: Callable[[duckdb.DuckDBPyRelation], object]) -> None:
    """Run a query, hand its answer to ``present``, and tell how far it is where it takes long.

    Raises:
        UsageError: DuckDB refuses it, or it fails.

    """

    def work() -> None:
        relation = db.sql(query)
        if relation is None:
            raise UsageError("only a query can be asked: SELECT, or what gives rows as well")
        present(relation)

    with console.status("") as status, ThreadPoolExecutor(1) as beside:
        done = beside.submit(work)
        try:
            while wait([done], _LOOK_S).not_done:
                if (progress := db.query_progress()) > 0:
                    status.update(f"{progress:.0f} %")
            done.result()
        except KeyboardInterrupt:
            db.interrupt()
            raise
        except duckdb.Error as error:
            raise UsageError(f"DuckDB: {' '.join(str(error).split())}") from None
