"""Stages alone: the edge's reading, the validation and the page of a long run, and the start of the stack."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache

import psutil

from streamproof.bench.ground import (
    START,
    join_taskmanagers,
    memory_of_parts,
    prove,
    replay,
    replay_command,
    sample_files,
    window_job,
)
from streamproof.bench.measure import Benchmark, NotProvenError, Once
from streamproof.core.run import new_run_id
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.wait import wait_until
from streamproof.stack.servers import Stack
from validation.live.reader import Reader

_PORTS = (
    ("STREAMPROOF_MQTT_PORT", "{}"),
    ("STREAMPROOF_KAFKA_SERVERS", "127.0.0.1:{}"),
    ("STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT", "{}"),
    ("NIFI_API_ENDPOINT", "http://127.0.0.1:{}/nifi-api"),
    ("STREAMPROOF_STACK_NIFI_MANAGEMENT_PORT", "{}"),
    ("STREAMPROOF_FLINK_JOBMANAGER", "127.0.0.1:{}"),
    ("STREAMPROOF_STACK_FLINK_RPC_PORT", "{}"),
)
_FIRST_PORT = 24_651
_PAGE_SECONDS = 900.0


def _read(rows: int) -> Once:
    """Let the edge read, check and write messages, to nowhere."""
    command = replay_command(sample_files(rows), "--rate", "max", "--start", START, "--to", "stdout")
    began = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return Once(rows / (time.monotonic() - began))


@cache
def _long_run(rows: int) -> tuple[str, str]:
    """Send a run through the chain and prove it; return it and its job."""
    run = new_run_id()
    with window_job(run, start="latest") as job:
        replay(run, sample_files(rows), "--rate", "max", "--start", START)
        prove(run, job)
    return run, job


def _validate(rows: int) -> Once:
    run, job = _long_run(rows)
    command = [sys.executable, "-m", "streamproof", "validate", run, "--job", job, "--json"]
    began = time.monotonic()
    most_memory = 0
    with tempfile.TemporaryFile() as output:
        with psutil.Popen(command, stdout=output, stderr=subprocess.DEVNULL) as validating:
            while validating.poll() is None:
                with suppress(psutil.Error):
                    most_memory = max(most_memory, validating.memory_info().rss)
                time.sleep(0.02)
        seconds = time.monotonic() - began
        output.seek(0)
        verdict = json.load(output)
    if not verdict["proven"]:
        raise NotProvenError(f"the run {run} is not proven: {'; '.join(verdict['reasons'])}")
    return Once(seconds, {"memory, MB": most_memory / 1e6})


def _page(rows: int) -> Once:
    """Let the live page's reader begin when the run is over, and wait until all is read and judged."""
    run, _ = _long_run(rows)
    reader, began = Reader(run, HomeSettings(), KafkaSettings()), time.monotonic()
    reader.start()
    try:
        has_read = wait_until(lambda: reader.picture.is_quiet, _PAGE_SECONDS, every=0.05)
        picture, seconds = reader.picture, time.monotonic() - began
        if not has_read:
            raise NotProvenError(f"the page has not read the run {run} in {_PAGE_SECONDS:.0f} s: {picture.problem}")
    finally:
        reader.stop()
    if picture.reasons or not picture.is_judging:
        raise NotProvenError(f"the page does not say that the run {run} is proven: {'; '.join(picture.reasons)}")
    return Once(rows / seconds)


def _up(*, warm: bool) -> Once:
    """Start a stack of its own, beside whatever runs, on an empty home; warm is its second start."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=HomeSettings().home) as home:
        own = {name: form.format(_FIRST_PORT + number) for number, (name, form) in enumerate(_PORTS)}
        environment = os.environ | own | {"STREAMPROOF_HOME": home, "STREAMPROOF_CACHE": str(HomeSettings().cache)}

        def streamproof(*arguments: str) -> float:
            began = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "streamproof", *arguments],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            return time.monotonic() - began

        try:
            seconds = streamproof("up")
            if warm:
                streamproof("down")
                seconds = streamproof("up")
        finally:
            streamproof("down")
    return Once(seconds)


def _memory(_: int) -> Once:
    sizes = join_taskmanagers(memory_of_parts(Stack.from_environment()))
    parts = {f"{part}, MB": size / 1e6 for part, size in sizes.items()}
    return Once(sum(parts.values()), parts)


STAGES = {
    "read.csv": Benchmark(
        "rows/s", _read, 1_000_000, "the edge reads, checks and writes messages, to nowhere", servers=False
    ),
    "validate.5m": Benchmark("s", _validate, 5_000_000, "validation of a run, 30 s / 5 s, as a command"),
    "page.5m": Benchmark("rows/s", _page, 5_000_000, "the live page opened late: all rows read, all windows judged"),
    "up.cold": Benchmark("s", lambda _: _up(warm=False), 0, "`streamproof up` in an empty home", servers=False),
    "up.warm": Benchmark("s", lambda _: _up(warm=True), 0, "`streamproof up` after `down`", servers=False),
    "memory.stack": Benchmark("MB", _memory, 0, "resident memory of the stack as it is, part by part"),
}
