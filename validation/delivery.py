"""The delivery audit: by sequence number, what became of each row that was sent, stage by stage."""

from typing import Any, Literal, Self, cast

import duckdb
from pydantic import BaseModel

from streamproof.core.run import RowCounts, Run
from validation.csv_rows import FileCounts
from validation.stages import ReadByJob, ReceivedRows

RANGES_SHOWN = 20

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


def audit_rows(
    db: duckdb.DuckDBPyConnection,
    run: Run,
    files: dict[str, FileCounts] | None = None,
    received: ReceivedRows | None = None,
    read: ReadByJob | None = None,
) -> dict[str, CategoryRows]:
    """Compare the counts of manifest and files with the tables ``kafka_rows`` and ``dead_letters``.

    Where Kafka has rows that NiFi's ledger does not, the ledger is not of the whole run: its flow was replaced, or it
    is still to be written. Where rows went missing is then unknown, and so is what was received of a run that is over.
    """
    db.execute("CREATE OR REPLACE TABLE job_read (kafka_partition INTEGER, first BIGINT, stop BIGINT)")
    for partition, (first, stop) in (read.offsets if read else {}).items():
        db.execute("INSERT INTO job_read VALUES (?, ?, ?)", [partition, first, stop])
    strange = db.execute("SELECT DISTINCT category FROM kafka_rows WHERE category IS NOT NULL").fetchall()
    audited = {}
    for category in [*run.rows, *sorted({c for (c,) in strange} - set(run.rows))]:
        manifest = run.rows.get(category, RowCounts())
        counts = _count(db, category, manifest.sent)
        count, ranges = (None, []) if received is None else received.get(category, (0, []))
        is_whole = _has_all(db, ranges, manifest.sent) and count is not None
        missing = _missing(db, run, manifest, has_ledger=is_whole)
        under_way = sum(m.rows for m in missing if m.place == "under way")
        file = None if files is None else files.get(category, FileCounts(0, 0))
        audited[category] = CategoryRows(
            **counts | ({} if read else {"read": None}),
            accepted=file.accepted if file else None,
            rejected=file.rejected if file else None,
            sent=manifest.sent,
            resent=manifest.resent,
            confirmed=manifest.confirmed,
            received=count if is_whole or run.state == "running" else None,
            lost=sum(m.rows for m in missing) - under_way,
            under_way=under_way,
            missing=missing,
        )
    return audited


def _count(db: duckdb.DuckDBPyConnection, category: str, sent: int) -> dict[str, Any]:
    """Make the table ``fate``, a line for each row of a category; return what can be counted there."""
    db.execute(
        """
        CREATE OR REPLACE TABLE fate AS
        WITH arrived AS (
            SELECT seq, count(*) AS copies, bool_or(kafka_offset >= first AND kafka_offset < stop) AS is_read
            FROM kafka_rows LEFT JOIN job_read USING (kafka_partition) WHERE category = $category GROUP BY seq
        ),
        dead AS (SELECT seq, count(*) AS letters FROM dead_letters WHERE category = $category GROUP BY seq),
        sent AS (SELECT unnest(range(1, $sent + 1)) AS seq, true AS was_sent)
        SELECT seq, coalesce(was_sent, false) AS was_sent, copies, letters, is_read
        FROM sent FULL JOIN arrived USING (seq) FULL JOIN dead USING (seq)
        """,
        {"category": category, "sent": sent},
    )
    found = db.execute(
        """
        SELECT count(copies) FILTER (was_sent) AS kafka,
               count(letters) FILTER (was_sent)
                   + coalesce(sum(letters) FILTER (seq IS NULL), 0)::BIGINT AS dead_letters,
               count(letters) FILTER (was_sent AND copies IS NULL) AS only_dead_letters,
               coalesce(sum(copies - 1), 0)::BIGINT AS doubled,
               count(*) FILTER (was_sent AND is_read) AS read,
               count(copies) FILTER (NOT was_sent) AS never_sent
        FROM fate
        """
    )
    names = [column[0] for column in found.description]
    return dict(zip(names, cast("tuple[int, ...]", found.fetchone()), strict=True))


def _has_all(db: duckdb.DuckDBPyConnection, received: list[list[int]], sent: int) -> bool:
    """Make the table ``unreceived``, the gaps between what NiFi received; return whether Kafka has nothing of them."""
    firsts = [1, *(last + 1 for _, last in received)]
    lasts = [*(first - 1 for first, _ in received), sent]
    gaps = [(first, min(last, sent)) for first, last in zip(firsts, lasts, strict=True) if first <= min(last, sent)]
    db.execute(
        "CREATE OR REPLACE TABLE unreceived AS SELECT unnest(?::BIGINT[]) AS first, unnest(?::BIGINT[]) AS last",
        [[first for first, _ in gaps], [last for _, last in gaps]],
    )
    strange = "SELECT 1 FROM fate JOIN unreceived ON seq BETWEEN first AND last WHERE copies IS NOT NULL LIMIT 1"
    return db.execute(strange).fetchone() is None


def _missing(db: duckdb.DuckDBPyConnection, run: Run, manifest: RowCounts, *, has_ledger: bool) -> list[MissingRows]:
    """Make the table ``missing``: seq and place."""
    db.execute(
        """
        CREATE OR REPLACE TABLE missing AS
        SELECT seq, CASE WHEN seq > $given_up THEN 'under way'
                         WHEN NOT $has_ledger THEN 'unknown'
                         WHEN seq <= last THEN 'between edge and NiFi'
                         ELSE 'between NiFi and Kafka' END AS place
        FROM (SELECT seq FROM fate WHERE was_sent AND copies IS NULL AND letters IS NULL)
        ASOF LEFT JOIN unreceived ON seq >= first
        """,
        # Up to there the edge has forgotten them.
        {"given_up": manifest.confirmed_to if run.state == "running" else manifest.sent, "has_ledger": has_ledger},
    )
    found = db.execute("SELECT place, count(*) FROM missing GROUP BY place ORDER BY min(seq)").fetchall()
    return [MissingRows(place=place, rows=rows, ranges=_gaps(db, f"place = '{place}'")) for place, rows in found]


def _gaps(db: duckdb.DuckDBPyConnection, where: str) -> list[tuple[int, int]]:
    return db.execute(
        f"""
        SELECT min(seq), max(seq) FROM (
            SELECT seq, seq - row_number() OVER (ORDER BY seq) AS gap FROM missing WHERE {where}
        ) GROUP BY gap ORDER BY 1 LIMIT {RANGES_SHOWN}
        """
    ).fetchall()


def _say(missing: MissingRows) -> str:
    where = {"unknown": "lost", "under way": "under way"}.get(missing.place, f"lost {missing.place}")
    gaps = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in missing.ranges)
    return f"{missing.rows} rows are {where}: seq {gaps}{' …' if len(missing.ranges) == RANGES_SHOWN else ''}"
