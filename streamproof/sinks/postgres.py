"""PostgreSQL as a target, from version 15 on: rows come by COPY, with the offsets in the same transaction."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.sql_quoting import quoted
from streamproof.sinks.database import Database
from streamproof.sinks.tables import Catalogue, Column, Kind, Rows
from streamproof.sinks.target import TargetAwayError

_OLDEST = 15
"""Before it, a unique index could not count NULLs as equal."""

_CONNECT: dict[str, str | int] = {
    "application_name": "streamproof",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_AT_A_TIME = 50_000
_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_PASSING = re.compile("starting up|shutting down|recovery|too many|remaining connection slots")
"""What a server says that will take connections later."""


def where(dsn: SecretStr) -> str:
    """Return which database a DSN names, without its password.

    Raises:
        UsageError: it cannot be read.

    """
    try:
        named = conninfo_to_dict(dsn.get_secret_value())
    except psycopg.Error:  # whose text may hold the password
        named = {"host": "@"}
    host = str(named.get("host") or named.get("hostaddr") or "localhost")
    port = str(named.get("port") or 5432)
    if "@" in host or not port.isdigit():
        raise UsageError(
            "STREAMPROOF_POSTGRES_DSN cannot be read: write postgresql://user:password@host:port/database; "
            "in a password, @ is %40 and / is %2F"
        )
    return f"{host}:{port}/{named.get('dbname') or named.get('user') or ''}"


class Postgres(Database[str]):
    """A database of PostgreSQL.

    Args:
        dsn: where it is; never printed.
        sink, catalogue, note: as for every database.

    Raises:
        UsageError: the DSN cannot be used, the server is too old, or the database is of another shape.
        TargetAwayError: nobody answers there.

    """

    kinds: ClassVar[dict[Kind, str]] = {
        "text": "text",
        "integer": "bigint",
        "decimal": "numeric",
        "double": "double precision",
        "boolean": "boolean",
        "time": "timestamptz",
    }

    def __init__(self, dsn: SecretStr, sink: str, catalogue: Catalogue, note: Callable[[str], None]) -> None:
        super().__init__(sink, catalogue, note)
        self._dsn = dsn
        self.name = f"PostgreSQL at {where(dsn)}"
        self._db: psycopg.Connection | None = None
        with self.transaction():
            self.execute("SELECT pg_advisory_xact_lock(hashtext('streamproof'))")  # not two sinks at once
            self.create_own_tables()

    def close(self) -> None:
        """Leave the server."""
        if self._db:
            self._db.close()

    def _connection(self) -> psycopg.Connection:
        if self._db is None or self._db.closed:
            self._names.clear()
            try:
                conninfo = make_conninfo(self._dsn.get_secret_value(), **_CONNECT)
                self._db = psycopg.connect(conninfo, autocommit=True)
            except psycopg.OperationalError as error:
                text = " ".join(str(error).split())
                if "FATAL" in text and not _PASSING.search(text):
                    raise UsageError(f"{self.name} refuses: {text}") from None
                raise TargetAwayError(f"{self.name} is away: {text}") from None
            if (version := self._db.info.server_version // 10_000) < _OLDEST:
                raise UsageError(f"{self.name} is of version {version}: {_OLDEST} or newer is needed")
            self._db.execute("SET TIME ZONE 'UTC'")
        return self._db

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of it, or nothing."""
        try:
            with self._connection().transaction():
                yield
        except (errors.DataError, errors.IntegrityError) as error:
            raise StreamproofError(f"{self.name}: {_explained(error)}") from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            with suppress(psycopg.Error):
                self.close()
            raise TargetAwayError(f"{self.name} is away: {_explained(error)}") from error
        except psycopg.Error as error:
            raise UsageError(
                f"{self.name}: {_explained(error)}: its tables are of another shape, or this user may not use them; "
                "give streamproof a database of its own"
            ) from error

    def execute(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute a statement."""
        cursor = self._connection().execute(*_for_psycopg(sql, values))
        return cursor.fetchall() if cursor.description else []

    def changed(self, sql: str, *values: object) -> int:
        """Execute a statement."""
        return self._connection().execute(*_for_psycopg(sql, values)).rowcount

    def lock(self, table: str) -> None:
        """Wait for the transactions of others."""
        self.execute(f"LOCK TABLE {quoted(table)} IN SHARE ROW EXCLUSIVE MODE")

    def unique(self, columns: Sequence[str]) -> str:
        """Count NULLs as equal."""
        return f"({', '.join(map(quoted, columns))}) NULLS NOT DISTINCT"

    def fill(self, rows: Rows) -> str:
        """Write rows as COPY reads them."""
        return "\n".join(map("\t".join, zip(*map(_escaped, rows.columns), strict=True)))

    def insert(self, table: str, rows: Rows, filled: str) -> None:
        """Copy rows straight into the table; by way of a table of their own only where a key is there already."""
        if not filled:
            return
        db = self._connection()
        columns = ", ".join(map(quoted, rows.table.columns))
        try:
            try:
                with db.transaction():
                    self._copy(f"{quoted(table)} ({columns})", filled)
            except errors.UniqueViolation:
                self.execute(f"CREATE TEMPORARY TABLE stage (LIKE {quoted(table)}) ON COMMIT DROP")
                self._copy(f"stage ({columns})", filled)
                self.execute(f"INSERT INTO {quoted(table)} TABLE stage ON CONFLICT DO NOTHING")
                self.execute("DROP TABLE stage")
        except errors.DataError as error:
            raise StreamproofError(f"{self.name}: {_explained(error)}{_which(error, rows)}") from error

    def _copy(self, into: str, block: str) -> None:
        with self._connection().cursor() as cursor, cursor.copy(f"COPY {into} FROM STDIN".encode()) as copy:
            copy.write(block)

    def as_text(self, column: str, kind: Kind) -> str:
        """Return a column as text."""
        return f"({quoted(column)} AT TIME ZONE 'UTC')::text" if kind == "time" else f"{quoted(column)}::text"

    def fetch(self, sql: str) -> Iterator[list[tuple[str | None, ...]]]:
        """Yield the rows of a query."""
        with self.transaction(), self._connection().cursor("streamproof") as cursor:
            cursor.execute(sql.encode())
            while found := cursor.fetchmany(_AT_A_TIME):
                yield found


def _for_psycopg(sql: str, values: tuple[object, ...]) -> tuple[bytes, tuple[object, ...] | None]:
    """Return a statement as psycopg has it; one without values is left as it is, whatever its names."""
    return (sql.replace("?", "%s").encode(), values) if values else (sql.encode(), None)


def _escaped(column: Column) -> list[str]:
    text = "".join(filter(None, column))
    if any(special in text for special in "\\\t\n\r"):
        column = [value and value.translate(_ESCAPED) for value in column]
    return [r"\N" if value is None else value for value in column] if None in column else column  # type: ignore[return-value]


def _explained(error: psycopg.Error) -> str:
    return (error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__).rstrip(".")


def _which(error: psycopg.Error, rows: Rows) -> str:
    """Say which record has a value that its column cannot hold."""
    found = re.search(r"line (\d+)(?:, column (\S+?):)?", error.diag.context or "")
    if not found:
        return ""
    column = f", column {found[2]}" if found[2] else ""
    return f" ({rows.origin(int(found[1]) - 1)}{column})"
