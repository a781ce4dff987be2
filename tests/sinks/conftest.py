"""A Kafka and a PostgreSQL of their own, and results as a job commits them."""

import json
import threading
from datetime import UTC, datetime
from hashlib import sha256

import psycopg
import pytest
from confluent_kafka import Producer
from free_ports import free_ports
from own_servers import own_servers
from waiting import PATIENCE

from flink_jobs.records import JobOptions, JobRecord
from streamproof.core.contract import parse_contract
from streamproof.core.question import Asked, parse_question
from streamproof.core.settings import HomeSettings, KafkaSettings, PostgresSettings
from streamproof.core.topics import ensure_topics
from streamproof.sinks.postgres import Postgres
from streamproof.sinks.sink import Limits, Sink
from streamproof.sinks.tables import Catalogue

QUESTION = """-- How much is sold of what?
-- stream = "{stream}"
-- window = "tumbling 1s"
-- key = ["item"]
-- alert = "turnover > 600"
SELECT window_start, window_end, item, SUM(price) AS turnover, COUNT(*) AS sales, MAX(sold_at) AS last_sold,
       AVG(CAST(price AS DOUBLE)) AS mean, COUNT(*) > 1 AS is_often
FROM windowed GROUP BY window_start, window_end, item
"""


def pytest_itemcollected(item):
    """Let one process do all tests that share these servers."""
    if "own_servers" in item.fixturenames:
        item.add_marker(pytest.mark.xdist_group("sinks"))


@pytest.fixture(scope="package", name="own_servers")
def _own_servers():
    """Start a Kafka and a PostgreSQL; nobody listens where the other servers would."""
    postgres, mqtt, nifi, flink, rpc = free_ports(5)
    with own_servers(
        "postgres",
        STREAMPROOF_POSTGRES_PORT=postgres,
        STREAMPROOF_POSTGRES_DSN="",
        STREAMPROOF_MQTT_PORT=mqtt,
        NIFI_API_ENDPOINT=f"http://127.0.0.1:{nifi}/nifi-api",
        STREAMPROOF_FLINK_JOBMANAGER=f"127.0.0.1:{flink}",
        STREAMPROOF_STACK_FLINK_RPC_PORT=rpc,
    ) as stack:
        yield stack


_names = iter(range(1000))


class Job:
    """A job that was asked how much is sold, of a stream that no other test has; its results are written by tests."""

    def __init__(self, run="r1", question=QUESTION, stream=None, label=None):
        self.stream = stream or f"shop{next(_names)}"
        self.run = run
        fields = {
            "item": {"type": "text"},
            "price": {"type": "decimal", "scale": 2},
            "sold_at": {"type": "time", "unit": "ms"},
        }
        self.contract = parse_contract({"name": self.stream, "fields": fields}, "test")
        self.question = parse_question("sales", question.replace("{stream}", self.stream), "sales.sql")
        self.label = label or sha256(repr((self.stream, self.question.text, run)).encode()).hexdigest()[:32]
        asked = [Asked(name="sales", text=self.question.text, window=self.question.window)]
        JobRecord(
            label=self.label, asked=asked, contract=self.contract, options=JobOptions(run=run), offsets={},
            checkpoints="", jobmanager="127.0.0.1:1", flink_ids=[self.label], submitted_at=datetime.now(UTC),
        ).save()  # fmt: skip
        self.kafka = KafkaSettings()
        self.topic = self.question.topic(self.contract)
        ensure_topics([self.topic], self.kafka)

    def result(self, number, **values):
        """Return a result as Flink writes it."""
        start = datetime.fromtimestamp(1_700_000_000 + number // 100, UTC)
        iso = f"{start:%Y-%m-%dT%H:%M:%S}Z"
        return {
            "job": self.label, "question": self.question.label, "run": self.run, "window_start": iso,
            "window_end": f"{datetime.fromtimestamp(start.timestamp() + 1, UTC):%Y-%m-%dT%H:%M:%S}Z",
            "window_size": 1000, "window_slide": 1000, "window_kind": "sliding", "item": f"0{number % 100:03}X",
            "turnover": number / 4, "sales": number, "last_sold": iso[:-1], "mean": 0.1 + number, "is_often": True,
            "alert": False,
        } | values  # fmt: skip

    def write(self, results, *, commit=True, partition=-1):
        """Write results in one transaction."""
        about = {"bootstrap.servers": self.kafka.servers, "transactional.id": f"{self.stream}-{next(_names)}"}
        producer = Producer(about | {"log_level": 0, "transaction.timeout.ms": 900_000})
        producer.init_transactions(PATIENCE)
        producer.begin_transaction()
        for each in results:
            value = each if isinstance(each, bytes) else json.dumps(each).encode()
            while True:
                try:
                    producer.produce(self.topic, value, partition=partition)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.commit_transaction(PATIENCE) if commit else producer.abort_transaction(PATIENCE)

    def sink(self, target, rows=500, seconds=0.2):
        return Sink(target, lambda: {self.topic}, self.kafka, limits=Limits(rows, seconds))

    def database(self, sink="live", dsn=None):
        catalogue = Catalogue(None)
        catalogue.topics()
        return Postgres(dsn or PostgresSettings().connection(HomeSettings()), sink, catalogue, lambda _: None)

    def store(self, **limits):
        """Store all that there is; return how many records that were."""
        target = self.database()
        try:
            return self.sink(target, **limits).run(threading.Event(), lambda: True)
        finally:
            target.close()


def query(sql):
    """Ask the database."""
    dsn = PostgresSettings().connection(HomeSettings()).get_secret_value()
    with psycopg.connect(dsn) as db:
        cursor = db.execute(sql)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(name="query")
def _query():
    return query


@pytest.fixture
def new_job():
    return Job
