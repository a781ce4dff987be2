"""What stands beside the project: its windows against the batch truth, and the full topic that it reads."""

from collections import Counter
from fractions import Fraction

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, TopicPartition

from flink_jobs.cluster import Cluster
from streamproof.bench.full_topic import fill_topic, new_run, remove_topics
from streamproof.bench.ground import START_MS, window_job
from streamproof.bench.measure import Result
from streamproof.bench.side_by_side.runner import SIDE_BY_SIDE, ask, batch_question, compare_with_truth, say_ratios
from streamproof.core.message import END_SEQ
from streamproof.core.run import load_run, new_run_id
from validation.answers import Wanted
from validation.comparison import AnswerCounts
from validation.verdict import validate

ROWS = 400


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMPROOF_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize("program", ["batch_duckdb", "batch_pandas", "batch_polars"])
def test_batch_programs_give_exactly_the_windows_of_the_validation(home, program):
    run = new_run("r", ROWS, keys=5, interval=Fraction(10_000, 7))
    (home / "manifest.json").write_text(run.model_dump_json())
    said = ask(program, batch_question(home / "manifest.json", home / "w"))
    found = compare_with_truth(run, home / "w")
    assert said.rows == ROWS
    assert found == AnswerCounts(right=said.windows)
    assert said.windows > ROWS
    assert said.seconds > 0


@pytest.mark.long
def test_windows_that_are_wrong_missing_or_extra_are_counted(home):
    run = new_run("r", ROWS, keys=5)
    (home / "manifest.json").write_text(run.model_dump_json())
    ask("batch_duckdb", batch_question(home / "manifest.json", home / "w"))
    rows = pq.read_table(home / "w").to_pylist()
    rows[0]["total"] += 1
    rows[1]["product_id"] = "nothing like it"
    rows[2]["greatest"] += 1
    pq.write_table(pa.Table.from_pylist([*rows, rows[5]]), home / "w")
    assert compare_with_truth(run, home / "w") == AnswerCounts(right=len(rows) - 3, wrong=2, missing=1, extra=2)


@pytest.mark.long
@pytest.mark.usefixtures("home")
def test_a_batch_benchmark_gives_a_figure_and_how_many_windows_equal_the_batch():
    once = SIDE_BY_SIDE["validate.pandas"].run(ROWS)
    assert once.value > 0
    assert once.parts["windows not equal to the batch"] == 0
    assert once.parts["windows equal to the batch"] > ROWS


def test_ratios_are_of_what_was_measured_on_the_same_rows():
    def result(name, rows, *runs):
        return Result(name=name, unit="rows/s", about="", rows=rows, runs=runs, proven=bool(runs))

    found = [result("windows.flink", 1000, 20.0), result("windows.bytewax", 1000, 8.0), result("read.csv", 1000, 1.0),
             result("windows.quixstreams", 500, 4.0), result("windows.bytewax.sparse", 1000, 2.0),
             result("validate.polars", 1000, 40.0), result("validate.duckdb", 1000)]  # fmt: skip
    assert say_ratios(found) == ["windows.flink: 2.5 times the rows/s of windows.bytewax"]


def messages(run, servers):
    consumer = Consumer({"bootstrap.servers": servers.kafka.servers, "group.id": "test", "enable.partition.eof": True})
    topic = run.contract.topics.rows
    partitions = list(consumer.list_topics(topic, 10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    found, ended = {p: [] for p in partitions}, 0
    while ended < len(partitions):
        for message in consumer.consume(1000, 1):
            if message.error():
                ended += 1
            else:
                found[message.partition()].append(msgspec.json.decode(message.value()))
    consumer.close()
    return found


@pytest.mark.long
def test_a_full_topic_is_a_finished_run_whose_windows_the_job_proves(servers):
    run = fill_topic(new_run(new_run_id(), ROWS, keys=5))
    try:
        assert load_run(run.run, servers.home) == run
        found = messages(run, servers)
        rows = [m for part in found.values() for m in part if m["seq"] > 0]
        assert Counter((m["category"], m["seq"]) for m in rows) == Counter(
            (c, seq) for c in run.sources for seq in range(1, ROWS // 2 + 1)
        )
        for part in found.values():
            assert [m["event_time"] for m in part if m["seq"] == END_SEQ] == [run.end] * len(run.sources)
            for at, message in enumerate(part):
                behind = [m["event_time"] for m in part[at:] if m["seq"] > 0]
                assert message["low_watermark"] < min(behind, default=run.end + 1)
        assert run.end == START_MS + (ROWS // 2 - 1) * 1000
        with window_job(run.run, run.contract) as job:
            wanted = Wanted(job=job, question="rating_averages")
            verdict = validate(run.run, servers.home, servers.kafka, wanted=wanted, wait=60)
            assert verdict.reasons == [], (verdict, [each for each in Cluster().list() if each.label == job])
    finally:
        remove_topics(run)


@pytest.mark.long
@pytest.mark.usefixtures("servers")
def test_flinks_datastream_api_gives_the_windows_of_the_batch_from_a_full_topic():
    once = SIDE_BY_SIDE["windows.datastream"].run(ROWS)
    assert once.value > 0
    assert once.parts["windows not equal to the batch"] == 0
