"""The job's windows over real Kafka and Flink, against a calculation in plain Python."""

import json
import random
import zlib
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from tenacity import RetryError
from true_windows import true_windows
from waiting import until

from flink_jobs.cluster import ENDED, Cluster
from flink_jobs.offsets import read_offsets
from flink_jobs.records import JobOptions, find_record, newest_checkpoint
from flink_jobs.submission import resubmit, submit
from streamproof.core.contract import parse_contract
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.message import END_SEQ, HEARTBEAT_SEQ
from streamproof.core.question import load_question
from streamproof.core.run import RowCounts, Run, Source
from streamproof.core.topics import ensure_topics
from streamproof.core.window import Window
from streamproof.stack.servers import Stack

AVERAGES = load_question("rating_averages")
PARTITIONS = 4
KEYS = ["0000143502", "000107461X", "B00004TX71", "143502", "7", "18", "19"]
"""Some in each partition: only rows can be late, and the partition that is read last must have some."""
FIELDS = {
    "product_id": {"type": "text"},
    "rating": {"type": "decimal", "scale": 1},
    "taken": {"type": "time", "unit": "ms"},
}


def contract(name, **changes):
    base = {"name": name, "partition_by": "product_id", "event_time": "taken", "fields": FIELDS}
    return parse_contract(base | changes, "test")


class Topic:
    """A stream's topics as the chain fills them and a reader of windows sees them."""

    def __init__(self, servers, stream):
        self.servers, self.contract = servers, stream
        topics = [stream.topics.rows, AVERAGES.topic(stream)]
        ensure_topics(topics, servers.kafka.model_copy(update={"partitions": PARTITIONS}))
        self.producer = Producer({"bootstrap.servers": servers.kafka.servers, "enable.idempotence": True})
        self.found = defaultdict(list)
        self.reader = Consumer({
            "bootstrap.servers": servers.kafka.servers, "group.id": "test", "enable.partition.eof": True,
            "isolation.level": "read_committed", "enable.auto.commit": False,
        })  # fmt: skip
        self.places = dict.fromkeys(range(PARTITIONS), 0)

    def send(self, row, low, *, run):
        fields = {"product_id": row["key"], "rating": row["rating"], "taken": row["event_time"]}
        self._put(row["key"], run, row["category"], row["seq"], row["event_time"], low, fields)

    def mark(self, seq, low, *, run, category="Books", partitions=range(PARTITIONS)):
        fields = {"product_id": "", "rating": 0.0, "taken": 0}
        for partition in partitions:
            self._put(None, run, category, seq, low, low, fields, partition)

    def send_text(self, text, partition=0):
        self.producer.produce(self.contract.topics.rows, text, partition=partition)

    def _put(self, key, run, category, seq, event_time, low, fields, partition=None):
        head = {"run": run, "category": category, "seq": seq, "event_time": event_time, "low_watermark": low}
        place = zlib.crc32(key.encode()) % PARTITIONS if partition is None else partition
        self.producer.produce(self.contract.topics.rows, json.dumps(head | fields), key, partition=place)

    def windows(self, job):
        """Return a job's windows that are committed by now, copies and all."""
        ended, topic = set(), AVERAGES.topic(self.contract)
        # Assigned anew, it tells anew where each partition ends.
        self.reader.assign([TopicPartition(topic, p, offset) for p, offset in self.places.items()])
        while len(ended) < PARTITIONS:
            for message in self.reader.consume(1000, 0.1):
                if message.error():
                    ended.add(message.partition())
                else:
                    self.places[message.partition()] = message.offset() + 1
                    window = json.loads(message.value(), parse_float=Decimal)
                    self.found[window["job"]].append(as_result(window))
        return self.found[job]

    def wait_for_windows(self, expected, job):
        """Return the job's windows once all expected are there and later checkpoints have brought no more.

        Of the checkpoints to come the first may have begun already, the second holds all that is in the job now,
        and when the third is complete, the second is committed.
        """
        with suppress(RetryError):  # what is wrong is told better by what came instead
            until(lambda: set(expected) <= set(self.windows(job)))
        wanted = completed_checkpoints(job) + 3
        until(lambda: completed_checkpoints(job) >= wanted)
        return sorted(self.windows(job))


def completed_checkpoints(job):
    checkpoint = newest_checkpoint(find_record(job))
    return int(checkpoint.rpartition("-")[2]) if checkpoint else 0


def as_result(w):
    numbers = (Decimal(w[f"rating_{name}"]) for name in ("sum", "min", "max"))
    names = (w[n] for n in ("category", "product_id", "window_start", "window_end", "rating_count"))
    return (*names, *numbers, float(w["rating_avg"]))


def iso(milliseconds):
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def results_of(rows, size, slide):
    """Return what a job must write, as ``as_result`` has it."""
    timed = ((row["category"], row["key"], row["event_time"], Decimal(str(row["rating"]))) for row in rows)
    return sorted(
        (w.category, w.key, iso(w.start), iso(w.end), len(r), sum(r), min(r), max(r), float(sum(r)) / len(r))
        for w, r in true_windows(timed, size, slide).items()
    )


def rows_of(seed, start, count):
    """Rows 1.003 s apart, some at a window's very edge; one category falls silent for most of the time."""
    chance, seqs, rows = random.Random(seed), defaultdict(int), []
    for i in range(count):
        event_time = start + i * 1003
        if i % 20 < 2:
            event_time = event_time // 5000 * 5000 - i % 2  # the first of a window, the last of one
        silent = count * 0.2 < i < count * 0.9
        category = "Books" if silent or chance.random() < 0.5 else "Home_and_Kitchen"
        seqs[category] += 1
        rows.append({"category": category, "seq": seqs[category], "event_time": event_time,
                     "key": chance.choice(KEYS), "rating": chance.randint(2, 10) / 2})  # fmt: skip
    return rows


def replay(topic, run, rows, *, ahead=0, seed=1):
    """Send rows as a bad network would: shuffled, a tenth lost and sent again later, some doubled.

    The low watermark is what the rows still under way allow, plus ``ahead`` milliseconds of mistake. Yields
    now and then, so that two runs can take turns.
    """
    chance, waiting, under_way, lost = random.Random(seed), list(reversed(rows)), [], []
    while waiting or under_way or lost:
        while waiting and len(under_way) + len(lost) < 400:
            under_way.append(waiting.pop())
        low = min(r["event_time"] for r in under_way + lost + waiting[-1:]) - 1 + ahead
        chance.shuffle(under_way)
        batch, under_way = under_way[:100], under_way[100:]
        if chance.random() < 0.3 or not batch:
            batch, lost = batch + lost, []
        for row in batch:
            if chance.random() < 0.1:
                lost.append(row)
                continue
            for _ in range(1 + (chance.random() < 0.05)):
                topic.send(row, low, run=run)
        topic.mark(HEARTBEAT_SEQ, low, run=run)
        topic.producer.flush()
        yield
    topic.mark(END_SEQ, max(r["event_time"] for r in rows), run=run)
    topic.producer.flush()


RUNS = {"A": rows_of(1, 1_700_000_000_000, 2500), "B": rows_of(2, 1_600_000_000_000, 2500)}
BAD_RUN = rows_of(3, 1_650_000_000_000, 1500)
AFTER_BAD_RUN = {"category": "Books", "seq": 9999, "event_time": 1_650_010_000_000, "key": "last", "rating": 1.0}
"""A row so far behind that no mistake makes it late: when its windows are there, those of all rows before it are."""


@pytest.fixture(scope="module")
def topic(servers):
    """One topic with two runs years apart, taking turns, a broken line, and a run whose low watermark is too high."""
    topic = Topic(servers, contract(f"averages_{random.randrange(10**9)}"))
    chance, live = random.Random(5), [replay(topic, run, rows) for run, rows in RUNS.items()]
    topic.send_text('{"run": "A", "category": ')
    while live:
        turn = chance.choice(live)
        if next(turn, "ended") == "ended":
            live.remove(turn)
    for _ in replay(topic, "too-high", BAD_RUN, ahead=120_000):
        pass
    topic.send(AFTER_BAD_RUN, AFTER_BAD_RUN["event_time"] - 1, run="too-high")
    topic.mark(END_SEQ, AFTER_BAD_RUN["event_time"], run="too-high")
    topic.producer.flush()
    return topic


@pytest.fixture
def run_job(servers):
    """Submit jobs, and cancel at the end of the test what still runs."""
    cluster, jobs = Cluster(servers.flink), []

    def run(stream, size, slide, **options):
        options = JobOptions(contract=stream, **{"checkpoint_interval": 200} | options)
        asked = [AVERAGES.with_window(Window(size, slide))]
        jobs.append(submit(asked, options, servers.flink, servers.kafka).job)
        return jobs[-1]

    yield run
    for job in set(jobs):
        if cluster.state(job) not in ENDED:
            cluster.cancel(job)


@pytest.mark.parametrize(
    ("run", "size", "slide", "parallelism"),
    [
        pytest.param("A", 30_000, 5_000, 2, id="30s/5s"),
        pytest.param(
            "B", 30_000, 5_000, 1, id="30s/5s, the other run, one slot for all partitions", marks=pytest.mark.long
        ),
        pytest.param("A", 600_000, 60_000, 2, id="10min/1min", marks=pytest.mark.long),
        pytest.param("A", 5_000, 5_000, PARTITIONS + 1, id="tumbling, more slots than partitions"),
    ],
)
def test_windows_of_a_run_are_exact_beside_another_run_years_away(topic, run_job, run, size, slide, parallelism):
    assert Cluster(topic.servers.flink).wait_for_slots(parallelism, 30), "other jobs hold the slots"
    job = run_job(topic.contract, size, slide, run=run, parallelism=parallelism)
    expected = results_of(RUNS[run], size, slide)
    assert topic.wait_for_windows(expected, job) == expected


def test_a_low_watermark_that_is_too_high_shows_as_late_rows_and_wrong_windows(topic, run_job):
    job = run_job(topic.contract, 30_000, 5_000, run="too-high")
    found = topic.wait_for_windows(results_of([AFTER_BAD_RUN], 30_000, 5_000), job)
    expected = results_of([*BAD_RUN, AFTER_BAD_RUN], 30_000, 5_000)
    assert set(found) & set(expected) >= set(results_of([AFTER_BAD_RUN], 30_000, 5_000))
    assert set(expected) - set(found)
    assert until(lambda: Cluster(topic.servers.flink).late_rows(job)) > 0


@pytest.mark.long
def test_the_live_stream_from_its_first_row_through_a_savepoint_to_its_last_window(servers, run_job):
    stream = contract(f"live_{random.randrange(10**9)}",
                      fields=FIELDS | {"rating": {"type": "integer"}})  # fmt: skip
    topic, cluster, t = Topic(servers, stream), Cluster(servers.flink), 1_700_000_000_000

    def row(category, seq, after, key, rating):
        return {"category": category, "seq": seq, "event_time": t + after, "key": key, "rating": rating}

    before = row("Books", 1, 0, "1", 5)
    topic.send(before, t - 1, run="before")
    topic.producer.flush()

    job = run_job(stream, 30_000, 5_000)
    first = [row("Books", 1, 0, "007", 1), row("Books", 2, 10, "007", 2), row("Home", 1, 4_999, "7", 4)]
    books = [row("Books", 3 + i, 20_000 * i, "007", i % 5) for i in range(1, 10)]
    for r in first + books:
        topic.send(r, t - 1, run="live")
    topic.mark(HEARTBEAT_SEQ, t + 180_000 - 1, run="live")
    topic.producer.flush()
    # Home has been silent for three minutes of event time; no end mark yet.
    closed = [w for w in results_of(first + books, 30_000, 5_000) if w[3] <= iso(t + 180_000)]
    assert topic.wait_for_windows(closed, job) == closed
    assert ("Books", "007", iso(t), iso(t + 30_000), 3, 4, 1, 2, 4 / 3) in closed
    assert cluster.late_rows(job) == 0

    topic.send(row("Books", 99, 1, "007", 5), t + 180_000 - 1, run="live")
    topic.send_text("not JSON")
    topic.producer.flush()
    assert until(lambda: cluster.late_rows(job)) == 1
    assert until(lambda: cluster.unreadable(job)) == 1

    path = cluster.savepoint(job, stop=True)
    with pytest.raises(UsageError, match="another window: 30s/5s, not 1min/5s"):
        run_job(stream, 60_000, 5_000, savepoint=path)
    with pytest.raises(UsageError, match="another run: all of them, not live"):
        run_job(stream, 30_000, 5_000, savepoint=path, run="live")
    assert run_job(stream, 30_000, 5_000, savepoint=path) == job
    assert [(j.label, j.id == job, j.state) for j in cluster.list() if j.label == job] == [
        (job, False, "RUNNING"), (job, True, "FINISHED")]  # fmt: skip
    last = [row("Books", 100, 200_000, "007", 3)]
    topic.send(last[0], t + 180_000 - 1, run="live")
    topic.mark(END_SEQ, t + 200_000, run="live")
    topic.producer.flush()
    expected = results_of(first + books + last, 30_000, 5_000)
    assert topic.wait_for_windows(expected, job) == expected
    assert cluster.late_rows(job) == 0


@pytest.mark.long
def test_rows_with_a_field_that_cannot_be_read_are_in_no_window(servers, run_job):
    stream, t = contract(f"nulls_{random.randrange(10**9)}"), 1_700_000_000_000
    topic = Topic(servers, stream)
    row = {"category": "Books", "seq": 1, "event_time": t, "key": "007", "rating": 4.5}
    topic.send(row, t - 1, run="nulls")
    for seq, change in enumerate([{"rating": "good"}, {"rating": None}, {"key": None}, {"category": None}], 2):
        bad = row | {"seq": seq} | change
        fields = {"product_id": bad["key"], "rating": bad["rating"], "taken": t}
        topic._put("007", "nulls", bad["category"], bad["seq"], t, t - 1, fields)
    topic.mark(END_SEQ, t, run="nulls")
    topic.producer.flush()
    expected = results_of([row], 30_000, 5_000)
    followed = run_job(stream, 30_000, 5_000, run="nulls")
    live = run_job(stream, 30_000, 5_000, start="earliest")
    assert topic.wait_for_windows(expected, followed) == expected
    assert topic.wait_for_windows(expected, live) == expected


@pytest.mark.long
@pytest.mark.faults
def test_a_job_that_the_jobmanager_lost_goes_on_under_its_label_exactly_once(servers, run_job):
    name = f"lost_{random.randrange(10**9)}"
    # A topic of its own for the job without checkpoints: readers of committed windows wait for an open transaction.
    topic, other = (Topic(servers, contract(each, topics={"rows": name})) for each in (name, f"{name}_other"))
    rows, cluster, stack = RUNS["A"], Cluster(servers.flink), Stack.from_environment()
    job = run_job(topic.contract, 30_000, 5_000, run="A")
    without_checkpoint = run_job(other.contract, 5_000, 5_000, run="A", checkpoint_interval=3_600_000)
    with pytest.raises(StreamproofError, match="is RUNNING"):
        resubmit(job, servers.flink, servers.kafka)
    live = replay(topic, "A", rows)
    for _ in range(17):
        next(live)
    until(lambda: topic.windows(job))  # some are committed, others are begun

    jobmanager = stack.processes.find("jobmanager")
    jobmanager.kill()
    jobmanager.wait(10)
    stack.up(parts=("jobmanager",))
    assert not cluster.states()
    for label in (job, without_checkpoint):
        resumed = resubmit(label, servers.flink, servers.kafka)
        assert (resumed.job, resumed.flink_id != label) == (label, True)
    for _ in live:
        pass
    expected = results_of(rows, 30_000, 5_000)
    assert topic.wait_for_windows(expected, job) == expected
    assert cluster.late_rows(job) == cluster.late_rows(without_checkpoint) == 0
    assert set(topic.found) == {job}
    cluster.savepoint(without_checkpoint, stop=True)
    assert sorted(other.windows(without_checkpoint)) == results_of(rows, 5_000, 5_000)
    cluster.cancel(job)
    for label, state in ((job, "cancelled"), (without_checkpoint, "stopped")):
        with pytest.raises(UsageError, match=f"was {state}"):
            resubmit(label, servers.flink, servers.kafka)


@pytest.mark.long
def test_partitions_are_read_in_step_so_that_a_backlog_does_not_become_state(servers, run_job):
    topic = Topic(servers, contract(f"in_step_{random.randrange(10**9)}"))
    run, start = topic.contract.name, 1_700_000_000_000
    keys = {zlib.crc32(key.encode()) % PARTITIONS: key for key in map(str, range(20))}
    del keys[0]  # of this partition the job knows only how it begins
    rows = [{"category": "Books", "seq": i + 1, "event_time": start + i * 10, "key": keys[i % 3 + 1], "rating": 1.0}
            for i in range(99_000)]  # fmt: skip
    topic.mark(HEARTBEAT_SEQ, start - 1, run=run)
    for row in rows:
        topic.send(row, row["event_time"] - 1, run=run)
    topic.producer.flush()
    job = run_job(topic.contract, 30_000, 5_000, run=run)

    def read():
        return sum(end for _, end in read_offsets(find_record(job), servers.kafka).values())

    def stands_still():
        before, wanted = read(), completed_checkpoints(job) + 3
        until(lambda: completed_checkpoints(job) >= wanted)
        return before and read() == before

    until(stands_still)
    assert read() < len(rows)
    topic.mark(END_SEQ, rows[-1]["event_time"], run=run)
    topic.producer.flush()
    expected = results_of(rows, 30_000, 5_000)
    assert topic.wait_for_windows(expected, job) == expected


def ended_run(run, stream, end):
    """Return the manifest of a run whose end is marked."""
    return Run(run=run, contract=stream, clock="virtual", pace="file", batch_rows=1, batch_ms=1, end=end,
               sources={"Books": Source(file="Books.csv", sha256="", size=0)}, rows={"Books": RowCounts()},
               state="finished", created=datetime.now(UTC))  # fmt: skip


@pytest.mark.long
@pytest.mark.faults
def test_a_job_that_restarts_between_two_partitions_end_marks_still_closes_its_windows_and_ends(servers, run_job):
    topic = Topic(servers, contract(f"restarted_{random.randrange(10**9)}"))
    rows, cluster, stack = RUNS["A"][:200], Cluster(servers.flink), Stack.from_environment()
    run = topic.contract.name
    job = run_job(topic.contract, 30_000, 5_000, run=run)
    low, end = min(row["event_time"] for row in rows) - 1, rows[-1]["event_time"]
    for row in rows:
        topic.send(row, low, run=run)
    topic.mark(END_SEQ, end, run=run, partitions=range(PARTITIONS - 1))
    topic.producer.flush()
    read = completed_checkpoints(job) + 3
    until(lambda: completed_checkpoints(job) >= read)
    assert not topic.windows(job)

    name = sorted(cluster.taskmanagers(job))[0]
    taskmanager = stack.processes.find(name)
    taskmanager.kill()
    taskmanager.wait(10)
    stack.up(parts=(name,))
    restarted = datetime.now(UTC)
    until(lambda: (cluster.last_checkpoint(job) or restarted) > restarted)
    topic.mark(END_SEQ, end, run=run, partitions=[PARTITIONS - 1])
    topic.producer.flush()
    ended_run(run, topic.contract, end).save(servers.home)
    until(lambda: find_record(job).state == "finished")
    assert sorted(topic.windows(job)) == results_of(rows, 30_000, 5_000)


@pytest.mark.long
def test_a_cancelled_job_commits_what_it_has_written_and_hides_no_windows_of_another(servers, run_job):
    topic = Topic(servers, contract(f"hidden_{random.randrange(10**9)}"))
    cluster, rows = Cluster(servers.flink), RUNS["A"]
    # So long between two checkpoints that all it writes is in an open transaction when it is cancelled.
    first = run_job(topic.contract, 30_000, 5_000, run="A", checkpoint_interval=3_600_000)
    for _ in replay(topic, "A", rows):
        pass
    anyone = Consumer(
        {"bootstrap.servers": servers.kafka.servers, "group.id": "test", "isolation.level": "read_uncommitted"}
    )
    windows = [TopicPartition(AVERAGES.topic(topic.contract), p) for p in range(PARTITIONS)]
    assert until(lambda: sum(anyone.get_watermark_offsets(p)[1] for p in windows))
    anyone.close()
    cluster.cancel(first)
    expected = results_of(rows, 30_000, 5_000)
    written = topic.windows(first)
    assert written
    assert set(written) <= set(expected)
    second = run_job(topic.contract, 30_000, 5_000, run="A")
    assert topic.wait_for_windows(expected, second) == expected
