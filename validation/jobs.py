"""Which job's windows are meant: a topic may hold those of several jobs and shapes for the same run."""

from dataclasses import dataclass

import duckdb

from streamproof.core.duration import format_duration, parse_whole_milliseconds
from streamproof.core.errors import UsageError
from streamproof.core.measures import USUAL, Measure, WindowKind
from streamproof.core.run import Run

COLUMNS: dict[Measure, str] = {
    "count": "n",
    "sum": "total",
    "avg": "average",
    "min": "least",
    "max": "greatest",
    "stddev": "deviation",
    "histogram": "histogram",
    "distinct": "actors",
}
"""The columns of the measures in the tables ``kafka_windows`` and ``truth``."""


@dataclass(frozen=True)
class Job:
    """A job as its windows tell it.

    Attributes:
        name: None where it has written none.
        size: of its windows, in milliseconds.
        slide: of its windows, in milliseconds.
        kind: of its windows.
        measures: what it writes of each.

    """

    name: str | None
    size: int
    slide: int
    kind: WindowKind = "sliding"
    measures: tuple[Measure, ...] = USUAL

    @property
    def windows(self) -> str:
        """Its windows in words, like ``cumulative 1h / 5min``."""
        if not self.size:
            return "of no shape"
        shape = f"{format_duration(self.size)} / {format_duration(self.slide)}"
        return shape if self.kind == "sliding" else f"{self.kind} {shape}"

    def start_of(self, window_end: int) -> int:
        """Return when a window starts that ends then; both in milliseconds since the epoch."""
        return window_end - self.size if self.kind == "sliding" else (window_end - 1) // self.size * self.size


@dataclass(frozen=True)
class Wanted:
    """What the user asks for; None leaves it open. Size and slide are milliseconds."""

    job: str | None = None
    size: int | None = None
    slide: int | None = None

    @classmethod
    def parse(cls, job: str | None, size: str | None, slide: str | None) -> "Wanted":
        """Read the options; a size without a slide means any slide.

        Raises:
            UsageError: a duration cannot be read, a slide stands alone, or does not divide the size.

        """
        if size is None:
            if slide is not None:
                raise UsageError("--slide needs --size")
            return cls(job)
        size_ms = parse_whole_milliseconds(size)
        slide_ms = None if slide is None else parse_whole_milliseconds(slide)
        if slide_ms and size_ms % slide_ms:
            raise UsageError(f"--slide {slide} does not divide --size {size}")
        return cls(job, size_ms, slide_ms)


def windows_of(job: Job, table: str = "kafka_windows") -> str:
    """Return a query for the windows of a job in a table like ``kafka_windows``."""
    name = (job.name or "").replace("'", "''")
    return (
        f"SELECT * FROM {table} WHERE job = '{name}' AND window_size = {job.size} AND window_slide = {job.slide} "
        f"AND window_kind = '{job.kind}' AND measures = '{','.join(job.measures)}'"
    )


def find_job(db: duckdb.DuckDBPyConnection, wanted: Wanted) -> Job | None:
    """Return the wanted job that wrote into ``kafka_windows`` most recently, by Kafka's time.

    Where no job has written any but the shape is wanted, every window of it is missing: a job without a name.
    """
    found = db.execute(
        """
        SELECT job, window_size, window_slide, window_kind, measures FROM kafka_windows
        WHERE job = coalesce($job, job) AND window_size = coalesce($size, window_size)
          AND window_slide = coalesce($slide, window_slide) AND window_size > 0 AND window_slide > 0
        GROUP BY ALL ORDER BY max(written_at) DESC, max(arrival) DESC LIMIT 1
        """,
        {"job": wanted.job, "size": wanted.size, "slide": wanted.slide},
    ).fetchone()
    if found:
        name, size, slide, kind, measures = found
        return Job(name, size, slide, kind, tuple(measures.split(",")))
    is_empty = db.execute("SELECT 1 FROM kafka_windows LIMIT 1").fetchone() is None
    if is_empty and wanted.size is not None and wanted.slide is not None and wanted.job is None:
        return Job(None, wanted.size, wanted.slide)
    return None


def why_no_job(db: duckdb.DuckDBPyConnection, run: Run, wanted: Wanted) -> str:
    """Say that ``find_job`` found none, and which jobs there are."""
    jobs = db.execute(
        "SELECT DISTINCT job, window_size, window_slide, window_kind FROM kafka_windows ORDER BY ALL"
    ).fetchall()
    if not jobs:
        return (
            f"no job has written windows of run {run.run} to the topic {run.contract.topics.windows}: submit one that "
            f"follows it (streamproof submit … --run {run.run}), or wait longer for one that runs (--wait 2min)"
        )
    known = "; ".join(f"{job[0]}: {Job(*job).windows}" for job in jobs)
    asked = f"job {wanted.job} has written no" if wanted.job else "no job has written"
    return f"{asked} such windows of run {run.run}; there are: {known}"
