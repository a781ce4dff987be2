"""The delivery audit: by sequence number, what became of each row that was sent."""

import duckdb
from pydantic import BaseModel

from streams.run import Run
from validation.csv_rows import FileCounts

RANGES_SHOWN = 20


class CategoryRows(BaseModel):
    """A category's rows at each stage.

    Attributes:
        accepted: records of the file that fit the contract.
        rejected: records of the file that do not, as recomputed.
        sent: rows sent, by the manifest; their ``seq`` are 1 to ``sent``.
        confirmed: rows confirmed, by the manifest.
        kafka: of the rows sent, those that are in Kafka, each counted once.
        dead_letters: of the rows sent, those that are in the dead letters, each counted once, and the run's dead
            letters that tell no sequence number.
        only_dead_letters: of the rows sent, those that are in the dead letters and not in Kafka.
        lost: of the rows sent, those that are in neither.
        doubled: copies in Kafka beyond the first of each row.
        never_sent: rows in Kafka whose ``seq`` was not sent.
        lost_ranges: the first lost ``seq``, as [first, last] of each gap.

    """

    accepted: int
    rejected: int
    sent: int
    confirmed: int
    kafka: int
    dead_letters: int
    only_dead_letters: int
    lost: int
    doubled: int
    never_sent: int
    lost_ranges: list[tuple[int, int]]


def audit_rows(db: duckdb.DuckDBPyConnection, run: Run, files: dict[str, FileCounts]) -> dict[str, CategoryRows]:
    """Compare the manifest's and the file's counts with the tables ``kafka_rows`` and ``dead_letters``."""
    strange = db.execute("SELECT DISTINCT category FROM kafka_rows WHERE category IS NOT NULL").fetchall()
    categories = [*run.rows, *sorted({c for (c,) in strange} - set(run.rows))]
    return {category: _audit(db, run, category, files.get(category, FileCounts(0, 0))) for category in categories}


def _audit(db: duckdb.DuckDBPyConnection, run: Run, category: str, file: FileCounts) -> CategoryRows:
    manifest = run.rows.get(category)
    sent = manifest.sent if manifest else 0
    names = ("kafka", "dead_letters", "only_dead_letters", "lost", "doubled", "never_sent")
    db.execute(
        """
        CREATE OR REPLACE TABLE fate AS
        WITH arrived AS (SELECT seq, count(*) AS copies FROM kafka_rows WHERE category = $category GROUP BY seq),
        dead AS (SELECT seq, count(*) AS letters FROM dead_letters WHERE category = $category GROUP BY seq),
        sent AS (SELECT unnest(range(1, $sent + 1)) AS seq, true AS was_sent)
        SELECT seq, coalesce(was_sent, false) AS was_sent, copies, letters
        FROM sent FULL JOIN arrived USING (seq) FULL JOIN dead USING (seq)
        """,
        {"category": category, "sent": sent},
    )
    found = db.execute(
        """
        SELECT count(copies) FILTER (was_sent),
               count(letters) FILTER (was_sent) + coalesce(sum(letters) FILTER (seq IS NULL), 0)::BIGINT,
               count(letters) FILTER (was_sent AND copies IS NULL),
               count(*) FILTER (was_sent AND copies IS NULL AND letters IS NULL),
               coalesce(sum(copies - 1), 0)::BIGINT,
               count(copies) FILTER (NOT was_sent)
        FROM fate
        """
    ).fetchone()
    gaps = db.execute(
        f"""
        SELECT min(seq), max(seq) FROM (
            SELECT seq, seq - row_number() OVER (ORDER BY seq) AS gap
            FROM fate WHERE was_sent AND copies IS NULL AND letters IS NULL
        ) GROUP BY gap ORDER BY 1 LIMIT {RANGES_SHOWN}
        """
    ).fetchall()
    return CategoryRows(
        accepted=file.accepted,
        rejected=file.rejected,
        sent=sent,
        confirmed=manifest.confirmed if manifest else 0,
        lost_ranges=gaps,
        **dict(zip(names, found or (), strict=True)),
    )
