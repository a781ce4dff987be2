"""SQLite as a target: one file, no server."""

import math
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from streamproof.core.errors import UsageError
from streamproof.core.sql_quoting import quoted
from streamproof.sinks.database import Database
from streamproof.sinks.tables import Catalogue, Kind, Rows
from streamproof.sinks.target import TargetAwayError

_DIGITS = 15
"""A number with a fraction is a double there, which keeps so many."""

_BUSY_S = 30.0
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_AT_A_TIME = 50_000


class Sqlite(Database[list[tuple[object, ...]]]):
    """A file of SQLite.

    Args:
        file: made where there is none.
        sink, catalogue, note: as for every database.

    Raises:
        UsageError: the file is none of SQLite's, or of another shape.

    """

    kinds: ClassVar[dict[Kind, str]] = {
        "text": "text",
        "integer": "integer",
        "decimal": "numeric",
        "double": "real",
        "boolean": "boolean",
        "time": "text",
    }
    moment = "julianday({})"

    def __init__(self, file: Path, sink: str, catalogue: Catalogue, note: Callable[[str], None]) -> None:
        super().__init__(sink, catalogue, note)
        self.name = f"SQLite in {file}"
        try:
            self._db = sqlite3.connect(file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise UsageError(f"{self.name}: {error}") from error
        self.create_own_tables()

    def close(self) -> None:
        """Leave the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of it, or nothing."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _PASSING:
                raise UsageError(
                    f"{self.name}: {error}: its tables are of another shape, or it cannot be written"
                ) from error
            raise TargetAwayError(f"{self.name} takes nothing: {error}") from error
        except sqlite3.Error as error:
            raise UsageError(f"{self.name}: {error}") from error

    def execute(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute a statement."""
        return self._db.execute(sql, values).fetchall()

    def changed(self, sql: str, *values: object) -> int:
        """Execute a statement."""
        return self._db.execute(sql, values).rowcount

    def lock(self, table: str) -> None:
        """Do nothing: a transaction has the whole file for itself."""

    def unique(self, columns: Sequence[str]) -> str:
        """Count NULLs as equal."""
        return "(" + ", ".join(f"ifnull({quoted(column)}, x'')" for column in columns) + ")"

    def fill(self, rows: Rows) -> list[tuple[object, ...]]:
        """Turn texts into values."""
        columns = [
            [_value(kind, value, rows, n) for n, value in enumerate(column)]
            for kind, column in zip(rows.table.columns.values(), rows.columns, strict=True)
        ]
        return list(zip(*columns, strict=True))

    def insert(self, table: str, rows: Rows, filled: list[tuple[object, ...]]) -> None:
        """Insert rows."""
        places = ", ".join("?" * len(rows.table.columns))
        self._db.executemany(f"INSERT INTO {quoted(table)} VALUES ({places}) ON CONFLICT DO NOTHING", filled)

    def as_text(self, column: str, kind: Kind) -> str:
        """Return a column; ``fetch`` makes texts of values."""
        return f"rtrim({quoted(column)}, 'Z')" if kind == "time" else quoted(column)

    def fetch(self, sql: str) -> Iterator[list[tuple[str | None, ...]]]:
        """Yield the rows of a query."""
        with self.transaction():
            cursor = self._db.execute(sql)
            while found := cursor.fetchmany(_AT_A_TIME):
                yield [tuple(None if value is None else str(value) for value in row) for row in found]


def _value(kind: Kind, text: str | None, rows: Rows, number: int) -> object:
    if text is None or kind == "text":
        return text
    if kind == "time":
        return f"{text.removesuffix('Z')}Z"
    try:
        if kind == "boolean":
            return {"true": 1, "false": 0}[text]
        if kind == "integer":
            return _within_64_bits(int(text))
        value = float(text if kind == "double" else _with_few_digits(text))
    except (ValueError, KeyError):
        raise UsageError(
            f"{text!r} does not fit a column of SQLite ({kind}; numbers have up to {_DIGITS} digits): "
            f"{rows.origin(number)}. PostgreSQL keeps any number"
        ) from None
    return value if math.isfinite(value) else text


def _with_few_digits(text: str) -> str:
    if not re.fullmatch(r"-?[0-9.eE+-]+", text) or len(re.sub(r"\D", "", text).strip("0")) > _DIGITS:
        raise ValueError
    return text


def _within_64_bits(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number
