"""A pipeline that is played: what replayer, NiFi and Flink would have written to Kafka, for the validation to judge."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import Result
from confluent_kafka import Producer
from true_windows import TrueWindow, true_windows
from typer.testing import CliRunner

import validation.cli
from streamproof.core.contract import load_contract
from streamproof.core.question import load_question
from streamproof.core.run import RowCounts, Run, Source, new_run_id
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.topics import ensure_topics
from validation.audit import Audit, audit
from validation.stages import ReadByJob, Stages
from validation.verdict import Verdict, validate

SIZE, SLIDE, INTERVAL = 30_000, 5_000, 1003
START = 1_704_067_203_750  # 3.75 s past a window's start
AVERAGES = load_question("rating_averages")
PRODUCTS = ("0000143502", "000107461X", "B00004Z5M1")


@dataclass
class Pipeline:
    """A run of 250 rows: what its manifest says, and what each topic holds once it is written."""

    home: HomeSettings
    kafka: KafkaSettings
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
        self._produce(AVERAGES.topic(self.run.contract), self.windows, lambda _: None, transactional=True)

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

    def begin_transaction(self, windows: Iterable[dict[str, object]], **options) -> Producer:
        """Write windows in a transaction of another job, and leave it open."""
        producer = Producer({"bootstrap.servers": self.kafka.servers, "transactional.id": f"open-{self.run.run}"})
        producer.init_transactions(20)
        producer.begin_transaction()
        for window in windows:
            producer.produce(AVERAGES.topic(self.run.contract), json.dumps(window), **options)
        producer.flush(20)
        return producer

    def windows_of(self, job: str, size: int = SIZE, slide: int = SLIDE) -> list[dict[str, object]]:
        """Return the windows that a job of this shape should have written."""
        return [
            {
                "job": job,
                "run": self.run.run,
                "category": window.category,
                "product_id": window.key,
                "window_start": iso(window.start),
                "window_end": iso(window.end),
                "window_size": size,
                "window_slide": slide,
                "rating_count": len(values),
                "rating_sum": sum(values),
                "rating_avg": sum(values) / len(values),
                "rating_min": min(values),
                "rating_max": max(values),
            }
            for window, values in self.true_windows(size, slide).items()
        ]

    def true_windows(self, size: int = SIZE, slide: int = SLIDE) -> dict[TrueWindow, list[float]]:
        rows = ((r["category"], r["product_id"], r["event_time"], r["rating"]) for r in self.rows if r["seq"] > 0)
        return true_windows(rows, size, slide)

    def validate(self, **options) -> Verdict:
        return validate(self.run.run, self.home, self.kafka, **options)

    def audit(self, received=None, read=None) -> Audit:
        stages = Stages(nifi=lambda _: received, flink=lambda _, job: read and ReadByJob(job or "newest", read))
        return audit(self.run.run, self.home, self.kafka, stages=stages)

    def command(self, name: str, *arguments: str) -> Result:
        """Run a command of the validation on this run, in this process."""
        environment = {"STREAMPROOF_HOME": str(self.home.home), "STREAMPROOF_KAFKA_SERVERS": self.kafka.servers}
        return CliRunner().invoke(validation.cli.app, [name, self.run.run, *arguments], env=environment)


def iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def row(run: str, seq: int, product: str, rating: float) -> dict[str, object]:
    event_time = START + (seq - 1) * INTERVAL
    envelope = {"run": run, "category": "Books", "seq": seq, "event_time": event_time, "low_watermark": START - 1}
    return envelope | {"user_id": "u", "product_id": product, "rating": rating, "timestamp": seq * 1000}


@pytest.fixture
def pipeline(servers, tmp_path: Path) -> Pipeline:
    """A run whose records are ready to be written."""
    contract, run = load_contract("ratings"), f"verdict-{new_run_id()}"
    ensure_topics([contract.topics.rows, contract.topics.dead_letters, AVERAGES.topic(contract)], servers.kafka)
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
    made = Pipeline(servers.home, servers.kafka, manifest, [*rows, mark, mark])
    made.windows = made.windows_of(f"job-{run}")
    return made
