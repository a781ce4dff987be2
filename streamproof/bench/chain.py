"""The whole chain: how many rows a second, at what cost, and how late."""

import json
from collections.abc import Callable
from datetime import datetime

from streamproof.bench.ground import (
    CONTRACT,
    QUESTION,
    START,
    WINDOW,
    PartsWatch,
    TopicWatch,
    percentiles,
    prove,
    replay,
    sample_files,
    window_job,
)
from streamproof.bench.measure import Benchmark, Once
from streamproof.bench.side_by_side.own_job import measure_job
from streamproof.core.errors import StreamproofError
from streamproof.core.run import load_run, new_run_id
from streamproof.core.settings import HomeSettings

_WARM_UP = 10_000
"""Milliseconds at the beginning of a latency run that do not count: the JVMs compile what they run."""


def _throughput(batch_rows: int) -> Callable[[int], Once]:
    def once(rows: int) -> Once:
        run, contract = new_run_id(), CONTRACT
        files = sample_files(rows)
        with window_job(run, start="latest") as job:
            with TopicWatch(QUESTION.topic(contract), run, keep=False) as windows, PartsWatch() as parts:
                replayer = replay(run, files, "--rate", "max", "--start", START, "--batch-rows", str(batch_rows))
                windows.wait_until_quiet()
                manifest = prove(run, job)
            cpu = parts.cpu(windows.last) | {"replayer": replayer}
            sent = sum(counts.sent for counts in manifest.rows.values())
            seconds = windows.last - (manifest.began or 0) / 1000
        costs = {f"{part}, µs/row": 1e6 * used / sent for part, used in cpu.items()}
        costs["all parts, µs/row"] = sum(costs.values())
        resent = sum(counts.resent for counts in manifest.rows.values())
        return Once(sent / seconds, costs | {"memory, MB": parts.most_memory / 1e6, "sent again": resent})

    return once


def _backlog(rows: int) -> Once:
    """Send the run to its end while no job is there; then measure the job, from its first task to the last window."""
    run = new_run_id()
    replay(run, sample_files(rows), "--rate", "max", "--start", START)
    sent = load_run(run, HomeSettings())
    return measure_job(sent, start=sent.began)


def _latency(rate: int) -> Callable[[int], Once]:
    def once(rows: int) -> Once:
        run, contract = new_run_id(), CONTRACT
        files = sample_files(rows)
        with (
            window_job(run, start="latest") as job,
            TopicWatch(contract.topics.rows, run) as in_kafka,
            TopicWatch(QUESTION.topic(contract), run) as windows,
        ):
            replay(run, files, "--rate", str(rate / len(files)), "--clock", "wall")
            windows.wait_until_quiet()
            manifest = prove(run, job)
        start, began = manifest.start or 0, manifest.began or 0
        counts_from = start + _WARM_UP
        shown: dict[int, float] = {}
        last, to_kafka = 0, []
        for moment, value in in_kafka.seen:
            record = json.loads(value)
            last = max(last, record["event_time"])
            if record["seq"] > 0 and record["event_time"] >= counts_from:
                to_kafka.append(moment * 1000 - began - (record["event_time"] - start))
        for moment, value in windows.seen:
            end = round(datetime.fromisoformat(json.loads(value)["window_end"]).timestamp() * 1000)
            # Windows that the end of the run closes are not waited for by anybody.
            if counts_from + WINDOW.size <= end <= last:
                shown[end] = max(shown.get(end, 0.0), moment * 1000 - began - (end - start))
        if not to_kafka or not shown:
            raise StreamproofError(f"{rows} rows at {rate} rows/s end before there is anything to measure: more rows")
        row = {f"row due to Kafka {name}, ms": value for name, value in percentiles(to_kafka).items()}
        window = percentiles(list(shown.values()))
        return Once(
            window["p99"], row | {f"window's end to result {name}, ms": value for name, value in window.items()}
        )

    return once


CHAIN = {
    "chain.batched": Benchmark(
        "rows/s", _throughput(500), 1_000_000, "whole chain, 500 rows a message, from the first row to the last window"
    ),
    "chain.single": Benchmark(
        "rows/s", _throughput(1), 200_000, "whole chain, one row a message, from the first row to the last window"
    ),
    "chain.backlog": Benchmark(
        "rows/s",
        _backlog,
        1_000_000,
        "the job on the topic as the chain left it: all rows were sent before, from its first task to the last window",
    ),
    "latency.window.p99": Benchmark(
        "ms", _latency(1000), 60_000, "1,000 rows/s: from a window's end to its last result being readable, p99"
    ),
    "latency.window.10k.p99": Benchmark("ms", _latency(10_000), 600_000, "the same at 10,000 rows/s"),
}
