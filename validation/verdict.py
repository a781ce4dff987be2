"""The verdict on a run: were all rows delivered, and are all windows what the files say they must be."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import duckdb
from pydantic import BaseModel

from streamproof.core.command import console
from streamproof.core.disk import duckdb_in
from streamproof.core.measures import Measure, WindowKind
from streamproof.core.run import Run, load_run
from streamproof.core.settings import HomeSettings, KafkaSettings
from validation.batch_windows import compute_windows, number_rows
from validation.comparison import WindowCounts, WindowExample, compare_windows, first_not_right
from validation.csv_rows import FileCounts, read_rows
from validation.delivery import CategoryRows, RowTotals, audit_rows, is_settled
from validation.jobs import Job, Wanted, find_job, why_no_job
from validation.kafka_records import RunRecords
from validation.stages import Stages

LateRows = Callable[[str], int | None]
"""Tells how many rows a job (its name in the windows) dropped as late; None where that cannot be known."""

SETTLED_SECONDS = 5.0
"""How long NiFi's and Flink's answers are waited for when Kafka has all."""

ASK_SECONDS = 0.25
_MEMORY = "1GB"
_MANY_FILES = 100


class JudgedWindows(WindowCounts):
    """The windows, and the rows that the job dropped as late (None: not known).

    Late rows do not speak against a run by themselves: where every window is right, what came late were copies.
    """

    late: int | None = None


class Verdict(BaseModel):
    """What was found about a run.

    Attributes:
        proven: every row that the manifest says was sent is in Kafka, the manifest's counts are those of the files,
            and the job wrote exactly the windows that the files give, at least one. Rows that are doubled in Kafka
            are counted, and no fault: the job takes the first.
        reasons: why it is not proven; empty where it is.
        job: the job whose windows were judged; None where none has written any.
        size: window size in milliseconds; 0 where no job has written windows and no shape was asked for.
        slide: window slide in milliseconds, or 0 likewise.
        kind: of the windows.
        measures: what was compared of each window.
        not_right: the earliest windows that are wrong, missing, extra or doubled.
        unreadable: records in Kafka that name the run but are not what their topic should hold.

    """

    run: str
    proven: bool
    reasons: list[str]
    state: Literal["running", "finished", "stopped"]
    checked_at: datetime
    job: str | None
    size: int
    slide: int
    kind: WindowKind
    measures: tuple[Measure, ...]
    rows: RowTotals
    windows: JudgedWindows
    categories: dict[str, CategoryRows]
    not_right: list[WindowExample]
    unreadable: int


def validate(
    run: str,
    home: HomeSettings,
    kafka: KafkaSettings,
    *,
    wanted: Wanted | None = None,
    wait: float = 0,
    late: LateRows | int | None = None,
    stages: Stages = Stages(),  # noqa: B008 - frozen
    files: Mapping[str, Path] | None = None,
) -> Verdict:
    """Judge a run by its manifest, its CSV files and what is in Kafka.

    Args:
        run: the run's id.
        home: where the run's manifest is.
        kafka: where its rows and windows are.
        wanted: which job's windows; without it, those of the job that wrote for this run most recently.
        wait: seconds: while rows or windows are missing, go on reading until nothing new came for so long.
        late: the rows that the job dropped as late, or who can tell.
        stages: who can tell what NiFi received and what the job read.
        files: the new places of files that have moved.

    Raises:
        StreamproofError: a file has changed since the run, or Kafka cannot be read.

    """
    manifest = load_run(run, home).with_files(files or {})
    asked = wanted or Wanted()
    with (
        open_database(home.runs / run) as db,
        console.status("reading the files and Kafka") as status,
        RunRecords(db, manifest, kafka) as records,
        ThreadPoolExecutor(1) as beside,
    ):
        files_read = beside.submit(_read_files, db.cursor(), manifest)
        records.read()
        counts = files_read.result()
        deadline = time.monotonic() + wait
        computed, settled_by = None, 0.0
        while True:
            status.update("comparing")
            job, windows = find_job(db, asked), None
            answers = stages.ask(manifest, job.name if job and job.name else asked.job)
            rows = audit_rows(db, manifest, counts, *answers, records.contents)
            missing = sum(category.lost + category.under_way for category in rows.values())
            if job:
                if job != computed:
                    compute_windows(db, manifest, job)
                    computed = job
                windows = compare_windows(db, job)
            now = time.monotonic()
            if now >= deadline:
                break
            if windows and not windows.missing and not missing:
                settled_by = settled_by or now + SETTLED_SECONDS
                if is_settled(rows, *answers) or now >= settled_by:
                    break
                status.update("waiting for what NiFi and Flink say")
                time.sleep(ASK_SECONDS)
                continue
            status.update(f"waiting: {windows.missing if windows else 'all'} windows and {missing} rows are missing")
            if _something_new(records, deadline):
                deadline = time.monotonic() + wait
        job = job or Job(None, 0, 0)
        late_rows = late(job.name) if callable(late) and job.name else late
        judged = JudgedWindows(
            **(windows or WindowCounts()).model_dump(), late=late_rows if isinstance(late_rows, int) else None
        )
        reasons = doubts(manifest, rows, judged, records.unreadable)
        if (judged.missing or not job.name) and (hidden := records.why_hidden()):
            reasons.append(hidden)
        if not job.name:
            reasons.append(why_no_job(db, manifest, asked))
        return Verdict(
            run=run,
            proven=not reasons,
            reasons=reasons,
            state=manifest.state,
            checked_at=datetime.now(UTC),
            job=job.name,
            size=job.size,
            slide=job.slide,
            kind=job.kind,
            measures=job.measures,
            rows=RowTotals.of(rows),
            windows=judged,
            categories=rows,
            not_right=first_not_right(db) if windows else [],
            unreadable=records.unreadable,
        )


@contextmanager
def open_database(near: Path, memory: str = _MEMORY) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database for one use, in a folder in ``near``: what does not fit into ``memory`` goes there.

    Raises:
        OSError: that folder cannot be written, or its disk is full.

    """
    with (
        duckdb_in(near),
        tempfile.TemporaryDirectory(prefix="validation-", dir=near) as folder,
        duckdb.connect(str(Path(folder) / "validation.duckdb")) as db,
    ):
        db.execute(f"SET memory_limit = '{memory}'")
        db.execute("SET preserve_insertion_order = false")  # every table carries its order in a column
        yield db


def _read_files(db: duckdb.DuckDBPyConnection, run: Run) -> dict[str, FileCounts]:
    if len(run.sources) > _MANY_FILES:
        db.execute("SET threads = 1")  # to share out a small file takes longer than to read it
    db.begin()  # one transaction: each file's would be written to disk for itself
    files = read_rows(db, run)
    number_rows(db, run, files)
    db.commit()
    db.execute("RESET threads")
    return files


def _something_new(records: RunRecords, deadline: float) -> bool:
    """Wait until something of the run comes, then until no more comes at once; False at the deadline."""
    while time.monotonic() < deadline:
        if records.poll():
            settled = time.monotonic() + SETTLED_SECONDS
            while time.monotonic() < settled and records.poll():
                pass
            return True
    return False


def doubts(run: Run, rows: dict[str, CategoryRows], windows: JudgedWindows, unreadable: int) -> list[str]:
    """Return what speaks against a run, each in words; empty where nothing does."""
    found = []
    if run.state == "running":
        found.append("the run has not ended: its manifest says that it is running")
    elif run.state == "stopped" and not run.ended:
        found.append(
            "the run was interrupted before its end was marked, so its last windows are open: "
            f"`streamproof replay --resume {run.run}` goes on"
        )
    for category, r in rows.items():
        found += [f"{category}: {doubt}" for doubt in _doubts_on_rows(run, category, r)]
    if unreadable:
        found.append(f"{unreadable} records in Kafka name the run but are not what their topic should hold")
    late = f" (the job dropped {windows.late} rows as late)" if windows.late else ""
    for count, what in ((windows.wrong, "wrong"), (windows.missing, "missing"), (windows.extra, "extra")):
        if count:
            found.append(f"{count} windows are {what}{late}")
    if not windows.right:
        found.append("not one window is right")
    return found


def _doubts_on_rows(run: Run, category: str, rows: CategoryRows) -> Iterator[str]:
    counts = run.rows.get(category)
    if counts is None:
        yield "Kafka holds rows of this category, which the run does not have"
        return
    accepted = rows.accepted or 0
    due = (run.limit or rows.sent) if run.loop else min(accepted, run.limit or accepted)
    if rows.sent > due or (run.state == "finished" and rows.sent < due):
        yield f"{rows.sent} rows were sent, but by the file it must be {due}"
    whole_file_once = run.state == "finished" and not run.loop and (run.limit is None or run.pace == "file")
    if whole_file_once and counts.rejected != rows.rejected:
        yield f"{counts.rejected} records were rejected, but by the file it must be {rows.rejected}"
    if not rows.sent and run.state == "finished" and not run.allow_empty:
        yield "no row of its file fits the contract; where that is as it should be, replay it with --allow-empty"
    yield from rows.say_missing()
    yield from rows.say_differing(run.run)
    if rows.only_dead_letters:
        yield f"{rows.only_dead_letters} rows went to the dead letters instead of Kafka"
    if rows.never_sent:
        yield f"{rows.never_sent} rows in Kafka have a seq that was never sent"
