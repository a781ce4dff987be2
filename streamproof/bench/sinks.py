"""A sink alone: window rows from a full topic into a database, with a Kafka and a PostgreSQL of its own."""

import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import cast

import psutil
from confluent_kafka import Producer
from pydantic import SecretStr

from flink_jobs.records import JobOptions, JobRecord
from streamproof.bench.measure import Benchmark, NotProvenError, Once
from streamproof.core.contract import load_contract
from streamproof.core.kafka import produce
from streamproof.core.question import Asked, load_question
from streamproof.core.settings import (
    FlinkSettings,
    HomeSettings,
    KafkaSettings,
    MqttSettings,
    NifiSettings,
    PostgresSettings,
)
from streamproof.core.topics import ensure_topics
from streamproof.sinks.kept import LIVE
from streamproof.sinks.sink import Sink
from streamproof.sinks.store import LIMITS
from streamproof.sinks.tables import Catalogue
from streamproof.stack.postgres import POSTGRES
from streamproof.stack.servers import Stack
from streamproof.stack.settings import StackSettings

_FIRST_PORT = 24_671
_START = "2024-01-{day:02}T{hour:02}:{minute:02}:00Z"
_JOB, _RUN = "0" * 32, "bench"
_PER_WINDOW = 2_000
_PARTS = ("kafka", POSTGRES)
_DRIVER = ("psycopg", "pip install 'streamproof[sinks]'")


def _postgres(rows: int) -> Once:
    """Write window rows into a topic, and let a sink store all of them."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=HomeSettings().home) as folder:
        home = HomeSettings(home=Path(folder), cache=HomeSettings().cache)
        kafka = KafkaSettings(servers=f"127.0.0.1:{_FIRST_PORT}")
        postgres = PostgresSettings(dsn=SecretStr(""), port=_FIRST_PORT + 2)
        stack = Stack(
            home=home,
            mqtt=MqttSettings(),
            kafka=kafka,
            nifi=NifiSettings(),
            flink=FlinkSettings(),
            settings=StackSettings(kafka_controller_port=_FIRST_PORT + 1),
            postgres=postgres,
        )
        try:
            stack.up(parts=_PARTS)
            return _measure(
                rows, kafka, postgres.connection(home), cast("psutil.Process", stack.processes.find("postgres"))
            )
        finally:
            stack.down(parts=_PARTS)


def _measure(rows: int, kafka: KafkaSettings, dsn: SecretStr, server: psutil.Process) -> Once:
    import psycopg  # which is installed only where something is kept

    from streamproof.sinks.postgres import Postgres

    question, contract = load_question("rating_averages"), load_contract("ratings")
    record = JobRecord(
        label=_JOB,
        asked=[Asked(name=question.name, text=question.text, window=question.window)],
        contract=contract,
        options=JobOptions(run=_RUN),
        offsets={},
        checkpoints="",
        jobmanager="",
        flink_ids=[_JOB],
    )
    topic = question.topic(contract)
    ensure_topics([topic], kafka)
    _fill(topic, question.label, rows, kafka)
    catalogue = Catalogue(None)
    topics = catalogue.learn(record)
    with closing(Postgres(dsn, LIVE, catalogue, lambda _: None)) as target:
        sink = Sink(target, lambda: topics, kafka, limits=LIMITS)
        began, own, of_server = time.monotonic(), time.process_time(), _cpu(server)
        sink.run(threading.Event(), lambda: True)
        seconds = time.monotonic() - began
        parts = {"sink, µs/row": time.process_time() - own, "postgres, µs/row": _cpu(server) - of_server}
    with psycopg.connect(dsn.get_secret_value()) as db:
        found = db.execute(
            "SELECT count(*), count(DISTINCT (window_start, product_id)), sum(rating_count) "
            "FROM ratings_rating_averages"
        ).fetchone()
    if found != (rows, rows, rows * (rows - 1) // 2):
        raise NotProvenError(f"PostgreSQL has {found} of {rows} window rows")
    return Once(rows / seconds, {name: 1e6 * spent / rows for name, spent in parts.items()})


def _cpu(server: psutil.Process) -> float:
    """Return the seconds that a server and its children have computed."""
    return sum(sum(process.cpu_times()[:2]) for process in (server, *server.children()))


def _fill(topic: str, label: str, rows: int, kafka: KafkaSettings) -> None:
    producer = Producer(kafka.client | {"linger.ms": 50, "compression.type": "lz4"})
    for number in range(rows):
        window, product = divmod(number, _PER_WINDOW)
        start, end = (
            _START.format(day=1 + at // 1440, hour=at // 60 % 24, minute=at % 60) for at in (window, window + 1)
        )
        value = (
            f'{{"job":"{_JOB}","question":"{label}","run":"{_RUN}","window_start":"{start}","window_end":"{end}",'
            f'"window_size":60000,"window_slide":60000,"window_kind":"sliding","category":"Books",'
            f'"product_id":"B{product:09}","rating_count":{number},"rating_sum":{number % 97}.5,'
            f'"rating_avg":{number % 97 / 7!r},"rating_min":1.0,"rating_max":5.0}}'
        )
        produce(producer, topic, value)
    producer.flush()


SINKS = {
    "sink.postgres": Benchmark(
        "rows/s", _postgres, 500_000, "a sink alone, from a full topic into PostgreSQL", servers=False, program=_DRIVER
    ),
}
