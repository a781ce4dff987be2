"""The tables of a stream in the lake: ``raw``, ``processed`` and ``backup``, in the namespace of the stream's name.

- ``raw``: each record of the rows topic as it came, but for heartbeats and end marks.
- ``processed``: of each row the contract's fields with their types, beside run, category, seq and event_time.
- ``backup``: each record of the rows topic and of the dead letters, whatever it is.

Each is partitioned by run and category; both are NULL where a record does not tell them. Times are in UTC, without a
zone, as questions have them. Each table holds a row as often as Kafka does.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pyarrow as pa
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DecimalType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
)

from streamproof.core.errors import UsageError

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from streamproof.core.contract import Contract, ContractField

TABLES = ("raw", "processed", "backup")

_PARTITIONED_BY = ("run", "category")
_PLACE: dict[str, IcebergType] = {
    "kafka_partition": IntegerType(),
    "kafka_offset": LongType(),
    "kafka_time": TimestampType(),
}
_ROW: dict[str, IcebergType] = {"run": StringType(), "category": StringType(), "seq": LongType()}
_RAW = _ROW | {"event_time": TimestampType(), **_PLACE, "value": StringType()}
_BACKUP = _ROW | {"topic": StringType(), **_PLACE, "kafka_key": BinaryType(), "value": BinaryType()}

_IN_ARROW: dict[IcebergType, pa.DataType] = {
    StringType(): pa.string(),
    LongType(): pa.int64(),
    IntegerType(): pa.int32(),
    BooleanType(): pa.bool_(),
    BinaryType(): pa.binary(),
    TimestampType(): pa.timestamp("us"),
}

PROPERTIES = {
    "write.parquet.row-group-limit": "122880",  # as DuckDB writes it: threads share out a file by its row groups
    "write.metadata.metrics.column.value": "none",
    "write.metadata.metrics.column.kafka_key": "none",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
}


def columns_of_table(name: str, contract: Contract) -> dict[str, IcebergType]:
    """Return the columns of one of the stream's tables, and their types in Iceberg."""
    if name == "raw":
        return _RAW
    if name == "backup":
        return _BACKUP
    return _ROW | {"event_time": TimestampType()} | {n: _type_of(field) for n, field in contract.fields.items()}


def _type_of(field: ContractField) -> IcebergType:
    if field.scale is not None:
        return DecimalType(38 if field.is_wide else 18, field.scale)
    return {"text": StringType(), "integer": LongType(), "boolean": BooleanType(), "time": TimestampType()}[field.type]


def ensure_table(catalogue: Catalog, contract: Contract, name: str) -> Table:
    """Return a table of the stream; it is made where it is missing.

    Raises:
        UsageError: it is there with other columns than the contract has.

    """
    columns = columns_of_table(name, contract)
    fields = [NestedField(n, column, kind, required=False) for n, (column, kind) in enumerate(columns.items(), 1)]
    schema = Schema(*fields)
    identifier = (contract.name, name)
    try:
        table = catalogue.load_table(identifier)
    except NoSuchTableError:
        with suppress(NamespaceAlreadyExistsError):
            catalogue.create_namespace(contract.name)
        partition = PartitionSpec(
            *(
                PartitionField(schema.find_field(column).field_id, 1000 + n, IdentityTransform(), column)
                for n, column in enumerate(_PARTITIONED_BY)
            )
        )
        try:
            table = catalogue.create_table(identifier, schema, partition_spec=partition, properties=PROPERTIES)
        except TableAlreadyExistsError:  # another one was faster
            table = catalogue.load_table(identifier)
    found = {field.name: field.field_type for field in table.schema().fields}
    if found != columns:
        differing = [n for n in {**found, **columns} if found.get(n) != columns.get(n)]
        raise UsageError(
            f"the lake's table {contract.name}.{name} has other columns than the contract: {', '.join(differing)}. "
            "Give the stream a new name, or a lake of its own (STREAMPROOF_HOME, STREAMPROOF_LAKE_WAREHOUSE)"
        )
    return table


def find_table(catalogue: Catalog, stream: str, name: str) -> Table:
    """Return a table of a stream.

    Raises:
        UsageError: the lake has no such table.

    """
    try:
        return catalogue.load_table((stream, name))
    except NoSuchTableError:
        raise UsageError(
            f"the lake has no table {stream}.{name}: `streamproof sink lake --stream {stream}` fills it"
        ) from None


def file_system(table: Table) -> pa.fs.FileSystem:
    """Return the file system in which a table's files are."""
    scheme, netloc, _ = PyArrowFileIO.parse_location(table.location())
    return cast("PyArrowFileIO", table.io).fs_by_scheme(scheme, netloc)


def arrow_type(kind: IcebergType) -> pa.DataType:
    """Return a type as Arrow has it."""
    if isinstance(kind, DecimalType):
        return pa.decimal128(kind.precision, kind.scale)
    return _IN_ARROW[kind]
