"""The delivery audit: by sequence number, what became of each row that was sent, stage by stage."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Self

import duckdb
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from streamproof.core.run import RowCounts, Run
from validation.csv_rows import FileCounts
from validation.stages import ReadByJob, ReceivedRows

RANGES_SHOWN = 20

_ROWS_AT_ONCE = 1_000_000
_MOST_COPIES = 200_000  # looked at again, of the categories that are counted at once

Contents = Callable[[list[tuple[int, int]]], dict[tuple[int, int], int]]
"""Tells what is in records of the rows topic, given as (partition, offset): equal numbers for equal rows."""

Place = Literal["between edge and NiFi", "between NiFi and Kafka", "unknown", "under way"]
"""Where a missing row is, or went: NiFi has not received it, or has; ``unknown`` where NiFi does not tell; ``under
way`` while the run goes on and the row is unconfirmed, so that the edge still has it and sends it again."""


class MissingRows(BaseModel):
    """Rows that were sent and are neither in Kafka nor in the dead letters.

    Attributes:
        place: where they are.
        rows: how many.
        ranges: the first of their ``seq``, as [first, last] of each gap.

    """

    place: Place
    rows: int
    ranges: list[tuple[int, int]]


class CategoryRows(BaseModel):
    """A category's rows at each stage.

    Attributes:
        accepted: records of the file that fit the contract; None where the file was not read.
        rejected: records of the file that do not, as recomputed; None likewise.
        sent: rows sent, by the manifest; their ``seq`` are 1 to ``sent``.
        resent: rows sent again, by the manifest, each time counted.
        confirmed: rows confirmed, by the manifest.
        received: rows that NiFi received and committed, each as often as it came; None where that is not known.
        kafka: of the rows sent, those that are in Kafka, each counted once.
        doubled: copies in Kafka beyond the first of each row.
        differing: rows in Kafka of which two copies differ in more than the low watermark, so that they are none: two
            runs bear the id. Of very many copies only the first ones are compared.
        dead_letters: of the rows sent, those that are in the dead letters, each counted once, and the run's dead
            letters that tell no sequence number.
        only_dead_letters: of the rows sent, those that are in the dead letters and not in Kafka.
        read: of the rows in Kafka, those that the job had read at its last checkpoint; None where that is not known.
        lost: of the rows sent, those that are neither in Kafka nor in the dead letters, nor under way.
        under_way: of the rows sent, those that are not there yet and that the edge still has.
        never_sent: rows in Kafka whose ``seq`` was not sent.
        missing: the lost rows and those under way, by place.

    """

    accepted: int | None
    rejected: int | None
    sent: int
    resent: int
    confirmed: int
    received: int | None
    kafka: int
    doubled: int
    differing: int = 0
    dead_letters: int
    only_dead_letters: int
    read: int | None
    lost: int
    under_way: int
    never_sent: int
    missing: list[MissingRows]

    def say_missing(self) -> list[str]:
        """Say in words which rows are missing, and where; empty where none is."""
        return [_say(missing) for missing in self.missing]

    def say_differing(self, run: str) -> list[str]:
        """Say that two runs bear the same id; empty where none do."""
        if not self.differing:
            return []
        return [
            f"{self.differing} rows are in Kafka with different contents: two runs bear the id {run}. "
            "Replay the file under another id"
        ]


class RowTotals(BaseModel):
    """The rows of all categories; see ``CategoryRows``. None where that is not known of one of them."""

    sent: int
    resent: int
    received: int | None
    kafka: int
    doubled: int
    dead_letters: int
    read: int | None
    lost: int
    under_way: int

    @classmethod
    def of(cls, categories: dict[str, CategoryRows]) -> Self:
        """Add the categories up."""
        counts = {name: [getattr(rows, name) for rows in categories.values()] for name in cls.model_fields}
        return cls.model_validate({name: None if None in each else sum(each) for name, each in counts.items()})


def is_settled(rows: dict[str, CategoryRows], received: ReceivedRows | None, read: ReadByJob | None) -> bool:
    """Whether NiFi's and Flink's answers hold all that Kafka has: they follow it by a second or so."""
    return all(
        (received is None or r.received is not None) and (read is None or r.read == r.kafka) for r in rows.values()
    )


def audit_rows(  # noqa: PLR0917 - what is compared
    db: duckdb.DuckDBPyConnection,
    run: Run,
    files: dict[str, FileCounts] | None = None,
    received: ReceivedRows | None = None,
    read: ReadByJob | None = None,
    contents: Contents | None = None,
) -> dict[str, CategoryRows]:
    """Compare the counts of manifest and files with the tables ``kafka_rows`` and ``dead_letters``.

    Where Kafka has rows that NiFi's ledger does not, the ledger is not of the whole run: its flow was replaced, or it
    is still to be written. Where rows went missing is then unknown, and so is what was received of a run that is over.
    """
    db.execute("CREATE OR REPLACE TABLE job_read (kafka_partition INTEGER, first BIGINT, stop BIGINT)")
    for partition, (first, stop) in (read.offsets if read else {}).items():
        db.execute("INSERT INTO job_read VALUES (?, ?, ?)", [partition, first, stop])
    found = db.execute("SELECT DISTINCT category FROM kafka_rows WHERE category IS NOT NULL").fetchall()
    strange = sorted({category for (category,) in found} - set(run.rows))
    audited = {}
    for categories in _together([*run.rows, *strange], run):
        fates = _fates(db, [run.rows.get(category, RowCounts()).sent for category in categories], categories)
        others = _others(db)
        doubled = any(np.any(fate.copies > 1) for fate in fates) or any(odd.doubled for odd in others.values())
        differing = _differing(db, contents) if contents and doubled else {}
        for place, (category, fate) in enumerate(zip(categories, fates, strict=True)):
            manifest = run.rows.get(category, RowCounts())
            gaps = _gaps(manifest.sent, [] if received is None else received.get(category, (0, []))[1])
            whole = received is not None and not any(np.any(fate.copies[a - 1 : b]) for a, b in gaps)
            missing = _missing(fate, manifest.confirmed_to if run.state == "running" else manifest.sent, gaps, whole)
            under_way = sum(m.rows for m in missing if m.place == "under way")
            odd = others.get(place, _Others())
            file = None if files is None else files.get(category, FileCounts(0, 0))
            audited[category] = CategoryRows(
                accepted=file.accepted if file else None,
                rejected=file.rejected if file else None,
                sent=manifest.sent,
                resent=manifest.resent,
                confirmed=manifest.confirmed,
                received=None
                if received is None or not (whole or run.state == "running")
                else received.get(category, (0, []))[0],
                kafka=np.count_nonzero(fate.copies),
                doubled=int(np.maximum(fate.copies, 1).sum(dtype=np.int64)) - manifest.sent + odd.doubled,
                differing=differing.get(place, 0),
                dead_letters=np.count_nonzero(fate.is_dead) + odd.letters,
                only_dead_letters=np.count_nonzero(fate.is_dead & (fate.copies == 0)),
                read=np.count_nonzero(fate.is_read) if read else None,
                lost=sum(m.rows for m in missing) - under_way,
                under_way=under_way,
                never_sent=odd.never_sent,
                missing=missing,
            )
    return audited


def _together(categories: list[str], run: Run) -> Iterator[list[str]]:
    """Yield categories that are counted at once: what that takes follows from their rows, and from each time."""
    group: list[str] = []
    rows = 0
    for category in categories:
        sent = run.rows[category].sent if category in run.rows else 0
        if group and rows + sent > _ROWS_AT_ONCE:
            yield group
            group, rows = [], 0
        group.append(category)
        rows += sent
    if group:
        yield group


class _Fate(NamedTuple):
    """What became of each row that was sent of a category: that with the sequence number ``seq`` stands at seq - 1."""

    copies: npt.NDArray[np.int32]
    is_read: npt.NDArray[np.bool_]
    is_dead: npt.NDArray[np.bool_]


class _Others(NamedTuple):
    """What there is of a category beside the rows that were sent."""

    never_sent: int = 0
    doubled: int = 0
    letters: int = 0


def _fates(db: duckdb.DuckDBPyConnection, sent: list[int], categories: list[str]) -> list[_Fate]:
    """Return what became of the rows of some categories, and make the table ``counted`` of these.

    The table has the place, name, and rows sent of each.
    """
    db.execute(
        "CREATE OR REPLACE TABLE counted AS "
        "SELECT unnest(range(len($names)))::INTEGER AS place, unnest($names) AS category, "
        "unnest($sent::BIGINT[]) AS sent",
        {"names": categories, "sent": sent},
    )
    ends = np.cumsum([0, *sent])
    all_rows = _Fate(np.zeros(ends[-1], np.int32), np.zeros(ends[-1], np.bool_), np.zeros(ends[-1], np.bool_))
    arrived = (
        "SELECT place, seq - 1 AS row, coalesce(kafka_offset >= first AND kafka_offset < stop, false) AS is_read "
        "FROM kafka_rows JOIN counted USING (category) LEFT JOIN job_read USING (kafka_partition) "
        "WHERE seq BETWEEN 1 AND sent"
    )
    for place, row, is_read in _columns(db, arrived):
        at = ends[place] + row
        np.add.at(all_rows.copies, at, 1)
        all_rows.is_read[at[is_read]] = True
    dead = "SELECT place, seq - 1 AS row FROM dead_letters JOIN counted USING (category) WHERE seq BETWEEN 1 AND sent"
    for place, row in _columns(db, dead):
        all_rows.is_dead[ends[place] + row] = True
    copies, is_read, is_dead = all_rows
    return [_Fate(copies[a:b], is_read[a:b], is_dead[a:b]) for a, b in itertools.pairwise(ends)]


def _columns(db: duckdb.DuckDBPyConnection, query: str) -> Iterator[list[npt.NDArray[Any]]]:
    """Yield the columns of what a query finds, some rows at a time."""
    for batch in db.sql(query).to_arrow_reader(_ROWS_AT_ONCE):
        yield [column.to_numpy(zero_copy_only=False) for column in batch]


def _others(db: duckdb.DuckDBPyConnection) -> dict[int, _Others]:
    """Return by place what there is of the counted categories beside the rows that were sent."""
    found = db.execute(
        """
        WITH odd AS (
            SELECT place, seq, count(*) AS copies FROM kafka_rows JOIN counted USING (category)
            WHERE seq IS NULL OR seq NOT BETWEEN 1 AND sent GROUP BY place, seq
        ),
        letters AS (
            SELECT place, count(*) AS letters FROM dead_letters JOIN counted USING (category)
            WHERE seq IS NULL GROUP BY place
        )
        SELECT place, coalesce(never_sent, 0), coalesce(doubled, 0)::BIGINT, coalesce(letters, 0)
        FROM (SELECT place, count(*) AS never_sent, sum(copies - 1) AS doubled FROM odd GROUP BY place)
        FULL JOIN letters USING (place)
        """
    )
    return {place: _Others(*counts) for place, *counts in found.fetchall()}


def _gaps(sent: int, received: list[list[int]]) -> list[tuple[int, int]]:
    """Return the gaps between what NiFi received of so many rows, as [first, last] of ``seq``."""
    firsts, lasts = [1, *(last + 1 for _, last in received)], [*(first - 1 for first, _ in received), sent]
    return [(a, min(b, sent)) for a, b in zip(firsts, lasts, strict=True) if a <= min(b, sent)]


def _missing(fate: _Fate, given_up: int, gaps: list[tuple[int, int]], has_ledger: bool) -> list[MissingRows]:
    """Return the missing rows of a category; up to ``given_up`` the edge has forgotten them."""
    absent = np.flatnonzero((fate.copies == 0) & ~fate.is_dead) + 1
    is_unreceived = np.zeros(len(absent), np.bool_)
    for first, last in gaps:
        a, b = np.searchsorted(absent, [first, last + 1])
        is_unreceived[a:b] = True
    is_lost = absent <= given_up
    of_place: dict[Place, npt.NDArray[np.bool_]] = {
        "unknown": is_lost & (not has_ledger),
        "between edge and NiFi": is_lost & has_ledger & is_unreceived,
        "between NiFi and Kafka": is_lost & has_ledger & ~is_unreceived,
        "under way": ~is_lost,
    }
    found = []
    for place, is_there in of_place.items():
        if len(seqs := absent[is_there]):
            breaks = np.flatnonzero(np.diff(seqs) > 1)
            ranges = np.stack([seqs[np.append(0, breaks + 1)], seqs[np.append(breaks, -1)]], axis=1)
            found.append(MissingRows(place=place, rows=len(seqs), ranges=ranges[:RANGES_SHOWN].tolist()))
    return sorted(found, key=lambda missing: missing.ranges[0])


def _differing(db: duckdb.DuckDBPyConnection, contents: Contents) -> dict[int, int]:
    """Return, by a category's place, how many of its doubled rows differ from copy to copy."""
    rows = db.execute(
        f"""
        SELECT place, seq, kafka_partition, kafka_offset
        FROM kafka_rows JOIN counted USING (category) SEMI JOIN (
            FROM kafka_rows JOIN counted USING (category) SELECT place, seq GROUP BY place, seq HAVING count(*) > 1
        ) USING (place, seq)
        ORDER BY place, seq LIMIT {_MOST_COPIES}
        """
    ).fetchall()
    found = contents([(partition, offset) for *_, partition, offset in rows])
    copies: dict[tuple[int, int], set[int]] = {}
    for place, seq, partition, offset in rows:
        if (partition, offset) in found:
            copies.setdefault((place, seq), set()).add(found[partition, offset])
    return Counter(place for (place, _), different in copies.items() if len(different) > 1)


def _say(missing: MissingRows) -> str:
    where = {"unknown": "lost", "under way": "under way"}.get(missing.place, f"lost {missing.place}")
    gaps = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in missing.ranges)
    return f"{missing.rows} rows are {where}: seq {gaps}{' …' if len(missing.ranges) == RANGES_SHOWN else ''}"
