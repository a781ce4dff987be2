"""What is remembered of a job, without a server: finding it by a savepoint, and where it can go on."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from flink_jobs.cluster import Cluster
from flink_jobs.records import (
    JobOptions,
    JobRecord,
    find_record,
    is_outdated,
    load_records,
    newest_checkpoint,
    newest_id,
    reader_of,
    writer_of,
)
from streamproof.core.contract import load_contract
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.question import Asked, load_question
from streamproof.core.settings import FlinkSettings, HomeSettings

FIRST, SECOND = "a" * 32, "b" * 32


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMPROOF_HOME", str(tmp_path))
    averages = load_question("rating_averages")
    asked = Asked(name=averages.name, text=averages.text, window=averages.window)
    options = JobOptions(run="A", savepoint="file:/savepoints/savepoint-aaaaaa-0123456789ab")
    record = JobRecord(label=FIRST, asked=[asked], contract=load_contract("ratings"), options=options,
                       offsets={0: 7, 1: 0}, checkpoints=(tmp_path / "checkpoints").as_uri(),
                       jobmanager="127.0.0.1:1", flink_ids=[FIRST, SECOND])  # fmt: skip
    (tmp_path / "checkpoints").mkdir()
    record.save()
    return record


def checkpoint(tmp_path, number, *, complete=True, at=1_000):
    folder = tmp_path / "checkpoints" / SECOND / f"chk-{number}"
    folder.mkdir(parents=True)
    if complete:
        (folder / "_metadata").touch()
        os.utime(folder / "_metadata", (at, at))
    return folder.as_uri()


def test_a_record_is_read_as_it_was_written_and_found_by_label_and_flink_id(record):
    assert find_record(FIRST) == find_record(SECOND) == record
    assert (newest_id(FIRST), newest_id("unknown")) == (SECOND, "unknown")


@pytest.mark.parametrize(
    "path", ["file:/s/savepoint-bbbbbb-0123456789ab", f"/c/{SECOND}/chk-12", "file:///s/savepoint-aaaaaa-12/"]
)
def test_a_savepoint_or_checkpoint_tells_the_job_that_wrote_it(record, path):
    assert writer_of(path) == record


@pytest.mark.parametrize("path", ["/s/savepoint-cccccc-12", "/s/somewhere", f"/c/{'c' * 32}/chk-1"])
@pytest.mark.usefixtures("record")
def test_a_savepoint_of_no_remembered_job_is_refused(path):
    with pytest.raises(UsageError, match="by none of the jobs"):
        writer_of(path)


def test_a_savepoint_that_two_jobs_may_have_written_is_refused(record):
    record.model_copy(update={"label": "c" * 32}).save()
    with pytest.raises(UsageError, match="by several of the jobs"):
        writer_of("/s/savepoint-aaaaaa-12")


def test_the_newest_checkpoint_is_the_last_complete_one_or_the_savepoint_that_a_job_ended_with(record, tmp_path):
    assert newest_checkpoint(record) == record.options.savepoint
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 10, at=2_000)
    checkpoint(tmp_path, 11, complete=False)
    assert newest_checkpoint(record) == newest
    last = tmp_path / "checkpoints" / "last" / f"savepoint-{SECOND[:6]}-0123456789ab"
    last.mkdir(parents=True)
    (last / "_metadata").touch()
    assert newest_checkpoint(record) == last.as_uri()


def test_checkpoints_on_another_machine_are_not_taken_for_none(record):
    with pytest.raises(StreamproofError, match="does not see"):
        newest_checkpoint(record.model_copy(update={"checkpoints": "file:///state/nowhere"}))


def test_a_savepoint_older_than_the_newest_checkpoint_is_outdated(record, tmp_path):
    older, newer = checkpoint(tmp_path, 1, at=1_000), checkpoint(tmp_path, 2, at=2_000)
    assert [is_outdated(path, record) for path in (older, newer)] == [True, False]


def test_a_run_is_read_by_the_newest_job_that_follows_it_or_else_by_a_live_one_that_goes_on(record):
    live = JobOptions()
    others = [record.model_copy(update={"label": label * 32}) for label in "cde"]
    others[0].model_copy(update={"options": live}).save()
    others[1].model_copy(update={"options": live, "state": "cancelled"}).save()
    assert reader_of("A", "ratings") == record
    assert reader_of("B", "ratings").label == "c" * 32
    assert reader_of("B", "another") is None
    others[2].save()
    os.utime(record_file(record), (1_000, 1_000))
    assert reader_of("A", "ratings").label == "e" * 32


def test_a_finished_job_that_flink_has_forgotten_is_still_listed_and_cannot_be_cancelled_any_more(record, monkeypatch):
    monkeypatch.setattr(Cluster, "_get", lambda *_: {"jobs": []})  # a fake of a JobManager that was started anew
    finished = {"state": "finished", "finished_at": datetime(2024, 1, 1, tzinfo=UTC), "late_rows": 3}
    record.model_copy(update=finished).save()
    cluster = Cluster(FlinkSettings(jobmanager=record.jobmanager))
    (job,) = cluster.list()
    assert (job.label, job.state, job.late_rows, job.restarts) == (FIRST, "FINISHED", 3, None)
    cluster.cancel(FIRST)
    assert find_record(FIRST).state == "finished"


def test_a_record_that_is_taken_away_while_all_are_read_is_none(record):
    other, over = record.model_copy(update={"label": "c" * 32}), threading.Event()

    def come_and_go():
        while not over.is_set():
            other.save()
            other.remove()

    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(come_and_go)
        try:
            assert all(record in load_records() for _ in range(2000))
        finally:
            over.set()
        coming.result()


def record_file(record):
    return HomeSettings().home / "jobs" / f"{record.label}.json"
