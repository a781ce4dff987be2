"""What the windows say of products: questions to the table ``kafka_windows`` of a run that is being read.

A "product" is whatever the contract's key names, a "rating" whatever its measure is.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import duckdb

from validation.jobs import Job, windows_of

POINTS = 400
"""Points of a line at most; of a longer series each n-th window is shown."""

BINS = 20


def bin_width(bounds: tuple[float, float]) -> float:
    """Return how wide each of ``BINS`` equal parts of the bounds is; 1 where the bounds are one number."""
    return (bounds[1] - bounds[0]) / BINS or 1.0


class Product(NamedTuple):
    """A product: its category, its key, and how many rows of it the windows hold."""

    category: str
    key: str
    rows: int


class Series(NamedTuple):
    """A product's average over time.

    Attributes:
        ends: window ends, milliseconds since the epoch.
        averages: the average of each window.
        counts: the rows of each window.
        step: 1 when each window is there, n when each n-th is.

    """

    ends: list[int]
    averages: list[float | None]
    counts: list[int]
    step: int


def sampled_lines(series: Iterable[Series]) -> str:
    """Return the end of a caption that says so where not every window of the lines is there."""
    step = max((each.step for each in series), default=1)
    return f"; sampled: of the longest line each {step}th window is drawn" if step > 1 else ""


class Mover(NamedTuple):
    """A product in a window, and its average in the window before that does not overlap.

    None: it is not there, or the job writes neither averages nor sums.
    """

    category: str
    key: str
    rows: int
    average: float | None
    before: float | None


class WindowSize(NamedTuple):
    """How much lies in a window: its end, the products in it, their rows."""

    end: int
    products: int
    rows: int


def sampled_sizes(sizes: Sequence[WindowSize], slide: int) -> str:
    """Return the same for windows that would follow each other by ``slide`` milliseconds."""
    step = round((sizes[-1].end - sizes[0].end) / slide / max(1, len(sizes) - 1)) if sizes else 1
    return f"; sampled: each {step}th window is drawn" if step > 1 else ""


class Windows:
    """The windows of one job.

    Args:
        db: a connection of the caller's own.
        job: whose windows.
        category: only of this one; None for all.

    """

    def __init__(self, db: duckdb.DuckDBPyConnection, job: Job, category: str | None = None) -> None:
        self._db, self._job = db, job
        # Of a job that writes no averages they are taken from the sums, if it writes these.
        db.execute(
            "CREATE OR REPLACE TEMP MACRO of_job() AS TABLE "
            "SELECT * REPLACE (coalesce(average, (total / n)::DOUBLE) AS average) "
            f"FROM ({windows_of(job, 'main.kafka_windows')})"
            + (f" WHERE category = '{_quoted(category)}'" if category else "")
        )
        self._covering = f"window_start % {job.size} = 0 AND window_end = window_start + {job.size}"
        """Whole windows that do not overlap: each row is in one of them."""

    def newest(self, closed_by: int) -> int | None:
        """Return the end of the newest window that ends no later than ``closed_by``, else of the first; or None."""
        found = self._db.execute(
            "SELECT coalesce(max(window_end) FILTER (window_end <= ?), min(window_end)) FROM of_job()", [closed_by]
        ).fetchone()
        return found[0] if found else None

    def search(self, begin: str, limit: int = 8) -> list[Product]:
        """Return the products whose key begins like that, those with most rows first."""
        found = self._db.execute(
            f"""
            SELECT category, key, sum(n)::BIGINT AS rows FROM of_job()
            WHERE {self._covering} AND starts_with(lower(key), lower(?))
            GROUP BY ALL ORDER BY rows DESC, category, key LIMIT {limit}
            """,
            [begin],
        ).fetchall()
        return [Product(*row) for row in found]

    def series(self, category: str, key: str) -> Series:
        """Return a product's average over time."""
        found = self._db.execute(
            f"""
            WITH mine AS (
                SELECT window_end, average, n,
                       row_number() OVER (ORDER BY window_end) AS number, count(*) OVER () AS all_
                FROM of_job() WHERE category = ? AND key = ?
            )
            SELECT window_end, average, n, greatest(1, ceil(all_ / {POINTS}))::BIGINT AS step
            FROM mine WHERE (all_ - number) % step = 0 ORDER BY window_end
            """,
            [category, key],
        ).fetchall()
        return Series([r[0] for r in found], [r[1] for r in found], [r[2] for r in found], found[0][3] if found else 1)

    def distribution(self, window_end: int, bounds: tuple[float, float]) -> list[int]:
        """Return how many products of a window have their average in each of ``BINS`` equal parts of the bounds."""
        return self._bins("SELECT average FROM of_job() WHERE window_end = ?", [window_end], bounds)

    def distribution_of_run(self, bounds: tuple[float, float]) -> list[int]:
        """Return the same for the averages of all rows."""
        averages = f"""
            SELECT (sum(total) / sum(n))::DOUBLE AS average FROM of_job()
            WHERE {self._covering} GROUP BY category, key
            """
        return self._bins(averages, [], bounds)

    def _bins(self, averages: str, parameters: list[int], bounds: tuple[float, float]) -> list[int]:
        found = dict(
            self._db.execute(
                f"""
                SELECT least({BINS - 1}, greatest(0, floor((average - ?) / ? + 1e-9)))::BIGINT AS bin, count(*)
                FROM ({averages}) WHERE average IS NOT NULL GROUP BY bin
                """,
                [bounds[0], bin_width(bounds), *parameters],
            ).fetchall()
        )
        return [found.get(each, 0) for each in range(BINS)]

    def bounds(self) -> tuple[float, float]:
        """Return the least and the greatest measure of any window."""
        found = self._db.execute("SELECT min(least)::DOUBLE, max(greatest)::DOUBLE FROM of_job()").fetchone()
        return (found[0], found[1]) if found and found[0] is not None else (0.0, 1.0)

    def most_rated(self, window_end: int, limit: int = 8) -> list[Mover]:
        """Return the products with most rows in a window."""
        return self._movers(window_end, "o.n DESC", limit)

    def most_changed(self, window_end: int, limit: int = 8) -> list[Mover]:
        """Return the products whose average differs most from that in the window before."""
        return self._movers(window_end, "abs(o.average - b.average) DESC NULLS LAST", limit)

    def sizes(self) -> list[WindowSize]:
        """Return what lies in each window, the oldest first; of more than ``POINTS`` windows each n-th."""
        found = self._db.execute(
            f"""
            WITH each_ AS (
                SELECT window_end, count(*) AS products, sum(n)::BIGINT AS rows,
                       row_number() OVER (ORDER BY window_end) AS number, count(*) OVER () AS all_
                FROM of_job() GROUP BY window_end
            )
            SELECT window_end, products, rows FROM each_
            WHERE (all_ - number) % greatest(1, ceil(all_ / {POINTS}))::BIGINT = 0 ORDER BY window_end
            """
        ).fetchall()
        return [WindowSize(*row) for row in found]

    def _movers(self, window_end: int, order: str, limit: int) -> list[Mover]:
        found = self._db.execute(
            f"""
            SELECT o.category, o.key, o.n, o.average, b.average
            FROM of_job() o LEFT JOIN of_job() b
              ON o.category = b.category AND o.key = b.key AND b.window_end = $before
            WHERE o.window_end = $end ORDER BY {order}, o.n DESC, o.category, o.key LIMIT {limit}
            """,
            {"end": window_end, "before": window_end - self._job.size},
        ).fetchall()
        return [Mover(*row) for row in found]


def _quoted(text: str) -> str:
    return text.replace("'", "''")
