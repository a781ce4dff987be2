"""A run as it lies in Kafka when its job has ended: rows, true answers, their tallies, and what the alerter wrote."""

import json
from datetime import UTC, datetime
from hashlib import sha256

import duckdb
from confluent_kafka import Producer

from flink_jobs.records import find_record
from streamproof.alerts.__main__ import work_on
from streamproof.core.alert_rule import alerts_topic
from streamproof.core.run import RowCounts, Run, Source
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.topics import ensure_topics
from validation.csv_rows import read_rows
from validation.stages import AskedBy, Stages
from validation.truth import compute_truth, number_rows
from validation.verdict import validate

START, INTERVAL, ROWS = 1_704_067_203_000, 100, 600
CSV = "item,price,sold_at\n"


class JudgedRun:
    """A run of a job of sales."""

    def __init__(self, job, folder):
        self.job, contract = job, job.contract
        lines = [f"0{n * n % 7},{(n * 37 % 1000) / 4},{START + n * INTERVAL}\n" for n in range(ROWS)]
        file = folder / f"{job.stream}.csv"
        file.write_text(CSV + "".join(lines))
        source = Source(file=file, sha256=sha256(file.read_bytes()).hexdigest(), size=file.stat().st_size)
        self.run = Run(
            run=job.run, contract=contract, clock="virtual", pace="interval", interval=str(INTERVAL), start=START,
            batch_rows=1, batch_ms=1, sources={"All": source}, rows={"All": RowCounts(sent=ROWS, confirmed=ROWS)},
            state="finished", end=START + ROWS * INTERVAL, created=datetime.now(UTC),
        )  # fmt: skip
        self.run.save(HomeSettings())
        ensure_topics([contract.topics.rows, contract.topics.dead_letters, alerts_topic(contract)], KafkaSettings())
        ensure_topics([job.question.tally_topic(contract)], KafkaSettings().model_copy(update={"partitions": 1}))

    def write(self):
        """Write everything."""
        job, run = self.job, self.run
        producer = Producer({"bootstrap.servers": KafkaSettings().servers, "log_level": 0})
        with duckdb.connect() as db:
            number_rows(db, run, read_rows(db, run, set(run.contract.fields)))
            compute_truth(db, run, job.question, "truth")
            rows = db.execute(
                "SELECT seq, epoch_ms(event_time), item, price, epoch_ms(sold_at) FROM sent ORDER BY seq"
            ).fetchall()
            for seq, event_time, item, price, sold_at in [*rows, (-1, START + ROWS * INTERVAL, "", 0, 0)]:
                row = {"run": run.run, "category": "All", "seq": seq, "event_time": event_time, "low_watermark": START}
                row |= {"item": item, "price": float(price), "sold_at": sold_at}
                producer.produce(run.contract.topics.rows, json.dumps(row))
            assert producer.flush(60) == 0
            names = [name for name, *_ in db.execute("DESCRIBE truth").fetchall()]
            truth = [dict(zip(names, values, strict=True)) for values in db.execute("FROM truth").fetchall()]
        job.write([self.result(each) for each in truth])
        ends = sorted({each["window_end"] for each in truth})
        for end in ends:
            count = sum(each["window_end"] == end for each in truth)
            tally = {"job": job.label, "question": job.question.label, "run": run.run, "window_end": _iso(end) + "Z"}
            producer.produce(job.question.tally_topic(run.contract), json.dumps(tally | {"answers": count}))
        assert producer.flush(60) == 0
        record = find_record(job.label).model_copy(update={"state": "finished"})
        record.save()
        work_on(record, job.question)
        return len(truth)

    def result(self, answer):
        """Return an answer as Flink writes it."""
        head = self.job.result(0)
        values = {name: _iso(value) if isinstance(value, datetime) else value for name, value in answer.items()}
        values |= {"turnover": float(answer["turnover"])}
        values |= {name: values[name] + "Z" for name in ("window_start", "window_end")}
        return {
            name: head[name] for name in ("job", "question", "run", "window_size", "window_slide", "window_kind")
        } | (values)

    def validate(self, targets, wait=0):
        """Judge it."""
        asked = [AskedBy(self.job.label, self.job.question, of_run=True)]
        stages = Stages(jobs=lambda _: asked, targets=targets)
        return validate(self.run.run, HomeSettings(), KafkaSettings(), stages=stages, wait=wait)


def _iso(moment):
    return moment.isoformat(timespec="milliseconds")
