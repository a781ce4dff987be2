"""The delivery audit: by sequence number, what became of each row that was sent, stage by stage."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import duckdb
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
        manifests = [run.rows.get(category, RowCounts()) for category in categories]
        counts = _count(db, manifests, categories)
        whole = _have_all(db, manifests, categories, received)
        missing = _missing(db, run, manifests, whole)
        differing = _differing(db, contents) if contents and any(c["doubled"] for c in counts) else {}
        for place, (category, manifest) in enumerate(zip(categories, manifests, strict=True)):
            under_way = sum(m.rows for m in missing[place] if m.place == "under way")
            file = None if files is None else files.get(category, FileCounts(0, 0))
            count = None if received is None else received.get(category, (0, []))[0]
            audited[category] = CategoryRows(
                **counts[place] | ({} if read else {"read": None}),
                accepted=file.accepted if file else None,
                rejected=file.rejected if file else None,
                sent=manifest.sent,
                resent=manifest.resent,
                confirmed=manifest.confirmed,
                received=count if whole[place] or run.state == "running" else None,
                differing=differing.get(place, 0),
                lost=sum(m.rows for m in missing[place]) - under_way,
                under_way=under_way,
                missing=missing[place],
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


def _count(db: duckdb.DuckDBPyConnection, manifests: list[RowCounts], categories: list[str]) -> list[dict[str, Any]]:
    """Make the table ``fate``, a line for each row of some categories; return what can be counted there of each.

    The table ``counted`` has the categories: their place, name, and rows sent.
    """
    db.execute(
        "CREATE OR REPLACE TABLE counted AS "
        "SELECT unnest(range(len($names)))::INTEGER AS place, unnest($names) AS category, "
        "unnest($sent::BIGINT[]) AS sent",
        {"names": categories, "sent": [manifest.sent for manifest in manifests]},
    )
    db.execute(
        """
        CREATE OR REPLACE TABLE fate AS
        WITH arrived AS (
            SELECT place, seq, count(*) AS copies, bool_or(kafka_offset >= first AND kafka_offset < stop) AS is_read
            FROM kafka_rows JOIN counted USING (category) LEFT JOIN job_read USING (kafka_partition)
            GROUP BY place, seq
        ),
        dead AS (
            SELECT place, seq, count(*) AS letters FROM dead_letters JOIN counted USING (category) GROUP BY place, seq
        ),
        sent AS (SELECT place, unnest(range(1, sent + 1)) AS seq, true AS was_sent FROM counted)
        SELECT place, seq, coalesce(was_sent, false) AS was_sent, copies, letters, is_read
        FROM sent FULL JOIN arrived USING (place, seq) FULL JOIN dead USING (place, seq)
        """
    )
    found = db.execute(
        """
        SELECT place,
               count(copies) FILTER (was_sent) AS kafka,
               count(letters) FILTER (was_sent)
                   + coalesce(sum(letters) FILTER (seq IS NULL), 0)::BIGINT AS dead_letters,
               count(letters) FILTER (was_sent AND copies IS NULL) AS only_dead_letters,
               coalesce(sum(copies - 1), 0)::BIGINT AS doubled,
               count(seq) FILTER (was_sent AND is_read) AS read,
               count(copies) FILTER (NOT was_sent) AS never_sent
        FROM counted LEFT JOIN fate USING (place) GROUP BY place ORDER BY place
        """
    )
    _, *names = [column[0] for column in found.description]
    return [dict(zip(names, counts, strict=True)) for _, *counts in found.fetchall()]


def _have_all(
    db: duckdb.DuckDBPyConnection, manifests: list[RowCounts], categories: list[str], received: ReceivedRows | None
) -> list[bool]:
    """Make the table ``unreceived``, the gaps between what NiFi received; return of which Kafka has nothing of them."""
    gaps = []
    for place, category in enumerate(categories):
        sent = manifests[place].sent
        ranges = [] if received is None else received.get(category, (0, []))[1]
        firsts, lasts = [1, *(last + 1 for _, last in ranges)], [*(first - 1 for first, _ in ranges), sent]
        gaps += [
            (place, first, min(last, sent))
            for first, last in zip(firsts, lasts, strict=True)
            if first <= min(last, sent)
        ]
    db.execute(
        "CREATE OR REPLACE TABLE unreceived AS "
        "SELECT unnest(?::INTEGER[]) AS place, unnest(?::BIGINT[]) AS first, unnest(?::BIGINT[]) AS last",
        [list(column) for column in zip(*gaps, strict=True)] if gaps else [[], [], []],
    )
    if received is None:
        return [False] * len(manifests)
    strange = db.execute(
        """
        SELECT DISTINCT fate.place FROM (SELECT place, seq FROM fate WHERE copies IS NOT NULL) AS fate
        ASOF JOIN unreceived ON fate.place = unreceived.place AND seq >= first WHERE seq <= last
        """
    ).fetchall()
    return [place not in {p for (p,) in strange} for place in range(len(manifests))]


def _missing(
    db: duckdb.DuckDBPyConnection, run: Run, manifests: list[RowCounts], has_ledger: list[bool]
) -> list[list[MissingRows]]:
    """Return the missing rows of each category."""
    # Up to there the edge has forgotten them.
    given_up = [m.confirmed_to if run.state == "running" else m.sent for m in manifests]
    db.execute(
        """
        CREATE OR REPLACE TABLE missing AS
        WITH known AS (
            SELECT unnest(range(len($given_up)))::INTEGER AS place, unnest($given_up::BIGINT[]) AS given_up,
                   unnest($has_ledger::BOOLEAN[]) AS has_ledger
        ),
        absent AS (
            SELECT place, seq, given_up, has_ledger FROM fate JOIN known USING (place)
            WHERE was_sent AND copies IS NULL AND letters IS NULL
        )
        SELECT absent.place, seq,
               CASE WHEN seq > given_up THEN 'under way'
                    WHEN NOT has_ledger THEN 'unknown'
                    WHEN seq <= last THEN 'between edge and NiFi'
                    ELSE 'between NiFi and Kafka' END AS stage
        FROM absent ASOF LEFT JOIN unreceived ON absent.place = unreceived.place AND seq >= first
        """,
        {"given_up": given_up, "has_ledger": has_ledger},
    )
    found: list[list[MissingRows]] = [[] for _ in manifests]
    for place, stage, rows, ranges in db.execute(
        f"""
        WITH gaps AS (
            SELECT place, stage, min(seq) AS first, max(seq) AS last FROM (
                SELECT *, seq - row_number() OVER (PARTITION BY place, stage ORDER BY seq) AS gap FROM missing
            ) GROUP BY place, stage, gap
        )
        SELECT place, stage, sum(last - first + 1)::BIGINT, list([first, last] ORDER BY first)[:{RANGES_SHOWN}]
        FROM gaps GROUP BY place, stage ORDER BY place, min(first)
        """
    ).fetchall():
        found[place].append(MissingRows(place=stage, rows=rows, ranges=ranges))
    return found


def _differing(db: duckdb.DuckDBPyConnection, contents: Contents) -> dict[int, int]:
    """Return, by a category's place, how many of its doubled rows differ from copy to copy."""
    rows = db.execute(
        f"""
        SELECT place, seq, kafka_partition, kafka_offset
        FROM kafka_rows JOIN counted USING (category) JOIN fate USING (place, seq)
        WHERE copies > 1 ORDER BY place, seq LIMIT {_MOST_COPIES}
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
