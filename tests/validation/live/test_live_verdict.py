"""Windows judged as they arrive: the same files and comparison as the verdict at the end."""

import hashlib
import threading
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from waiting import PATIENCE, until

from streamproof.core.contract import load_contract
from streamproof.core.question import load_question, parse_question
from streamproof.core.run import RowCounts, Run, Source
from streamproof.core.window import Window
from validation.comparison import AnswerCounts, rows_behind
from validation.live import live_verdict
from validation.live.live_verdict import LiveVerdict
from validation.live.results import Table
from validation.stages import AskedBy

CSV = "U1,A,5.0,1\nU2,B,3.0,2\nU3,A,4.0,3\nU4,A,1.0,4\n"
# Tumbling windows of 2 s, a row a second from 0 on: lines 1 and 2 lie in the first, 3 and 4 in the second.
TUMBLING = Window(2000, 2000)
AVERAGES = load_question("rating_averages").with_window(TUMBLING)
HISTOGRAM = load_question("rating_histogram").with_window(TUMBLING)


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


@pytest.fixture
def written(run, results_of):
    return results_of(run, AVERAGES)


def write(written, key, start, values, job="job"):
    """Write a window of 2 s as Flink does; values: count, sum, min and max."""
    n, total, least, greatest = values
    written.add(
        start, start + 2000, job, category="Books", product_id=key, rating_count=n, rating_sum=total,
        rating_avg=total / n, rating_min=least, rating_max=greatest,
    )  # fmt: skip


def judged(verdict, run, *, is_over=False):
    step(verdict, run, is_over=is_over)
    return counts(verdict)


def counts(verdict, name="rating_averages"):
    return found.counts if (found := verdict.questions().get(name)) else AnswerCounts()


def not_right(verdict, name="rating_averages"):
    return list(verdict.questions()[name].not_right)


def step(verdict, run, by_jobs=(), *, is_over=False):
    verdict.step(run, by_jobs, is_over=is_over)

    def is_done():
        verdict.step(run, by_jobs, is_over=is_over)
        return not verdict._work

    until(is_done, look=0.01)
    verdict.step(run, by_jobs, is_over=is_over)
    assert verdict.problem is None


def test_what_is_not_there_yet_is_missing_only_at_the_end(db, run, written):
    verdict = LiveVerdict(db, run, [AVERAGES])
    write(written, "A", 0, (1, 5, 5, 5))
    assert judged(verdict, run) == AnswerCounts(right=1)
    write(written, "B", 0, (1, 3, 3, 3))
    assert judged(verdict, run) == AnswerCounts(right=2)
    ended = run.model_copy(update={"state": "finished", "rows": {"Books": RowCounts(sent=4)}})
    assert judged(verdict, ended) == AnswerCounts(right=2)
    assert judged(verdict, ended, is_over=True) == AnswerCounts(right=2, missing=1)
    assert [example.verdict for example in not_right(verdict)] == ["missing"]
    write(written, "A", 2000, (2, 5, 1, 4))
    assert judged(verdict, ended) == AnswerCounts(right=3)
    assert judged(verdict, ended, is_over=True) == AnswerCounts(right=3)
    assert not_right(verdict) == []


def test_the_batch_answers_of_a_run_that_has_ended_what_only_it_can(db, run, written):
    verdict = LiveVerdict(db, run, [AVERAGES])
    write(written, "A", 0, (1, 5, 5, 5))
    step(verdict, run)
    ended = run.model_copy(update={"state": "finished", "rows": {"Books": RowCounts(sent=3)}})
    select = "window_start, window_end, SUM(rating) AS total FROM windowed GROUP BY window_start, window_end"
    header = "-- All?\n-- stream = 'ratings'\n-- run = 'batch'\n-- window = 'whole run'\n-- key = []\n"
    asked = [parse_question(name, f"{header}SELECT {select}", name) for name in ("in_all", "wrong")]
    asked[1] = replace(asked[1], text=asked[1].text.replace("rating", "colour"))
    verdict.answer_whole_run(ended, asked)
    until(lambda: len(verdict.batch) == 2)
    in_all, wrong = verdict.batch
    assert (in_all.first, in_all.total, in_all.problem) == (Table(["total"], [(Decimal(12),)]), 1, None)
    assert "wrong: the batch fails on the rows of run r" in wrong.problem
    assert not verdict.is_computing
    # What was numbered for them is what the answers of the stream are judged by.
    assert judged(verdict, ended, is_over=True) == AnswerCounts(right=1, missing=2)


def test_a_job_is_named_of_which_answers_are_not_there(db, run, written):
    verdict = LiveVerdict(db, run, [AVERAGES])
    by_jobs = [AskedBy("job", AVERAGES, of_run=True)]
    step(verdict, run, by_jobs)
    ended = run.model_copy(update={"state": "finished"})
    write(written, "A", 0, (1, 5, 5, 5))
    step(verdict, ended, by_jobs)
    assert verdict.unanswered() == ["job"]
    write(written, "B", 0, (1, 2, 2, 2))  # a wrong answer is an answer
    step(verdict, ended, by_jobs)
    assert verdict.unanswered() == []


def test_a_window_is_overdue_when_others_that_end_no_earlier_have_been_there_for_some_seconds(
    db, run, written, monkeypatch
):
    monkeypatch.setattr(live_verdict, "_OVERDUE_SECONDS", 0)
    run.rows["Books"] = RowCounts(sent=4)
    verdict = LiveVerdict(db, run, [AVERAGES])

    def seconds_later(*, all_read=True):
        for _ in range(3):
            verdict.step(run, is_over=False, all_read=lambda: all_read)
        return counts(verdict)

    write(written, "A", 0, (1, 5, 5, 5))  # B's of the same time is not there; A's next one is still open
    verdict._work.result()
    verdict.step(run, is_over=False)
    verdict._work.result()
    assert seconds_later(all_read=False) == AnswerCounts(right=1)
    assert seconds_later() == AnswerCounts(right=1, missing=1)
    assert not_right(verdict) == []
    write(written, "A", 2000, (2, 5, 1, 4))
    assert seconds_later() == AnswerCounts(right=2, missing=1)
    write(written, "B", 0, (1, 3, 3, 3))
    assert seconds_later() == AnswerCounts(right=3)
    write(written, "C", 90_000, (1, 3, 3, 3))  # should not be there, so it makes nothing due
    assert seconds_later() == AnswerCounts(right=3, extra=1)


def test_a_run_that_was_stopped_is_judged_by_the_rows_that_were_sent(db, run, written):
    verdict = LiveVerdict(db, run, [AVERAGES])
    write(written, "A", 0, (1, 5, 5, 5))
    write(written, "B", 0, (1, 3, 3, 3))
    write(written, "A", 2000, (1, 4, 4, 4))  # right when only three rows were sent
    assert judged(verdict, run).wrong == 1
    stopped = run.model_copy(update={"state": "stopped", "end": 2000, "rows": {"Books": RowCounts(sent=3)}})
    assert judged(verdict, stopped, is_over=True) == AnswerCounts(right=3)


def test_wrong_doubled_and_made_up_windows_are_named_with_both_values(db, run, written):
    verdict = LiveVerdict(db, run, [AVERAGES])
    write(written, "A", 0, (2, 10, 5, 5))
    write(written, "B", 0, (1, 3, 3, 3))
    assert judged(verdict, run) == AnswerCounts(right=1, wrong=1)
    write(written, "B", 0, (1, 3, 3, 3))
    write(written, "C", 0, (1, 3, 3, 3))
    assert judged(verdict, run) == AnswerCounts(right=1, wrong=1, extra=2)
    assert [(e.verdict, e.key["product_id"]) for e in not_right(verdict)] == [
        ("wrong", "A"),
        ("doubled", "B"),
        ("extra", "C"),
    ]
    (first, *_) = not_right(verdict)
    assert (first.expected["rating_count"], first.found["rating_count"]) == (1, 2)


def test_another_job_that_writes_is_judged_anew(db, run, written):
    verdict = LiveVerdict(db, run, [AVERAGES])
    write(written, "A", 0, (2, 10, 5, 5))
    assert judged(verdict, run).wrong == 1
    write(written, "A", 0, (1, 5, 5, 5), job="newer")
    assert judged(verdict, run) == AnswerCounts(right=1)
    assert verdict.answers[0].job == "newer"


@pytest.mark.usefixtures("written")
def test_a_changed_file_cannot_be_judged_and_says_so(db, run):
    run.sources["Books"].file.write_text(CSV + "\n")
    verdict = LiveVerdict(db, run, [AVERAGES])
    verdict._work.exception()
    verdict.step(run, is_over=False)
    assert "has changed since it was replayed" in verdict.problem


def test_the_rows_behind_an_answer_are_found_in_the_file(db, run, written):
    verdict = LiveVerdict(db, run, [AVERAGES])
    write(written, "A", 2000, (9, 9, 1, 1))
    judged(verdict, run)
    rows = rows_behind(db, run, not_right(verdict)[0])
    assert [(row.line, row.seq, row.fields["rating"]) for row in rows] == [(3, 3, "4"), (4, 4, "1")]


def test_each_question_is_judged_for_itself_also_one_that_is_asked_later(db, run, written, results_of):
    histogram = results_of(run, HISTOGRAM, 1)
    verdict = LiveVerdict(db, run, [AVERAGES, HISTOGRAM])
    write(written, "A", 0, (1, 5, 5, 5))
    by_jobs = [AskedBy("job", AVERAGES, of_run=True)]
    step(verdict, run, by_jobs)
    assert list(verdict.questions()) == ["rating_averages"]
    by_jobs = [AskedBy("other", HISTOGRAM, of_run=True), *by_jobs]
    step(verdict, run, by_jobs)
    assert counts(verdict, "rating_histogram") == AnswerCounts()
    histogram.add(0, 2000, "other", category="Books", product_id="A", rating=5.0, times=1)
    histogram.add(0, 2000, "other", category="Books", product_id="B", rating=3.0, times=2)
    histogram.add(0, 2000, "before", category="Books", product_id="C", rating=3.0, times=2)
    step(verdict, run, by_jobs)
    assert counts(verdict) == AnswerCounts(right=1)
    assert counts(verdict, "rating_histogram") == AnswerCounts(right=1, wrong=1)
    assert [each.key["rating"] for each in not_right(verdict, "rating_histogram")] == ["3"]
    ended = run.model_copy(update={"state": "finished"})
    step(verdict, ended, by_jobs, is_over=True)
    assert counts(verdict) == AnswerCounts(right=1, missing=1)
    assert counts(verdict, "rating_histogram") == AnswerCounts(right=1, wrong=1)


def test_a_result_whose_window_cannot_be_read_should_not_be_there(db, run, written):
    verdict = LiveVerdict(db, run, [AVERAGES])
    write(written, "A", 0, (1, 5, 5, 5))
    db.execute("INSERT INTO results_0 BY NAME SELECT * REPLACE (NULL AS window_end) FROM results_0")
    db.execute("UPDATE results_0 SET _arrival = 7 WHERE window_end IS NULL")
    assert judged(verdict, run) == AnswerCounts(right=1, extra=1)


def test_while_the_truth_is_being_computed_nothing_can_be_said_of_the_end(db, run, written, monkeypatch):
    go_on, compute = threading.Event(), live_verdict.compute_truth
    monkeypatch.setattr(live_verdict, "compute_truth", lambda *asked: go_on.wait(PATIENCE) and compute(*asked))
    ended = run.model_copy(update={"state": "finished"})
    verdict = LiveVerdict(db, ended, [AVERAGES])
    write(written, "A", 0, (1, 5, 5, 5))
    write(written, "B", 0, (1, 3, 3, 3))

    def has_begun():
        verdict.step(ended, is_over=True)
        return bool(verdict.answers)

    until(has_begun, look=0.01)
    assert counts(verdict) == AnswerCounts()
    assert verdict.is_computing
    go_on.set()
    assert judged(verdict, ended, is_over=True) == AnswerCounts(right=2)
    assert not verdict.is_computing
