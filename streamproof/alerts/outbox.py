"""The outbox: which alerts are to be told whom, and who was told; in SQLite, so that it outlives whatever is killed.

An alert is noted for each receiver together with how far the topic was read, in one transaction. It is noted as
delivered, which is its receipt, after its receiver has taken it. A process that is killed between the two sends it once
more, with the same id.
"""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from validation.alert_events import AlertEvent

_TABLES = """
CREATE TABLE IF NOT EXISTS places (
    receiver TEXT, scope TEXT, topic TEXT, partition INTEGER, next INTEGER,
    PRIMARY KEY (receiver, scope, topic, partition));
CREATE TABLE IF NOT EXISTS messages (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    alert TEXT, state TEXT, number INTEGER, receiver TEXT, run TEXT, event TEXT, noted_at TEXT,
    tries INTEGER DEFAULT 0, problem TEXT, delivered_at TEXT,
    UNIQUE (alert, state, number, receiver));
CREATE INDEX IF NOT EXISTS waiting ON messages (receiver, place) WHERE delivered_at IS NULL;
"""


Result = TypeVar("Result")


class Waiting(NamedTuple):
    """An event that a receiver is still to be told, and its place in the outbox."""

    place: int
    event: AlertEvent


class Receipt(NamedTuple):
    """What a receiver was told of an alert, or is to be told (``delivered_at`` is None)."""

    alert: str
    state: str
    number: int
    run: str
    receiver: str
    noted_at: str
    tries: int
    problem: str | None
    delivered_at: str | None


class Outbox:
    """The outbox of a home; each call opens the database for itself, so threads and processes may share it.

    Args:
        file: the database.

    """

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self._do(lambda db: db.executescript(_TABLES))

    def places(self, receiver: str, scope: str) -> dict[tuple[str, int], int]:
        """Return for each topic and partition the offset behind what was noted for a receiver."""
        sql = "SELECT topic, partition, next FROM places WHERE receiver = ? AND scope = ?"
        return self._do(
            lambda db: {(topic, part): next_ for topic, part, next_ in db.execute(sql, (receiver, scope)).fetchall()}
        )

    def note(
        self, receivers: Iterable[str], scope: str, events: Iterable[AlertEvent], read: dict[tuple[str, int], int]
    ) -> None:
        """Note events for receivers, and up to before which offsets the topics were read; all of it, or nothing."""
        now, noted = _now(), list(events)

        def note(db: sqlite3.Connection) -> None:
            for receiver in receivers:
                db.executemany(
                    "INSERT OR IGNORE INTO messages (alert, state, number, receiver, run, event, noted_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(e.id, e.state, e.number, receiver, e.run, e.model_dump_json(), now) for e in noted],
                )
                db.executemany(
                    "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?)",
                    [(receiver, scope, topic, part, next_) for (topic, part), next_ in read.items()],
                )

        self._do(note)

    def first(self, receiver: str) -> Waiting | None:
        """Return what a receiver is to be told next."""
        sql = "SELECT place, event FROM messages WHERE receiver = ? AND delivered_at IS NULL ORDER BY place LIMIT 1"
        found = self._do(lambda db: db.execute(sql, (receiver,)).fetchone())
        return Waiting(found[0], AlertEvent.model_validate_json(found[1])) if found else None

    def waiting(self, receiver: str) -> int:
        """Return how much a receiver is still to be told."""
        sql = "SELECT count(*) FROM messages WHERE receiver = ? AND delivered_at IS NULL"
        return int(self._do(lambda db: db.execute(sql, (receiver,)).fetchone())[0])

    def deliver(self, place: int) -> None:
        """Note that a receiver has taken a message: its receipt."""
        sql = "UPDATE messages SET delivered_at = ?, tries = tries + 1, problem = NULL WHERE place = ?"
        self._do(lambda db: db.execute(sql, (_now(), place)))

    def fail(self, place: int, problem: str) -> None:
        """Note that a receiver has not taken a message, and why."""
        sql = "UPDATE messages SET tries = tries + 1, problem = ? WHERE place = ?"
        self._do(lambda db: db.execute(sql, (problem, place)))

    def receipts(self, run: str | None = None) -> list[Receipt]:
        """Return all receipts, and what is not delivered yet, in the order in which it was noted."""
        sql = (
            "SELECT alert, state, number, run, receiver, noted_at, tries, problem, delivered_at FROM messages "
            "WHERE ? IS NULL OR run = ? ORDER BY place"
        )
        return [Receipt(*row) for row in self._do(lambda db: db.execute(sql, (run, run)).fetchall())]

    def _do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        with closing(sqlite3.connect(self._file, timeout=30)) as db:
            db.execute("PRAGMA synchronous = FULL")
            with db:
                return work(db)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
