"""A database as a target: what its tables are called, how versions of them are told apart, and how it is read back.

Beside the tables that people read there are some of its own. ``streamproof_places`` has how far each sink has read,
``streamproof_tables`` the versions of the tables, ``streamproof_jobs`` what results have in common,
``streamproof_batches`` how far the lake's answers go, and ``streamproof_refused`` the records that no table has a place
for. The lake's answers stand in the table of the stream's, as those of a job of their own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, TypeVar

from confluent_kafka import Message

from streamproof.core.command import console
from streamproof.core.errors import UsageError
from streamproof.core.sql_quoting import literal, quoted
from streamproof.sinks.tables import Catalogue, Job, Kind, Refused, Rows, Table
from streamproof.sinks.target import FencedError, Place, Places
from streamproof.stack.live_sinks import LAKE

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
CREATE TABLE IF NOT EXISTS streamproof_batches (job bigint PRIMARY KEY, done_to {time} NOT NULL);
CREATE TABLE IF NOT EXISTS streamproof_refused (
    topic text, kafka_partition integer, kafka_offset bigint, reason text NOT NULL, record text NOT NULL,
    PRIMARY KEY (topic, kafka_partition, kafka_offset))
"""

_NEWEST = """
SELECT {what} FROM (
    SELECT job, run, row_number() OVER (PARTITION BY run ORDER BY submitted_at DESC NULLS LAST, job) AS place
    FROM streamproof_jobs WHERE question = {label} AND {who}
) AS jobs WHERE place = 1
"""
"""The newest job of each run, of the stream or of the lake."""
_STREAM, _LAKE = f"label <> '{LAKE}'", f"label = '{LAKE}'"

_ANSWERED = """
SELECT j.run, j.label AS job, {own} FROM {table} AS t JOIN streamproof_jobs AS j ON j.job = t.job
LEFT JOIN (
    SELECT of_run.run, {done_to} AS done_to FROM streamproof_batches AS b
    JOIN streamproof_jobs AS of_run ON of_run.job = b.job WHERE b.job IN ({of_lake})
) AS batch ON batch.run = j.run
WHERE t.job IN ({of_lake}) OR t.job IN ({of_stream}) AND {end}
"""
"""Answers, and which job they are of: those of the lake, and those of the stream whose windows end where asked."""

_DIFFERENCE = """
SELECT run, job, {own} FROM (
    SELECT a.*, {differs} AS _differs FROM ({answers}) AS a WHERE run IN ({runs})
    WINDOW same AS (PARTITION BY {key})
) AS compared WHERE _differs
"""
"""Answers that one of the two has and the other lacks, or of which a value differs."""
_DIFFERS: dict[Kind, str] = {
    "boolean": "min(CAST({0} AS integer)) OVER same <> max(CAST({0} AS integer)) OVER same",
    "double": "max({0}) OVER same - min({0}) OVER same > 1e-12 "
    "AND max({0}) OVER same - min({0}) OVER same > 1e-15 * abs(max({0}) OVER same)",
}
"""By the kind of a column, when two values differ: doubles as the verdict has it, others where they are not equal."""


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
    moment: ClassVar[str] = "{}"
    """What makes times of values, which can be compared."""

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

    def store_batch(self, table: Table, job: Job, blocks: Iterable[Rows], done_to: str) -> None:
        """Store the lake's answers in place of those that are there: all of it, or nothing.

        Args:
            table: of the question.
            job: what they have in common.
            blocks: the answers, some at a time.
            done_to: up to which window end there are all, in ISO 8601.

        Raises:
            StreamproofError: a value does not fit its column, or the database is away.

        """
        with self.transaction():
            self.lock("streamproof_batches")
            for line in self._open(table):
                console.print(line, markup=False, soft_wrap=True)
            self.execute(f"DELETE FROM {quoted(self._names[table.identity])} WHERE job = ?", job.number)
            self.execute("DELETE FROM streamproof_batches WHERE job = ?", job.number)
            self.execute("INSERT INTO streamproof_batches VALUES (?, ?)", job.number, done_to)
            for rows in blocks:
                list(self._insert(rows, self.fill(rows)))

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
        name, views = f"{table.view}_v{version}", self._views(f"{table.view}_v{version}", table)
        if (longer := max(map(len, (name, *views))) - _LONGEST_NAME) > 0:
            raise UsageError(f"{table.view}: too long for the names of its table and views: {longer} characters less")
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
        for view, select in views.items():
            self.execute(f"DROP VIEW IF EXISTS {quoted(view)}")
            self.execute(f"CREATE VIEW {quoted(view)} AS {select}")
        if are_alerts:
            known = self.execute(
                "SELECT DISTINCT view_name FROM streamproof_tables WHERE columns LIKE ? ORDER BY 1", '%"alert_state"%'
            )
            of_all = (_ALERTS.format(name=literal(view), view=quoted(view)) for (view,) in known)
            self.execute(f"CREATE VIEW alerts AS {' UNION ALL '.join(of_all)}")
        return name

    def _views(self, name: str, table: Table) -> dict[str, str]:
        """Return the views of a table, by their names."""
        views = {table.view: _select(name, table)}
        if not table.has_jobs or "alert_state" in table.columns:
            return views
        columns = {column: kind for column, kind in table.columns.items() if column != "job"}
        of_stream, of_lake = (_newest(table, who) for who in (_STREAM, _LAKE))
        end = self.moment.format("t.window_end")

        def answered(where: str) -> str:
            return _ANSWERED.format(
                own=", ".join(f"t.{quoted(column)}" for column in columns),
                table=quoted(name), done_to=self.moment.format("b.done_to"), of_lake=of_lake, of_stream=of_stream,
                end=where,
            )  # fmt: skip

        def differs(column: str, kind: Kind) -> str:
            value = self.moment.format(quoted(column)) if kind == "time" else quoted(column)
            values = _DIFFERS.get(kind, "min({0}) OVER same <> max({0}) OVER same").format(value)
            return f"count({value}) OVER same = 1 OR {values}"

        key = [self.moment.format(quoted(c)) if columns[c] == "time" else quoted(c) for c in table.key if c != "job"]
        values = [differs(column, kind) for column, kind in columns.items() if column not in table.key]
        return views | {
            f"{table.view}_batch": _select(name, table, _LAKE),
            f"{table.view}_both": answered(f"(batch.done_to IS NULL OR {end} > batch.done_to)"),
            f"{table.view}_difference": _DIFFERENCE.format(
                own=", ".join(map(quoted, columns)),
                differs=" OR ".join(["count(*) OVER same < 2", *values]),
                answers=answered(f"{end} <= batch.done_to"),
                runs=_newest(table, _STREAM, "run"),
                key=", ".join(["run", *key]),
            ),
        }

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


def _newest(table: Table, who: str, what: str = "job") -> str:
    return _NEWEST.format(what=what, label=literal(table.label), who=who)


def _select(name: str, table: Table, who: str = _STREAM) -> str:
    own = ", ".join(f"t.{quoted(column)}" for column in table.columns if column != "job")
    if not table.has_jobs:
        return f"SELECT {own} FROM {quoted(name)} AS t"
    if "alert_state" in table.columns:
        texts = (f"coalesce(CAST(t.{quoted(column)} AS text), 'NULL')" for column in table.alert_of)
        own += ", " + (" || ', ' || ".join(texts) or "''") + " AS alert_of"
    return (
        f"SELECT j.run, {own} FROM {quoted(name)} AS t JOIN streamproof_jobs AS j ON j.job = t.job "
        f"WHERE t.job IN ({_newest(table, who)})"
    )
