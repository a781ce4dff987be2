"""The verdict while a run goes on: each window is compared as it arrives with what the files say it must be.

A window that Flink has written holds only rows that were confirmed, so sent. The truth of a window is therefore the
same whether it is computed from the rows sent so far or from more of the file. It is computed for about twice as many
rows as were sent, and anew when the run comes near that. A window that is not there may be open still. It is missing
when the run has ended, or when later ones of the same job were there some seconds ago: a job's windows become readable
in the order of their ends.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast

import duckdb

from streamproof.core.errors import StreamproofError
from streamproof.core.run import RowCounts, Run
from validation.batch_windows import compute_windows, number_rows
from validation.comparison import WindowCounts, WindowExample, compare_windows, first_not_right
from validation.csv_rows import FileCounts, read_rows
from validation.jobs import Job, Wanted, find_job

_AHEAD = 500_000
"""Rows a category for which the truth is computed at least, where the file has so many."""

_LONGEST_LIST = 50

_OVERDUE_SECONDS = 10.0
"""How much later than others a window can be read that ends no later: a commit, and a TaskManager that hesitates."""

_NEVER = -(2**62)
"""Milliseconds: before all windows."""

Planned = tuple[Job, tuple[tuple[str, int], ...]]
"""What a truth is for: the job, and how many rows of each category."""


class LiveVerdict:
    """Judges the windows of a run's newest job.

    Args:
        db: the database whose table ``kafka_windows`` grows; the truth is computed in it by a thread of its own.
        run: the run's manifest as it was when the reading began.

    Attributes:
        job: the job that is judged; None while none has written windows.
        files: what the run's files hold; None until they are read.
        problem: why the truth cannot be computed; None while it can.
        not_right: the earliest windows that are wrong or should not be there, or at the end are missing.

    """

    def __init__(self, db: duckdb.DuckDBPyConnection, run: Run) -> None:
        self._db = db
        self._judging = db.cursor()
        self._computing = db.cursor()
        self._judging.execute("CREATE SCHEMA touched")
        self._judging.execute("CREATE TABLE judged (window_start BIGINT, verdict VARCHAR, n BIGINT)")
        self._judging.execute("SET search_path = 'touched,main'")
        self.job: Job | None = None
        self.files: dict[str, FileCounts] | None = None
        self.problem: str | None = None
        self.not_right: list[WindowExample] = []
        self._examples: dict[tuple[str, ...], WindowExample] = {}
        self._truth: Planned | None = None
        self._last_arrival = 0
        self._is_whole = False
        self._due = self._newest_end = _NEVER
        self._next_due, self._looked = _NEVER, time.monotonic()
        self._worker = ThreadPoolExecutor(1, "truth")
        self._work: Future[None] | None = self._worker.submit(self._read_files, run)
        self._next: Planned | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there is a truth to compare with."""
        return self._truth is not None

    @property
    def is_computing(self) -> bool:
        """Whether the files or the truth are still being worked on, so that nothing can be said of the end."""
        return self._work is not None and self.problem is None

    def close(self) -> None:
        """Wait for the computing that is under way."""
        self._worker.shutdown(cancel_futures=True)

    def step(self, run: Run, *, is_over: bool, all_read: Callable[[], bool] = lambda: True) -> None:
        """Judge what came since the last call.

        Args:
            run: the manifest as it is now.
            is_over: the run has ended and nothing more comes, so that what is not there is missing.
            all_read: tells whether all windows that can be read now are in the database; asked every few seconds.

        """
        if self.problem or not self._is_computed():
            return
        if self._news() and (job := find_job(self._judging, Wanted())) != self.job:
            self.job = job
            self._forget()
        if self.job is None:
            return
        wanted = (self.job, self._rows_to_plan(run))
        if self._truth is None or not _covers(self._truth, wanted, run):
            self._next = wanted
            self._work = self._worker.submit(self._compute, run, wanted)
            return
        self._judge(is_over=is_over, became_due=self._move_due(all_read))

    def counts(self) -> WindowCounts:
        """Return how many windows are right, wrong, missing (overdue, while the run goes on) and extra so far."""
        found = self._judging.execute("SELECT verdict, sum(n)::BIGINT FROM judged GROUP BY verdict").fetchall()
        counts = dict(found)
        counts["extra"] = counts.get("extra", 0) + counts.pop("doubled", 0)
        return WindowCounts.model_validate(counts)

    def _is_computed(self) -> bool:
        """Take over what the other thread has finished; False while it works."""
        if self._work is None:
            return True
        if not self._work.done():
            return False
        try:
            self._work.result()
        except (StreamproofError, duckdb.Error) as error:
            self.problem = str(error)
            return False
        self._work = None
        if self._next:
            # A truth for more rows says the same of what was judged: only the end is different.
            self._truth, self._next = self._next, None
            self._is_whole = False
        return True

    def _forget(self) -> None:
        self._truth, self._last_arrival, self._is_whole = None, 0, False
        self._due = self._newest_end = self._next_due = _NEVER
        self._judging.execute("DELETE FROM judged")
        self._examples.clear()
        self.not_right = []

    def _news(self) -> bool:
        return self._arrivals()[0] is not None

    def _arrivals(self) -> tuple[int | None, int | None, int | None]:
        found = self._judging.execute(
            "SELECT max(arrival), min(window_start), max(window_start) FROM main.kafka_windows WHERE arrival > ?",
            [self._last_arrival],
        ).fetchone()
        return cast("tuple[int | None, int | None, int | None]", found)

    def _move_due(self, all_read: Callable[[], bool]) -> tuple[int, ...]:
        """Make windows due that end no later than one that was there some seconds ago.

        Returns between which two moments such windows start; nothing where none became due.
        """
        if time.monotonic() - self._looked < _OVERDUE_SECONDS or not all_read():
            return ()
        before, self._due = self._due, self._next_due
        self._next_due, self._looked = self._newest_end, time.monotonic()
        return (cast("Job", self.job).start_of(before), self._due) if self._due > before else ()

    def _judge(self, *, is_over: bool, became_due: tuple[int, ...]) -> None:
        arrival, first, last = self._arrivals()
        if is_over and (arrival is not None or not self._is_whole):
            where = "true"
        elif starts := [start for start in (first, last, *became_due) if start is not None]:
            where = f"window_start BETWEEN {min(starts)} AND {max(starts)}"
        else:
            return
        for table in ("kafka_windows", "truth"):
            self._judging.execute(f"CREATE OR REPLACE VIEW touched.{table} AS SELECT * FROM main.{table} WHERE {where}")
        job = cast("Job", self.job)
        compare_windows(self._judging, job)
        if not is_over:
            self._judging.execute("DELETE FROM compared WHERE verdict = 'missing' AND window_end > ?", [self._due])
        self._judging.execute(f"DELETE FROM judged WHERE {where}")
        self._judging.execute("INSERT INTO judged SELECT window_start, verdict, count(*) FROM compared GROUP BY ALL")
        self._newest_end = max(self._newest_end, self._last_end())
        if is_over:
            self._examples.clear()
        for example in first_not_right(self._judging):
            if is_over or example.verdict != "missing":
                key = (example.window_start, example.window_end, example.category, example.key, example.verdict)
                self._examples[key] = example
        self.not_right = [self._examples[key] for key in sorted(self._examples)][:_LONGEST_LIST]
        self._examples = {key: self._examples[key] for key in sorted(self._examples)[:_LONGEST_LIST]}
        self._last_arrival = arrival if arrival is not None else self._last_arrival
        self._is_whole = is_over

    def _last_end(self) -> int:
        # Windows that should not be there can lie anywhere in time.
        sql = "SELECT max(window_end) FROM compared WHERE verdict IN ('right', 'wrong')"
        found = cast("tuple[int | None]", self._judging.execute(sql).fetchone())[0]
        return _NEVER if found is None else found

    def _rows_to_plan(self, run: Run) -> tuple[tuple[str, int], ...]:
        """Return how many rows of each category the truth must cover: at the end those sent, before that more."""
        if run.state != "running":
            return tuple((category, rows.sent) for category, rows in run.rows.items())
        planned = []
        for category, rows in run.rows.items():
            file = (self.files or {}).get(category, FileCounts(0, 0))
            most = run.limit if run.limit is not None else (None if run.loop else file.accepted)
            ahead = 2 * rows.sent + _AHEAD
            planned.append((category, ahead if most is None else min(ahead, most)))
        return tuple(planned)

    def _read_files(self, run: Run) -> None:
        self.files = read_rows(self._computing, run)

    def _compute(self, run: Run, planned: Planned) -> None:
        job, rows = planned
        as_planned = run.model_copy(update={"rows": {category: RowCounts(sent=count) for category, count in rows}})
        number_rows(self._computing, as_planned, self.files or {})
        compute_windows(self._computing, as_planned, job)


def _covers(truth: Planned, wanted: Planned, run: Run) -> bool:
    if truth[0] != wanted[0]:
        return False
    if run.state != "running":
        return truth == wanted
    planned = dict(truth[1])
    most = dict(wanted[1])
    margin = _AHEAD // 2
    return all(
        planned.get(category, 0) >= min(most[category], rows.sent + margin) for category, rows in run.rows.items()
    )
