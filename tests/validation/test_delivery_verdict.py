"""The verdict over a real Kafka: proven where all is there, and each kind of tampering is named."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from statistics import pstdev

import duckdb
import pandas
import pytest
from confluent_kafka import Consumer, Producer
from typer.testing import CliRunner

import streamproof.core.kafka
import validation.cli
from streamproof.core.contract import Topics, load_contract
from streamproof.core.errors import StreamproofError
from streamproof.core.run import RowCounts, Run, Source, new_run_id
from streamproof.core.topics import ensure_topics
from validation.audit import Audit, audit
from validation.comparison import iso_time
from validation.jobs import Wanted
from validation.live.reader import Reader
from validation.stages import ReadByJob, Stages
from validation.verdict import Verdict, validate

SIZE, SLIDE, INTERVAL = 30_000, 5_000, 1003
START = 1_704_067_203_750  # 3.75 s past a window's start
PRODUCTS = ("0000143502", "000107461X", "B00004Z5M1")


@dataclass
class Pipeline:
    """Plays replayer, NiFi and Flink: what these would have written to Kafka, computed in plain Python."""

    home: object
    kafka: object
    run: Run
    rows: list[dict[str, object]] = field(default_factory=list)
    windows: list[dict[str, object]] = field(default_factory=list)
    dead_letters: list[dict[str, object]] = field(default_factory=list)

    def write(self, *, windows_too: bool = True) -> None:
        self.run.save(self.home)
        topics = self.run.contract.topics
        self._produce(topics.rows, self.rows, lambda row: row["product_id"])
        self._produce(topics.dead_letters, self.dead_letters, lambda _: None)
        if windows_too:
            self.write_windows()

    def write_windows(self) -> None:
        self._produce(self.run.contract.topics.windows, self.windows, lambda _: None, transactional=True)

    def _produce(
        self, topic: str, values: list[dict[str, object]], key: Callable, *, transactional: bool = False
    ) -> None:
        options = {"transactional.id": f"test-{self.run.run}"} if transactional else {}
        producer = Producer({"bootstrap.servers": self.kafka.servers, **options})
        if transactional:
            producer.init_transactions(20)
            producer.begin_transaction()
        for value in values:
            producer.produce(topic, json.dumps(value, separators=(",", ":")), key(value))
        if transactional:
            producer.commit_transaction(20)
        assert producer.flush(20) == 0

    def validate(self, **options) -> Verdict:
        return validate(self.run.run, self.home, self.kafka, **options)

    def audit(self, received=None, read=None) -> Audit:
        stages = Stages(nifi=lambda _: received, flink=lambda _, job: read and ReadByJob(job or "newest", read))
        return audit(self.run.run, self.home, self.kafka, stages=stages)


def row(run: str, seq: int, product: str, rating: float) -> dict[str, object]:
    event_time = START + (seq - 1) * INTERVAL
    envelope = {"run": run, "category": "Books", "seq": seq, "event_time": event_time, "low_watermark": START - 1}
    return envelope | {"user_id": "u", "product_id": product, "rating": rating, "timestamp": seq * 1000}


def windows_of(rows: list[dict[str, object]], job: str, size: int, slide: int) -> list[dict[str, object]]:
    ratings: dict[tuple[object, int], list[float]] = {}
    for r in rows:
        first = r["event_time"] // slide * slide - size + slide
        for start in range(first, first + size, slide):
            ratings.setdefault((r["product_id"], start), []).append(r["rating"])
    return [
        {
            "job": job,
            "run": rows[0]["run"],
            "category": "Books",
            "product_id": product,
            "window_start": datetime.fromtimestamp(start // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "window_end": datetime.fromtimestamp((start + size) // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "window_size": size,
            "window_slide": slide,
            "rating_count": len(values),
            "rating_sum": sum(values),
            "rating_avg": sum(values) / len(values),
            "rating_min": min(values),
            "rating_max": max(values),
        }
        for (product, start), values in ratings.items()
    ]


@pytest.fixture
def pipeline(servers, tmp_path: Path) -> Pipeline:
    """A run of 250 rows whose records are ready to be written."""
    contract, run = load_contract("ratings"), f"verdict-{new_run_id()}"
    ensure_topics(contract, servers.kafka)
    ratings = [(PRODUCTS[i * i % 3], float(i % 5 + 1)) for i in range(250)]
    file = tmp_path / "Books.csv"
    file.write_text("".join(f"u,{product},{rating},{i}\n" for i, (product, rating) in enumerate(ratings, 1)))
    manifest = Run(
        run=run,
        contract=contract,
        clock="virtual",
        pace="interval",
        interval=str(INTERVAL),
        start=START,
        batch_rows=1,
        batch_ms=1,
        sources={"Books": Source(file=file, sha256=sha256(file.read_bytes()).hexdigest(), size=file.stat().st_size)},
        rows={"Books": RowCounts(sent=250, confirmed=250)},
        state="finished",
        created=datetime.now(UTC),
    )
    rows = [row(run, seq, product, rating) for seq, (product, rating) in enumerate(ratings, 1)]
    mark = row(run, 1, "", 0.0) | {"seq": -1}
    made = Pipeline(servers.home, servers.kafka, manifest, rows, windows_of(rows, f"job-{run}", SIZE, SLIDE))
    made.rows = [*rows, mark, mark]
    return made


def test_a_run_whose_rows_and_windows_are_all_there_is_proven(pipeline):
    pipeline.write()
    verdict = pipeline.validate()
    assert verdict.proven, verdict.reasons
    assert verdict.rows.model_dump() == {
        "sent": 250, "resent": 0, "received": None, "kafka": 250, "doubled": 0, "dead_letters": 0, "read": None,
        "lost": 0, "under_way": 0,
    }  # fmt: skip
    assert verdict.windows.model_dump() == {
        "right": len(pipeline.windows), "wrong": 0, "missing": 0, "extra": 0, "late": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rating_count", 99),
        ("rating_sum", 3.1),
        ("rating_min", 0.5),
        ("rating_max", 5.5),
        ("rating_avg", None),
        ("rating_sum", None),
    ],
)
def test_a_changed_window_is_wrong_and_shown_with_both_values(pipeline, name, value):
    changed, true = pipeline.windows[7], pipeline.windows[7][name]
    changed[name] = value
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert (verdict.windows.wrong, verdict.windows.missing, verdict.windows.extra) == (1, 0, 0)
    assert verdict.reasons == ["1 windows are wrong"]
    (shown,) = verdict.not_right
    assert (shown.verdict, shown.key, shown.window_start) == ("wrong", changed["product_id"], changed["window_start"])
    short = name.removeprefix("rating_")
    assert float(shown.expected[short]) == true
    found = shown.found[short]
    assert (found if found is None else float(found)) == value


def with_measures(window: dict[str, object], values: list[float]) -> dict[str, object]:
    """Return a window whose job writes neither average nor extremes, but what else there is."""
    window = {name: window[name] for name in window if name not in {"rating_avg", "rating_min", "rating_max"}}
    histogram = {str(value): count for value, count in Counter(values).items()}
    return window | {"rating_stddev": pstdev(values), "rating_histogram": histogram, "user_id_distinct": 1}


@pytest.fixture
def measured(pipeline) -> Pipeline:
    """The same run, and a job with other measures."""
    ratings = [
        [
            r["rating"]
            for r in pipeline.rows
            if r["seq"] > 0
            and r["product_id"] == w["product_id"]
            and w["window_start"] <= iso_time(r["event_time"])[:19] + "Z" < w["window_end"]
        ]
        for w in pipeline.windows
    ]
    pipeline.windows = [with_measures(w, values) for w, values in zip(pipeline.windows, ratings, strict=True)]
    return pipeline


MEASURED = ("count", "sum", "stddev", "histogram", "distinct")


def test_a_jobs_own_choice_of_measures_is_compared(measured):
    measured.write()
    verdict = measured.validate()
    assert verdict.proven, (verdict.reasons, verdict.not_right[:2])
    assert verdict.measures == MEASURED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rating_stddev", 0.25),
        ("rating_stddev", None),
        ("rating_histogram", {"5.0": 1}),
        ("rating_histogram", {"five": 1}),
        ("rating_histogram", None),
        ("user_id_distinct", 2),
        ("user_id_distinct", None),
    ],
)
def test_a_changed_measure_is_wrong(measured, name, value):
    changed = measured.windows[7]
    assert changed[name] != value
    changed[name] = value
    measured.write()
    verdict = measured.validate()
    assert (verdict.windows.wrong, verdict.windows.missing, verdict.windows.extra) == (1, 0, 0)
    assert verdict.not_right[0].key == changed["product_id"]


def test_a_window_that_lacks_a_measure_of_its_job_is_missing(measured):
    del measured.windows[0]["rating_stddev"]
    measured.write()
    verdict = measured.validate()
    assert not verdict.proven
    assert {verdict.windows.missing, verdict.windows.right} == {1, len(measured.windows) - 1}


def test_cumulative_windows_are_another_shape(pipeline):
    for window in pipeline.windows:
        window["window_kind"] = "cumulative"
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert verdict.kind == "cumulative"
    assert verdict.windows.extra > 0


@pytest.mark.parametrize(("error", "wrong"), [(9e-13, 0), (2e-12, 1)])
def test_an_average_may_differ_by_a_millionth_of_a_millionth(pipeline, error, wrong):
    pipeline.windows[3]["rating_avg"] += error
    pipeline.write()
    assert pipeline.validate().windows.wrong == wrong


def test_a_removed_window_is_missing(pipeline):
    removed = pipeline.windows.pop(5)
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert (verdict.windows.missing, verdict.windows.wrong, verdict.windows.extra) == (1, 0, 0)
    assert [(w.verdict, w.key, w.window_start, w.found) for w in verdict.not_right] == [
        ("missing", removed["product_id"], removed["window_start"], None)
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"product_id": "143502"},
        {"category": "Toys"},
        {"window_end": "2024-01-01T00:01:00Z"},
        {"window_start": "soon"},
    ],
)
def test_an_added_window_is_extra(pipeline, change):
    pipeline.windows.append(pipeline.windows[0] | change)
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert (verdict.windows.extra, verdict.windows.wrong, verdict.windows.missing) == (1, 0, 0)
    assert [w.verdict for w in verdict.not_right] == ["extra"]


def test_a_window_written_twice_is_extra(pipeline):
    pipeline.windows.append(pipeline.windows[0])
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert verdict.windows.extra == 1
    assert [w.verdict for w in verdict.not_right] == ["doubled"]


def test_windows_of_a_transaction_that_was_not_committed_do_not_count(pipeline):
    pipeline.write(windows_too=False)
    producer = Producer({"bootstrap.servers": pipeline.kafka.servers, "transactional.id": f"open-{pipeline.run.run}"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(pipeline.run.contract.topics.windows, json.dumps(pipeline.windows[0] | {"rating_count": 99}))
    producer.flush(20)
    producer.abort_transaction(20)
    pipeline.write_windows()
    assert pipeline.validate().proven


def test_windows_behind_an_open_transaction_are_missing_and_verdict_and_page_say_where_they_are(pipeline):
    run = pipeline.run
    run.contract = run.contract.model_copy(
        update={"topics": run.contract.topics.model_copy(update={"windows": f"hidden-{run.run}"})}
    )
    ensure_topics(run.contract, pipeline.kafka)
    pipeline.write(windows_too=False)
    producer = Producer({"bootstrap.servers": pipeline.kafka.servers, "transactional.id": f"open-{run.run}"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for window in pipeline.windows:
        producer.produce(run.contract.topics.windows, json.dumps(window), partition=1)
    producer.flush(20)
    verdict = pipeline.validate(wanted=Wanted(size=SIZE, slide=SLIDE))
    assert verdict.windows.missing == len(pipeline.windows)
    (said,) = [reason for reason in verdict.reasons if "cannot be read yet" in reason]
    assert f"{len(pipeline.windows)} in hidden-{run.run}/1: they lie behind a transaction" in said
    page = Reader(run.run, pipeline.home, pipeline.kafka)
    page.start()
    deadline = time.monotonic() + 60
    while not page.picture.hidden and time.monotonic() < deadline:
        time.sleep(0.1)
    page.stop()
    assert page.picture.hidden == said
    producer.commit_transaction(20)
    verdict = pipeline.validate(wait=20)
    assert verdict.proven, verdict.reasons


def test_removed_rows_are_lost_and_their_seq_named(pipeline):
    pipeline.rows = [r for r in pipeline.rows if r["seq"] not in (17, 100, 101, 102)]
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert verdict.rows.lost == 4
    assert verdict.reasons == ["Books: 4 rows are lost: seq 17, 100 to 102"]


def test_a_doubled_row_is_counted_and_no_fault(pipeline):
    pipeline.rows += [pipeline.rows[20]] * 2
    pipeline.write()
    verdict = pipeline.validate()
    assert verdict.rows.doubled == 2
    assert verdict.proven, verdict.reasons


def test_a_row_in_the_dead_letters_instead_of_kafka_is_named(pipeline):
    (dead,) = (r for r in pipeline.rows if r["seq"] == 33)
    pipeline.rows.remove(dead)
    letter = {"reason": "r", "stage": "schema", "mqtt_topic": "ratings/Books", "payload": "{}"}
    pipeline.dead_letters = [letter | {"run": dead["run"], "category": "Books", "seq": 33}, letter | {"run": None}]
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert (verdict.rows.dead_letters, verdict.rows.lost, verdict.rows.kafka) == (1, 0, 249)
    assert verdict.reasons == ["Books: 1 rows went to the dead letters instead of Kafka"]


def test_a_row_that_was_never_sent_is_named(pipeline):
    pipeline.rows.append(pipeline.rows[0] | {"seq": 251})
    pipeline.write()
    assert pipeline.validate().reasons == ["Books: 1 rows in Kafka have a seq that was never sent"]


def test_a_manifest_that_disagrees_with_its_file_is_not_proven(pipeline):
    pipeline.run.rows["Books"].rejected = 3
    pipeline.write()
    assert pipeline.validate().reasons == ["Books: 3 records were rejected, but by the file it must be 0"]


def test_a_run_that_still_runs_is_not_proven(pipeline):
    pipeline.run.state = "running"
    pipeline.write()
    assert not pipeline.validate().proven


def test_a_file_that_changed_since_the_run_is_refused(pipeline):
    pipeline.write()
    with pipeline.run.sources["Books"].file.open("a") as file:
        file.write("u,1,1.0,1\n")
    with pytest.raises(StreamproofError, match="has changed since it was replayed"):
        pipeline.validate()


def test_without_any_windows_the_message_says_what_to_do(pipeline):
    pipeline.windows = []
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert verdict.rows.kafka == verdict.rows.sent  # the rows are audited all the same
    assert f"submit one that follows it (streamproof submit … --run {pipeline.run.run})" in verdict.reasons[-1]
    verdict = pipeline.validate(wanted=Wanted(size=SIZE, slide=SLIDE))
    assert verdict.windows.missing > 0
    assert not verdict.proven


def test_the_newest_job_is_judged_unless_another_is_wanted(pipeline):
    rows = [r for r in pipeline.rows if r["seq"] > 0]
    older = windows_of(rows, "older", 10_000, 10_000)
    older[0]["rating_count"] += 1
    newer, pipeline.windows = pipeline.windows, older
    pipeline.write()
    pipeline.windows = newer
    pipeline.write_windows()
    assert pipeline.validate().job == newer[0]["job"]
    for wanted in (Wanted(job="older"), Wanted(size=10_000, slide=10_000), Wanted.parse(None, "10s", None)):
        verdict = pipeline.validate(wanted=wanted)
        assert (verdict.job, verdict.windows.wrong, verdict.windows.right) == ("older", 1, len(older) - 1)
    verdict = pipeline.validate(wanted=Wanted(size=7_000, slide=7_000))
    assert not verdict.proven
    assert "no job has written such windows" in verdict.reasons[-1]
    assert "older: 10s / 10s" in verdict.reasons[-1]


def test_waiting_takes_in_what_comes_after_the_first_look(pipeline):
    late, pipeline.windows = pipeline.windows[100:], pipeline.windows[:100]
    pipeline.write()
    asked: list[float] = []

    class Watched(validation.verdict.RunRecords):
        def poll(self) -> bool:
            if not asked:
                pipeline.windows = late
                pipeline.write_windows()
            asked.append(1)
            return super().poll()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation.verdict, "RunRecords", Watched)
        assert pipeline.validate(wait=30).proven
    assert asked


def test_windows_that_are_committed_while_the_reading_begins_are_read(pipeline):
    contract = pipeline.run.contract
    topics = Topics(rows=f"{pipeline.run.run}.r", dead_letters=f"{pipeline.run.run}.d", windows=f"{pipeline.run.run}.w")
    pipeline.run.contract = contract.model_copy(update={"topics": topics})
    ensure_topics(pipeline.run.contract, pipeline.kafka)
    pipeline.write(windows_too=False)
    written: list[str] = []

    class JobWritesNow(Consumer):
        """Kafka has no window when it is asked for the first one's offset; they are there when it has answered."""

        def offsets_for_times(self, places, *args, **kwargs):
            answer = super().offsets_for_times(places, *args, **kwargs)
            if places[0].topic == topics.windows and not written:
                written.append(places[0].topic)
                pipeline.write_windows()
                while sum(self.get_watermark_offsets(place)[1] for place in places) < len(pipeline.windows):
                    pass
            return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamproof.core.kafka, "Consumer", JobWritesNow)
        assert pipeline.validate(wait=5).reasons == []
    assert written


@pytest.mark.parametrize("late", [4, lambda _: 4])
def test_late_rows_are_shown_and_do_not_speak_against_right_windows(pipeline, late):
    pipeline.write()
    verdict = pipeline.validate(late=late)
    assert (verdict.windows.late, verdict.proven) == (4, True)


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
    assert command(pipeline, "audit", pipeline.run.run).returncode == 0
    pipeline.run.state = "stopped"
    pipeline.run.save(pipeline.home)
    assert command(pipeline, "audit", pipeline.run.run).returncode == 1


def test_the_audit_command_prints_a_line_for_each_category_or_one_json_document(pipeline):
    pipeline.run.rows["x" * 200] = RowCounts()
    pipeline.run.sources["x" * 200] = pipeline.run.sources["Books"]
    pipeline.run.rows["Books"].sent = 1_000_250
    pipeline.write(windows_too=False)
    done = command(pipeline, "audit", pipeline.run.run)
    assert done.returncode == 1
    assert "1,000,250" in done.stdout  # numbers are whole however narrow the terminal
    assert "Books: 1000000 rows are lost: seq 251 to 1000250" in done.stdout
    done = command(pipeline, "audit", pipeline.run.run, "--json")
    assert done.returncode == 1
    printed = json.loads(done.stdout)
    assert (printed["rows"]["sent"], printed["rows"]["received"], printed["rows"]["lost"]) == (
        1_000_250,
        None,
        1_000_000,
    )


def command(pipeline: Pipeline, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {"STREAMPROOF_HOME": str(pipeline.home.home), "STREAMPROOF_KAFKA_SERVERS": pipeline.kafka.servers}
    return subprocess.run(
        [sys.executable, "-m", "validation", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | settings,
    )


def test_the_command_prints_one_json_document_and_leaves_a_report(pipeline):
    pipeline.run.rows["<i>&"] = RowCounts()
    pipeline.run.sources["<i>&"] = pipeline.run.sources["Books"]
    pipeline.run.limit = 250
    pipeline.write()
    done = command(pipeline, "validate", pipeline.run.run, "--json", "--wait", "0")
    printed = json.loads(done.stdout)
    assert done.returncode == 1
    assert printed["windows"]["right"] == len(pipeline.windows)
    folder = pipeline.home.runs / pipeline.run.run
    assert json.loads((folder / "validation.json").read_text()) == printed
    page = (folder / "validation.html").read_text()
    assert "NOT PROVEN" in page
    assert "&lt;i&gt;&amp;" in page
    assert "<i>" not in page


def test_the_exit_code_is_0_only_when_proven(pipeline):
    pipeline.write()
    done = command(pipeline, "validate", pipeline.run.run)
    assert done.returncode == 0, done.stderr
    assert "PROVEN" in done.stdout
    pipeline.windows = pipeline.windows[:1]
    pipeline.write_windows()
    done = command(pipeline, "validate", pipeline.run.run)
    assert done.returncode == 1
    assert "NOT PROVEN" in done.stdout
    assert "doubled: Books" in done.stdout


def test_windows_are_exported_as_csv_json_and_parquet(pipeline, tmp_path):
    pipeline.write()
    first = min(pipeline.windows, key=lambda w: (w["product_id"], w["window_start"]))
    lines = command(pipeline, "windows", pipeline.run.run).stdout.splitlines()
    names = ("count", "sum", "avg", "min", "max")
    numbers = [first[f"rating_{name}"] for name in names]
    assert lines[0] == "category,product_id,window_start,window_end," + ",".join(f"rating_{n}" for n in names)
    assert lines[1] == ",".join(
        map(str, ["Books", first["product_id"], first["window_start"], first["window_end"], *numbers])
    )
    assert len(lines) == 1 + len(pipeline.windows)
    objects = json.loads(command(pipeline, "windows", pipeline.run.run, "--format", "json").stdout)
    assert objects[0] == {k: v for k, v in first.items() if k not in ("job", "run", "window_size", "window_slide")}
    file = tmp_path / "windows.parquet"
    assert command(pipeline, "windows", pipeline.run.run, "--format", "parquet", "--output", str(file)).returncode == 0
    types = duckdb.sql(f"SELECT typeof(product_id), typeof(window_start), typeof(rating_sum) FROM '{file}' LIMIT 1")
    assert types.fetchall() == [("VARCHAR", "TIMESTAMP", "DECIMAL(38,1)")]
    assert duckdb.sql(f"SELECT count(*) FROM '{file}'").fetchall() == [(len(pipeline.windows),)]


@pytest.mark.parametrize("form", ["parquet", "xlsx"])
def test_a_form_for_programs_alone_without_a_file_is_wrong_use(pipeline, form):
    result = CliRunner().invoke(validation.cli.app, ["windows", pipeline.run.run, "--format", form])
    assert "--output" in str(result.exception)


def test_an_excel_table_keeps_ids_as_text_and_bounds_as_times(pipeline, tmp_path):
    pipeline.write()
    file = tmp_path / "windows.xlsx"
    done = command(pipeline, "windows", pipeline.run.run, "--format", "xlsx", "--output", str(file))
    assert done.returncode == 0, done.stderr
    table = pandas.read_excel(file)
    assert len(table) == len(pipeline.windows)
    first = min(pipeline.windows, key=lambda w: (w["product_id"], w["window_start"]))
    assert table["product_id"][0] == first["product_id"] == "0000143502"
    assert f"{table['window_start'][0]:%Y-%m-%dT%H:%M:%SZ}" == first["window_start"]
    assert table["rating_sum"][0] == first["rating_sum"]


def test_a_histogram_is_exported_with_the_share_of_each_value(measured):
    measured.write()
    objects = json.loads(command(measured, "windows", measured.run.run, "--format", "json").stdout)
    assert len(objects) == len(measured.windows)
    for row in objects[:50]:
        counts = json.loads(row["rating_histogram"])
        assert sum(counts.values()) == row["rating_count"]
        for value in ("1.0", "2.0", "3.0", "4.0", "5.0"):
            assert row[f"rating_share_{value}"] == counts.get(value, 0) / row["rating_count"]
    header = command(measured, "windows", measured.run.run).stdout.splitlines()[0]
    assert header.endswith("rating_histogram,user_id_distinct," + ",".join(f"rating_share_{n}.0" for n in range(1, 6)))
