"""Windows judged as they arrive: the same files and comparison as the verdict at the end."""

import hashlib
import threading
from datetime import UTC, datetime
from fractions import Fraction

import duckdb
import pytest
from waiting import PATIENCE, until

from streamproof.core.contract import load_contract
from streamproof.core.run import RowCounts, Run, Source
from validation.comparison import WindowCounts
from validation.kafka_records import _TABLES
from validation.live import live_verdict
from validation.live.live_verdict import LiveVerdict
from validation.live.window_rows import rows_of_window

CSV = "U1,A,5.0,1\nU2,B,3.0,2\nU3,A,4.0,3\nU4,A,1.0,4\n"
# Tumbling windows of 2 s, a row a second from 0 on: lines 1 and 2 lie in the first, 3 and 4 in the second.


@pytest.fixture
def db():
    with duckdb.connect() as db:
        db.execute(_TABLES)
        yield db


@pytest.fixture
def run(tmp_path):
    file = tmp_path / "Books.csv"
    file.write_text(CSV)
    source = Source(file=file, sha256=hashlib.sha256(CSV.encode()).hexdigest(), size=len(CSV))
    return Run(
        run="r", contract=load_contract("ratings"), clock="virtual", pace="interval", interval=Fraction(1000), start=0,
        batch_rows=1, batch_ms=1, sources={"Books": source}, rows={"Books": RowCounts(sent=2)},
        created=datetime(2024, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def write(db, key, start, values, job="job"):
    """Write a window of 2 s as Flink does; values: count, sum, min and max."""
    n, total, least, greatest = values
    db.execute(
        "INSERT INTO kafka_windows BY NAME SELECT 0 AS written_at, ? AS job, 2000 AS window_size, "
        "2000 AS window_slide, 'Books' AS category, ? AS key, ? AS window_start, ? AS window_end, ? AS n, "
        "? AS total, ?::DOUBLE / ? AS average, ? AS least, ? AS greatest",
        [job, key, start, start + 2000, n, total, total, n, least, greatest],
    )


def judged(verdict, run, *, is_over=False):
    verdict.step(run, is_over=is_over)

    def is_done():
        verdict.step(run, is_over=is_over)
        return not verdict._work

    until(is_done, look=0.01)
    verdict.step(run, is_over=is_over)
    assert verdict.problem is None
    return verdict.counts()


def test_what_is_not_there_yet_is_missing_only_at_the_end(db, run):
    verdict = LiveVerdict(db, run)
    write(db, "A", 0, (1, 5, 5, 5))
    assert judged(verdict, run) == WindowCounts(right=1)
    write(db, "B", 0, (1, 3, 3, 3))
    assert judged(verdict, run) == WindowCounts(right=2)
    ended = run.model_copy(update={"state": "finished", "rows": {"Books": RowCounts(sent=4)}})
    assert judged(verdict, ended) == WindowCounts(right=2)
    assert judged(verdict, ended, is_over=True) == WindowCounts(right=2, missing=1)
    assert [example.verdict for example in verdict.not_right] == ["missing"]
    write(db, "A", 2000, (2, 5, 1, 4))
    assert judged(verdict, ended) == WindowCounts(right=3)
    assert judged(verdict, ended, is_over=True) == WindowCounts(right=3)
    assert verdict.not_right == []


def test_a_window_is_overdue_when_others_that_end_no_earlier_have_been_there_for_some_seconds(db, run, monkeypatch):
    monkeypatch.setattr(live_verdict, "_OVERDUE_SECONDS", 0)
    run.rows["Books"] = RowCounts(sent=4)
    verdict = LiveVerdict(db, run)

    def seconds_later(*, all_read=True):
        for _ in range(3):
            verdict.step(run, is_over=False, all_read=lambda: all_read)
        return verdict.counts()

    write(db, "A", 0, (1, 5, 5, 5))  # B's of the same time is not there; A's next one is still open
    verdict._work.result()
    verdict.step(run, is_over=False)
    verdict._work.result()
    assert seconds_later(all_read=False) == WindowCounts(right=1)
    assert seconds_later() == WindowCounts(right=1, missing=1)
    assert verdict.not_right == []
    write(db, "A", 2000, (2, 5, 1, 4))
    assert seconds_later() == WindowCounts(right=2, missing=1)
    write(db, "B", 0, (1, 3, 3, 3))
    assert seconds_later() == WindowCounts(right=3)
    write(db, "C", 90_000, (1, 3, 3, 3))  # should not be there, so it makes nothing due
    assert seconds_later() == WindowCounts(right=3, extra=1)


def test_a_run_that_was_stopped_is_judged_by_the_rows_that_were_sent(db, run):
    verdict = LiveVerdict(db, run)
    write(db, "A", 0, (1, 5, 5, 5))
    write(db, "B", 0, (1, 3, 3, 3))
    write(db, "A", 2000, (1, 4, 4, 4))  # right when only three rows were sent
    assert judged(verdict, run).wrong == 1
    stopped = run.model_copy(update={"state": "stopped", "end": 2000, "rows": {"Books": RowCounts(sent=3)}})
    assert judged(verdict, stopped, is_over=True) == WindowCounts(right=3)


def test_wrong_doubled_and_made_up_windows_are_named_with_both_values(db, run):
    verdict = LiveVerdict(db, run)
    write(db, "A", 0, (2, 10, 5, 5))
    write(db, "B", 0, (1, 3, 3, 3))
    assert judged(verdict, run) == WindowCounts(right=1, wrong=1)
    write(db, "B", 0, (1, 3, 3, 3))
    write(db, "C", 0, (1, 3, 3, 3))
    assert judged(verdict, run) == WindowCounts(right=1, wrong=1, extra=2)
    assert [(e.verdict, e.key) for e in verdict.not_right] == [("wrong", "A"), ("doubled", "B"), ("extra", "C")]
    assert (verdict.not_right[0].expected["count"], verdict.not_right[0].found["count"]) == (1, 2)


def test_another_job_that_writes_is_judged_anew(db, run):
    verdict = LiveVerdict(db, run)
    write(db, "A", 0, (2, 10, 5, 5))
    assert judged(verdict, run).wrong == 1
    write(db, "A", 0, (1, 5, 5, 5), job="newer")
    assert judged(verdict, run) == WindowCounts(right=1)
    assert verdict.job.name == "newer"


def test_a_changed_file_cannot_be_judged_and_says_so(db, run):
    run.sources["Books"].file.write_text(CSV + "\n")
    verdict = LiveVerdict(db, run)
    verdict._work.exception()
    verdict.step(run, is_over=False)
    assert "has changed since it was replayed" in verdict.problem


def test_the_rows_of_a_window_are_found_in_the_file(db, run):
    verdict = LiveVerdict(db, run)
    write(db, "A", 2000, (9, 9, 1, 1))
    judged(verdict, run)
    rows = rows_of_window(db, run, "Books", "A", (2000, 4000))
    assert [tuple(row) for row in rows] == [(3, 3, "4.0", 2000), (4, 4, "1.0", 3000)]


def test_while_the_truth_is_being_computed_nothing_can_be_said_of_the_end(db, run, monkeypatch):
    go_on, compute = threading.Event(), live_verdict.compute_windows
    monkeypatch.setattr(live_verdict, "compute_windows", lambda *asked: go_on.wait(PATIENCE) and compute(*asked))
    ended = run.model_copy(update={"state": "finished"})
    verdict = LiveVerdict(db, ended)
    write(db, "A", 0, (1, 5, 5, 5))
    write(db, "B", 0, (1, 3, 3, 3))

    def has_begun():
        verdict.step(ended, is_over=True)
        return verdict.job is not None

    until(has_begun, look=0.01)
    assert verdict.counts() == WindowCounts()
    assert verdict.is_computing
    go_on.set()
    assert judged(verdict, ended, is_over=True) == WindowCounts(right=2)
    assert not verdict.is_computing
