"""A database as a target: what its tables are called, how versions of them are told apart, and how it is read back.

Beside the tables that people read there are some of its own. ``streamproof_places`` has how far each sink has read,
``streamproof_tables`` the versions of the tables, ``streamproof_jobs`` what results have in common, and
``streamproof_refused`` the records that no table has a place for.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, TypeVar

from confluent_kafka import Message

from streamproof.core.command import console
from streamproof.core.errors import UsageError
from streamproof.core.sql_quoting import literal, quoted
from streamproof.sinks.tables import Catalogue, Kind, Refused, Rows, Table
from streamproof.sinks.target import FencedError, Place, Places

Filled = TypeVar("Filled")
"""How a database takes the rows of a table."""

_LONGEST_NAME = 63  # of PostgreSQL

_OWN = """
CREATE TABLE IF NOT EXISTS streamproof_places (
    sink text, topic text, kafka_partition integer, next_offset bigint NOT NULL,
    PRIMARY KEY (sink, topic, kafka_partition));
CREATE TABLE IF NOT EXISTS streamproof_tables (
    table_name text PRIMARY KEY, view_name text NOT NULL, version integer NOT NULL, label text NOT NULL,
    title text NOT NULL, columns text NOT NULL, UNIQUE (view_name, version));
CREATE TABLE IF NOT EXISTS streamproof_jobs (
    job bigint PRIMARY KEY, label text NOT NULL, question text NOT NULL, run text NOT NULL,
    window_size bigint NOT NULL, window_slide bigint NOT NULL, window_kind text NOT NULL, submitted_at {time});
CREATE TABLE IF NOT EXISTS streamproof_refused (
    topic text, kafka_partition integer, kafka_offset bigint, reason text NOT NULL, record text NOT NULL,
    PRIMARY KEY (topic, kafka_partition, kafka_offset))
"""

_NEWEST = """
SELECT job FROM (
    SELECT job, row_number() OVER (PARTITION BY run ORDER BY submitted_at DESC NULLS LAST, job) AS place
    FROM streamproof_jobs WHERE question = {label}
) AS jobs WHERE place = 1
"""
"""The newest job of each run."""


_ALERTS = """
SELECT run, {name} AS alerts_of, alert_of, alert_state, alert_number, window_end AS happened_at, alert_begin, alert_id,
       alert_title
FROM {view}
"""
"""The part of the view of all alerts that has those of one question."""


class Database(ABC, Generic[Filled]):
    """A target whose tables are made from questions.

    Args:
        sink: under which name it notes how far it has read: a run, or ``live``.
        catalogue: tells which table a record belongs to.
        note: is told of each run of which results are stored, once.

    """

    name: str
    kinds: ClassVar[dict[Kind, str]]
    """The database's names for the kinds of columns."""

    def __init__(self, sink: str, catalogue: Catalogue, note: Callable[[str], None]) -> None:
        self._sink, self._catalogue, self._note = sink, catalogue, note
        self._noted: set[str] = set()
        self._names: dict[tuple[str, str, str], str] = {}

    @abstractmethod
    def close(self) -> None:
        """Leave the database."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Do all of it, or nothing; errors are those of a target."""

    @abstractmethod
    def execute(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute a statement, with ``?`` for values; return its rows, or what it changed."""

    @abstractmethod
    def changed(self, sql: str, *values: object) -> int:
        """Execute a statement; return how many rows it has changed."""

    @abstractmethod
    def fill(self, rows: Rows) -> Filled:
        """Make rows ready, in another thread."""

    @abstractmethod
    def insert(self, table: str, rows: Rows, filled: Filled) -> None:
        """Insert rows; where the table has one of the same key, that one stays."""

    @abstractmethod
    def unique(self, columns: Sequence[str]) -> str:
        """Return what makes a key unique, NULLs too, in ``CREATE TABLE`` or behind it."""

    @abstractmethod
    def lock(self, table: str) -> None:
        """Wait until no other transaction writes to a table, and let none do it until this one ends."""

    def create_own_tables(self) -> None:
        """Create the tables that people need not read."""
        with self.transaction():
            for statement in _OWN.format(time=self.kinds["time"]).split(";"):
                self.execute(statement)

    def places(self) -> Places:
        """Return how far this sink has read."""
        with self.transaction():
            self.lock("streamproof_places")
            found = self.execute(
                "SELECT topic, kafka_partition, next_offset FROM streamproof_places WHERE sink = ?", self._sink
            )
        return {(topic, partition): end for topic, partition, end in found}

    def encode(self, records: Sequence[Message]) -> tuple[list[tuple[Rows, Filled]], list[Refused]]:
        """Sort records into tables."""
        found, refused = self._catalogue.rows_of(records)
        return [(rows, self.fill(rows)) for rows in found], refused

    def store(self, block: tuple[list[tuple[Rows, Filled]], list[Refused]], begins: Places, ends: Places) -> None:
        """Store rows and offsets."""
        tables, refused = block
        try:
            with self.transaction():
                for place in sorted(ends):
                    self._move(place, begins.get(place), ends[place])
                news = [line for rows, filled in tables if rows.messages for line in self._insert(rows, filled)]
                for each in refused:
                    self.execute("INSERT INTO streamproof_refused VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", *each)
        except BaseException:
            self._names.clear()  # what was made is made no more
            raise
        news += [f"{self.name}: {e.topic}/{e.partition}/{e.offset} fits no table: {e.reason}" for e in refused[:1]]
        for run in {job.run for rows, _ in tables for job in rows.jobs} - self._noted:
            self._note(run)
            self._noted.add(run)
        for line in news:
            console.print(line, markup=False, soft_wrap=True)

    def _move(self, place: Place, begin: int | None, end: int) -> None:
        if begin is None:
            changed = self.changed(
                "INSERT INTO streamproof_places VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", self._sink, *place, end
            )
        else:
            changed = self.changed(
                "UPDATE streamproof_places SET next_offset = ? "
                "WHERE sink = ? AND topic = ? AND kafka_partition = ? AND next_offset = ?",
                *(end, self._sink, *place, begin),
            )
        if not changed:
            raise FencedError(
                f"{self.name}: another sink has stored what follows {place[0]}/{place[1]}/{begin or 0}: only one at a "
                "time can, so this one ends"
            )

    def _insert(self, rows: Rows, filled: Filled) -> Iterator[str]:
        if rows.table.identity not in self._names:
            yield from self._open(rows.table)
        for job in rows.jobs:
            self.execute("INSERT INTO streamproof_jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", *job)
        self.insert(self._names[rows.table.identity], rows, filled)

    def table_name(self, table: Table) -> str | None:
        """Return the name of a version of a table; None where it is not there."""
        found = self.execute(
            "SELECT table_name FROM streamproof_tables WHERE view_name = ? AND label = ? AND columns = ?",
            *table.identity,
        )
        return found[0][0] if found else None

    def _open(self, table: Table) -> Iterator[str]:
        """Find or make a version of a table; say where it is not the first."""
        self.lock("streamproof_tables")  # another sink may be about to make the same
        if (name := self.table_name(table)) is None:
            ((newest,),) = self.execute(
                "SELECT coalesce(max(version), 0) FROM streamproof_tables WHERE view_name = ?", table.view
            )
            name = self._create(table, newest + 1)
            if newest:
                yield f"{self.name}: {table.label} is new, or has other columns: it has a table of its own, {name}"
        self._names[table.identity] = name

    def _create(self, table: Table, version: int) -> str:
        name = f"{table.view}_v{version}"
        if len(name) > _LONGEST_NAME:
            raise UsageError(f"{table.view}: too long for the name of a table: {_LONGEST_NAME - 3} characters at most")
        columns = ", ".join(f"{quoted(column)} {self.kinds[kind]}" for column, kind in table.columns.items())
        self.execute(f"CREATE TABLE {quoted(name)} ({columns})")
        self.execute(f"CREATE UNIQUE INDEX {quoted(f'{name}_key')} ON {quoted(name)} {self.unique(table.key)}")
        self.execute(
            "INSERT INTO streamproof_tables VALUES (?, ?, ?, ?, ?, ?)",
            *(name, table.view, version, table.label, table.title, table.identity[2]),
        )
        are_alerts = "alert_state" in table.columns
        if are_alerts:
            self.execute("DROP VIEW IF EXISTS alerts")
        self.execute(f"DROP VIEW IF EXISTS {quoted(table.view)}")
        self.execute(f"CREATE VIEW {quoted(table.view)} AS {_select(name, table)}")
        if are_alerts:
            known = self.execute(
                "SELECT DISTINCT view_name FROM streamproof_tables WHERE columns LIKE ? ORDER BY 1", '%"alert_state"%'
            )
            of_all = (_ALERTS.format(name=literal(view), view=quoted(view)) for (view,) in known)
            self.execute(f"CREATE VIEW alerts AS {' UNION ALL '.join(of_all)}")
        return name

    def read(self, table: Table, columns: Sequence[str], run: str, job: str) -> Iterator[list[tuple[str | None, ...]]]:
        """Yield a job's results of a run that a table has, as texts: job, window's size, slide, kind, then columns."""
        if name := self.table_name(table):
            own = ", ".join(self.as_text(column, table.columns[column]) for column in columns)
            yield from self.fetch(
                f"SELECT jobs.label, {self.as_text('window_size', 'integer')}, "
                f"{self.as_text('window_slide', 'integer')}, window_kind, {own} FROM {quoted(name)} "
                f"JOIN streamproof_jobs AS jobs USING (job) "
                f"WHERE jobs.run = {literal(run)} AND jobs.label = {literal(job)}"
            )

    @abstractmethod
    def as_text(self, column: str, kind: Kind) -> str:
        """Return an expression for a column as text, exact; times in UTC, without a zone."""

    @abstractmethod
    def fetch(self, sql: str) -> Iterator[list[tuple[str | None, ...]]]:
        """Yield the rows of a query, some at a time."""


def _select(name: str, table: Table) -> str:
    own = ", ".join(f"t.{quoted(column)}" for column in table.columns if column != "job")
    if not table.has_jobs:
        return f"SELECT {own} FROM {quoted(name)} AS t"
    if "alert_state" in table.columns:
        texts = (f"coalesce(CAST(t.{quoted(column)} AS text), 'NULL')" for column in table.alert_of)
        own += ", " + (" || ', ' || ".join(texts) or "''") + " AS alert_of"
    newest = _NEWEST.format(label=literal(table.label))
    return (
        f"SELECT j.run, {own} FROM {quoted(name)} AS t JOIN streamproof_jobs AS j ON j.job = t.job "
        f"WHERE t.job IN ({newest})"
    )
