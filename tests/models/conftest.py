"""A Kafka of its own, and a run of which the rows and the answers of a job lie in it, or come bit by bit."""

import json
import random
from datetime import UTC, datetime
from hashlib import sha256
from uuid import uuid4

import duckdb
import pytest
from confluent_kafka import Producer
from own_servers import own_servers
from waiting import PATIENCE

from flink_jobs.records import JobOptions, JobRecord
from streamproof.core.alert_rule import alerts_topic
from streamproof.core.contract import parse_contract
from streamproof.core.kafka import produce
from streamproof.core.question import Asked, parse_question
from streamproof.core.run import RowCounts, Run, Source
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.topics import ensure_topics
from validation.csv_rows import read_rows
from validation.truth import compute_truth, number_rows

START, INTERVAL, ROWS = 1_704_067_200_000, 120_000, 10_800  # two weeks from Monday, 1 January 2024, and a day
SIZE = 600_000
ITEMS = ("b", "a", "C", 'é"', "z z")
QUESTION = """-- How much is used?
-- stream = "{stream}"
-- window = "tumbling 10min"
-- key = ["item"]
-- [models.unusual]
-- kind = "seasonal-z-score"
-- value = "used"
-- alert = "score >= 4"
-- [models.rare]
-- kind = "half-space-trees"
-- limits = {{ used = [0, 60], readings = [0, 6] }}
-- seed = 7
-- window = 500
-- alert = "score >= 0.99 AND used > 60"
SELECT window_start, window_end, item, SUM(amount) AS used, COUNT(*) AS readings
FROM windowed GROUP BY window_start, window_end, item
"""


@pytest.fixture(scope="module")
def own_kafka():
    with own_servers() as stack:
        yield stack


class ScoredRun:
    """A run whose job was asked a question with two models; its answers are written some windows at a time."""

    def __init__(self, folder):
        self.stream = f"meters{uuid4().hex[:8]}"
        fields = {"item": {"type": "text"}, "amount": {"type": "integer"}}
        self.contract = parse_contract({"name": self.stream, "fields": fields}, "test")
        self.question = parse_question("usage", QUESTION.format(stream=self.stream), "usage.sql")
        self.label, self.kafka = uuid4().hex, KafkaSettings()
        chance, file = random.Random(1), folder / f"{self.stream}.csv"
        amounts = [500 if chance.random() < 0.0005 else chance.randrange(20) for _ in range(ROWS)]
        names = [item.replace('"', '""') for item in chance.choices(ITEMS, k=ROWS)]
        lines = [f'"{item}",{amount}\n' for item, amount in zip(names, amounts, strict=True)]
        file.write_text("item,amount\n" + "".join(lines), encoding="utf-8")
        source = Source(file=file, sha256=sha256(file.read_bytes()).hexdigest(), size=file.stat().st_size)
        self.run = Run(
            run=f"r-{self.stream}", contract=self.contract, clock="virtual", pace="interval", interval=str(INTERVAL),
            start=START, batch_rows=1, batch_ms=1, sources={"All": source},
            rows={"All": RowCounts(sent=ROWS, confirmed=ROWS)}, state="finished", end=START + ROWS * INTERVAL,
            created=datetime.now(UTC),
        )  # fmt: skip
        self.run.save(HomeSettings())
        self.record = JobRecord(
            label=self.label, asked=[Asked(name="usage", text=self.question.text, window=self.question.window)],
            contract=self.contract, options=JobOptions(run=self.run.run), offsets={}, checkpoints="",
            jobmanager="127.0.0.1:1", flink_ids=[self.label], submitted_at=datetime.now(UTC),
        )  # fmt: skip
        self.record.save()
        topics = self.contract.topics
        ensure_topics(
            [topics.rows, topics.dead_letters, alerts_topic(self.contract), self.question.topic(self.contract)],
            self.kafka,
        )
        one = self.kafka.model_copy(update={"partitions": 1})
        ensure_topics([self.question.tally_topic(self.contract)], one)
        self._compute()
        self._producer = Producer(
            {"bootstrap.servers": self.kafka.servers, "transactional.id": self.label, "log_level": 0}
        )
        self._producer.init_transactions(PATIENCE)

    def _compute(self):
        with duckdb.connect() as db:
            number_rows(db, self.run, read_rows(db, self.run, {"item", "amount"}))
            self.rows = db.execute("SELECT seq, epoch_ms(event_time), item, amount FROM sent ORDER BY seq").fetchall()
            compute_truth(db, self.run, self.question, "truth")
            self.answers = {}
            for end, item, used, readings in db.execute(
                "SELECT epoch_ms(window_end), item, used::BIGINT, readings FROM truth ORDER BY window_end, hash(item)"
            ).fetchall():
                self.answers.setdefault(end, []).append({"item": item, "used": used, "readings": readings})
            self.truth, self.digests = {}, {}
            for model in self.question.models:
                self.digests[model.name] = compute_truth(db, self.run, model, model.name)
                self.truth[model.name] = db.execute(
                    "SELECT strftime(window_end, '%Y-%m-%dT%H:%M:%SZ'), item, score, alert "
                    f"FROM {model.name} ORDER BY ALL"
                ).fetchall()

    def write_rows(self):
        """Write the rows, as the flow does."""
        self._producer.begin_transaction()
        mark = (-1, START + ROWS * INTERVAL, "", 0)
        for seq, event_time, item, amount in (*self.rows, mark):
            row = {"run": self.run.run, "category": "All", "seq": seq, "event_time": event_time}
            row |= {"low_watermark": START, "item": item, "amount": amount}
            self._produce(self.contract.topics.rows, row)
        self._producer.commit_transaction(PATIENCE)

    def write_answers(self, ends):
        """Write the answers of some windows, and behind them their tallies, as Flink does."""
        head = {"job": self.label, "question": self.question.label, "run": self.run.run}
        self._producer.begin_transaction()
        for end in ends:
            bounds = {"window_start": self.iso(end - SIZE), "window_end": self.iso(end)}
            shape = {"window_size": SIZE, "window_slide": SIZE, "window_kind": self.question.window.kind}
            for answer in self.answers[end]:
                self._produce(self.question.topic(self.contract), head | bounds | shape | answer)
            tally = head | bounds | shape | {"answers": len(self.answers[end])}
            self._produce(self.question.tally_topic(self.contract), tally)
        self._producer.commit_transaction(PATIENCE)

    def _produce(self, topic, record):
        produce(self._producer, topic, json.dumps(record, ensure_ascii=False).encode())

    @staticmethod
    def iso(milliseconds):
        return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%S}Z"

    def end_job(self):
        self.record.model_copy(update={"state": "finished"}).save()


@pytest.fixture
def scored_run(own_kafka, tmp_path):  # noqa: ARG001 - it must be there
    return ScoredRun(tmp_path)
