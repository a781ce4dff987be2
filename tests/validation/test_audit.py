"""The audit follows the rows of a run from stage to stage, and says where one went missing."""

import json

import pytest

import validation.audit
from streamproof.core.run import RowCounts
from validation.audit import audit
from validation.stages import Stages

READ_ALL = dict.fromkeys(range(64), (0, 2**60))


def test_the_audit_follows_the_rows_from_stage_to_stage(pipeline):
    pipeline.run.rows["Books"].resent = 2
    pipeline.rows += pipeline.rows[20:22]
    pipeline.write(windows_too=False)
    found = pipeline.audit({"Books": (252, [[1, 250]])}, READ_ALL)
    assert found.job == "newest"
    assert found.rows.model_dump() == {
        "sent": 250, "resent": 2, "received": 252, "kafka": 250, "doubled": 2, "dead_letters": 0, "read": 250,
        "lost": 0, "under_way": 0,
    }  # fmt: skip


def test_a_missing_row_is_told_by_the_place_where_it_went_missing(pipeline):
    pipeline.rows = [r for r in pipeline.rows if r["seq"] not in (17, 18, 100, 250)]
    pipeline.write()
    received = {"Books": (248, [[1, 16], [19, 249]])}
    found = pipeline.audit(received)
    assert found.rows.lost == 4
    assert found.categories["Books"].say_missing() == [
        "3 rows are lost between edge and NiFi: seq 17 to 18, 250",
        "1 rows are lost between NiFi and Kafka: seq 100",
    ]
    verdict = pipeline.validate(stages=Stages(nifi=lambda _: received))
    assert verdict.reasons[:2] == [f"Books: {text}" for text in found.categories["Books"].say_missing()]


@pytest.mark.parametrize("received", [{}, {"Books": (2, [[17, 18]])}, {"Books": (1, [[1, 16]])}])
def test_a_ledger_that_lacks_rows_which_kafka_has_tells_nothing(pipeline, received, monkeypatch):
    monkeypatch.setattr(validation.audit, "SETTLED_SECONDS", 0)
    pipeline.rows = [r for r in pipeline.rows if r["seq"] != 17]
    pipeline.write(windows_too=False)
    books = pipeline.audit(received).categories["Books"]
    assert (books.received, books.lost) == (None, 1)
    assert books.say_missing() == ["1 rows are lost: seq 17"]


def test_a_run_of_which_nothing_arrived_is_lost_before_nifi(pipeline):
    pipeline.rows = []
    pipeline.write(windows_too=False)
    books = pipeline.audit({}).categories["Books"]
    assert (books.received, books.kafka) == (0, 0)
    assert books.say_missing() == ["250 rows are lost between edge and NiFi: seq 1 to 250"]


def test_what_nifi_and_flink_say_is_waited_for_until_it_holds_all_that_kafka_has(pipeline):
    pipeline.write()
    answers = [{}, {"Books": (200, [[1, 200]])}, {"Books": (250, [[1, 250]])}]
    stages = Stages(nifi=lambda _: answers.pop(0) if answers[1:] else answers[0])
    assert audit(pipeline.run.run, pipeline.home, pipeline.kafka, stages=stages).rows.received == 250
    answers = [{}, {"Books": (250, [[1, 250]])}]
    assert pipeline.validate(wait=30, stages=stages).rows.received == 250


def test_read_by_flink_are_the_rows_between_the_jobs_start_and_its_last_checkpoint(pipeline):
    pipeline.write(windows_too=False)
    offsets: dict[int, list[int]] = {}
    with validation.audit.open_database(pipeline.home.runs / pipeline.run.run) as db:
        with validation.audit.RunRecords(db, pipeline.run, pipeline.kafka, only="rows") as records:
            records.read()
        for partition, offset in db.execute("SELECT kafka_partition, kafka_offset FROM kafka_rows").fetchall():
            offsets.setdefault(partition, []).append(offset)
    partition, rows = max(offsets.items(), key=lambda item: len(item[1]))
    first, stop = sorted(rows)[3], sorted(rows)[-2]
    running = pipeline.run.model_copy(update={"state": "running"})
    running.save(pipeline.home)
    assert pipeline.audit(read={partition: (first, stop)}).rows.read == len(rows) - 3 - 2
    assert pipeline.audit().rows.read is None


def test_rows_of_a_running_run_that_the_edge_still_has_are_under_way_and_not_lost(pipeline):
    pipeline.run.state = "running"
    pipeline.run.rows["Books"] = RowCounts(sent=250, confirmed=200, confirmed_to=190)
    pipeline.rows = [r for r in pipeline.rows if r["seq"] not in (17, 195, 249, 250)]
    pipeline.write(windows_too=False)
    found = pipeline.audit({"Books": (240, [[1, 16], [18, 240]])})
    assert (found.rows.lost, found.rows.under_way, found.rows.received) == (1, 3, 240)
    assert found.categories["Books"].say_missing() == [
        "1 rows are lost: seq 17",  # the ledger is behind Kafka, so it may still come
        "3 rows are under way: seq 195, 249 to 250",
    ]
    pipeline.run.rows["Books"].confirmed_to = 10
    pipeline.run.save(pipeline.home)
    assert pipeline.command("audit").exit_code == 0
    pipeline.run.state = "stopped"
    pipeline.run.save(pipeline.home)
    assert pipeline.command("audit").exit_code == 1


def test_the_audit_command_prints_a_line_for_each_category_or_one_json_document(pipeline):
    pipeline.run.rows["x" * 200] = RowCounts()
    pipeline.run.sources["x" * 200] = pipeline.run.sources["Books"]
    pipeline.run.rows["Books"].sent = 1_000_250
    pipeline.write(windows_too=False)
    done = pipeline.command("audit")
    assert done.exit_code == 1
    assert "1,000,250" in done.stdout  # numbers are whole however narrow the terminal
    assert "Books: 1000000 rows are lost: seq 251 to 1000250" in done.stdout
    done = pipeline.command("audit", "--json")
    assert done.exit_code == 1
    printed = json.loads(done.stdout)
    assert (printed["rows"]["sent"], printed["rows"]["received"], printed["rows"]["lost"]) == (
        1_000_250,
        None,
        1_000_000,
    )
