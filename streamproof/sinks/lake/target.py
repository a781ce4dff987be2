"""The lake as a sink's target: three tables, each with commits and offsets of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from confluent_kafka import Message
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitStateUnknownException, RESTError
from sqlalchemy.exc import SQLAlchemyError

from streamproof.core.command import console
from streamproof.core.contract import Contract
from streamproof.core.errors import StreamproofError
from streamproof.core.settings import KafkaSettings
from streamproof.core.topics import partitions_of
from streamproof.sinks.lake.catalogue import first_line
from streamproof.sinks.lake.copies import Copy
from streamproof.sinks.lake.records import RecordColumns, Records
from streamproof.sinks.lake.tables import TABLES, ensure_table
from streamproof.sinks.lake.upkeep import look_after
from streamproof.sinks.target import Place, Places, TargetAwayError

_UPKEEP_EVERY = 20
"""Commits."""

_TRANSIENT = (OSError, SQLAlchemyError, RESTError, CommitStateUnknownException)


class LakeTarget:
    """Keeps the records of a stream's rows and dead letters in the lake.

    The three tables are committed one after the other. A writer that is killed in between leaves some of them ahead:
    the next one reads on from the least, and each table leaves out what it holds.

    Args:
        name: what people call the lake.
        catalogue: where its tables stand.
        contract: of the stream.
        kafka: tells how many partitions the rows topic has.
        note: is told of each run of which records were stored, once.

    Delivery: exactly once in each table, as the table's commit stores records and offsets together.

    """

    def __init__(
        self,
        name: str,
        catalogue: Catalog,
        contract: Contract,
        kafka: KafkaSettings,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = name
        self._columns, self._rows_topic, self._kafka = RecordColumns(contract), contract.topics.rows, kafka
        self._said = self._is_unsure = False
        self._commits = 0
        self._note, self._noted = note, set[str]()
        with _away(name):
            self._copies = {table: Copy(ensure_table(catalogue, contract, table)) for table in TABLES}

    def places(self) -> Places:
        """Return up to where all three tables have what was read."""
        with _away(self.name):
            for copy in self._copies.values():
                copy.refresh()
        held: list[dict[Place, int]] = [copy.held for copy in self._copies.values()]
        shared = set.intersection(*(set(each) for each in held))
        return {place: min(each[place] for each in held) for place in shared}

    def encode(self, records: Sequence[Message]) -> Records:
        """Make the tables' columns of records."""
        return self._columns.of(records)

    def store(self, block: Records, begins: Places, ends: Places) -> None:
        """Write the files of each table, and commit them with the offsets behind them."""
        if self._is_unsure:  # the answer to a commit was lost
            self.places()
        self._is_unsure = True
        if not self._commits:
            with suppress(StreamproofError):  # without it nothing is complete, until the next sink knows it
                partitions = len(partitions_of(self._rows_topic, self._kafka))
                for copy in self._copies.values():
                    copy.partitions = partitions
        with _away(self.name):
            for table, copy in self._copies.items():
                copy.append(block.tables[table], begins, ends, block.low_watermarks)
        self._is_unsure = False
        if block.strange and not self._said:
            self._said = True
            console.print(
                f"{self.name}: {block.strange} records of the rows topic are no rows of the contract: raw and backup "
                "have them, processed does not",
                markup=False,
            )
        for run in block.low_watermarks.keys() - self._noted:
            self._noted.add(run)
            self._note(run)
        self._commits += 1
        if self._commits % _UPKEEP_EVERY == 0:
            self.look_after()

    def look_after(self) -> None:
        """Rewrite small files into large ones, and let old snapshots go."""
        with _away(self.name):
            for copy in self._copies.values():
                look_after(copy)

    def close(self) -> None:
        """Nothing is left open."""


@contextmanager
def _away(name: str) -> Iterator[None]:
    """Say of what goes wrong at the catalogue or in the store of files whether it can be tried again."""
    try:
        yield
    except StreamproofError:
        raise
    except _TRANSIENT as error:
        raise TargetAwayError(f"{name}: {first_line(error)}") from error
    except Exception as error:  # boto's errors have their classes made when they are raised
        if type(error).__module__.startswith("botocore."):
            raise TargetAwayError(f"{name}: {first_line(error)}") from error
        raise
