"""What the benchmarks share: the stack with the flow, sample files, CPU time by part, windows as they come."""

import json
import math
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Self

import httpx
import psutil
from confluent_kafka import TopicPartition

from flink_jobs.cluster import Cluster
from flink_jobs.records import JobOptions, Start
from flink_jobs.submission import submit
from nifi_templates.deployment import deploy
from streamproof.bench.measure import NotProvenError
from streamproof.chain.ask_stages import STAGES
from streamproof.chain.late_rows import late_rows
from streamproof.chain.start_servers import extensions_folder, start_servers
from streamproof.core.contract import DEFAULT_STREAM, Contract, copy_contract, load_contract
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import ends_of, new_consumer
from streamproof.core.question import load_question
from streamproof.core.question_text import used_fields
from streamproof.core.run import Run, load_run
from streamproof.core.settings import FlinkSettings, HomeSettings, KafkaSettings
from streamproof.core.topics import partitions_of
from streamproof.core.window import Window
from streamproof.generator.declaration import load_generator
from streamproof.generator.make import make
from streamproof.stack.flink import TASKMANAGERS
from streamproof.stack.servers import Stack
from validation.answers import Wanted
from validation.verdict import validate

CATEGORIES = ("Books", "Music")
CONTRACT = load_contract(DEFAULT_STREAM)
QUESTION = load_question(load_generator(DEFAULT_STREAM).generator.demo.questions[0])
WINDOW = QUESTION.window
KEY = QUESTION.key[-1]
(MEASURE,) = set(used_fields(QUESTION, CONTRACT.fields)) - set(QUESTION.key)
"""What is measured: the stream, the question, the field that its windows are told apart by beside the category, and the
number that it sums up."""

START = "2024-01-01T00:00:00Z"
START_MS = round(datetime.fromisoformat(START).timestamp() * 1000)
"""When the first row of each category is due; also in milliseconds since the epoch."""

_WAIT_SECONDS = 120.0
_QUIET_SECONDS = 5.0


def prepare() -> None:
    """Start the servers that do not run and deploy the stream's flow.

    Raises:
        StreamproofError: a server does not start, or the flow cannot be deployed.

    """
    start_servers(Stack.from_environment(), extensions_folder())
    deploy(CONTRACT)


def sample_files(rows: int, keys: int | None = None, categories: Sequence[str] = CATEGORIES) -> dict[str, Path]:
    """Return generated files, one for each category, with so many rows in all; they are kept for the next time."""
    files = {}
    for category in categories:
        each = rows // len(categories)
        folder = HomeSettings().home / "samples" / f"{DEFAULT_STREAM}-{each}-rows-{keys or 'usual'}-keys"
        file = folder / f"{category}.csv"
        if not file.exists():
            made = make(DEFAULT_STREAM, each, folder / "half", keys=keys, categories=[category])
            made.files[category].replace(file)
        files[category] = file
    return files


def refuse(line: int, reason: str, _: bytes) -> None:
    """Complain of a line of a generated file: each must fit the contract."""
    raise StreamproofError(f"line {line} of a generated file does not fit: {reason}")


def contract_file(stream: str) -> Path:
    """Return the contract of a stream of its own, which is the usual one under another name."""
    file = HomeSettings().home / "bench" / f"{stream}.toml"
    copy_contract(DEFAULT_STREAM, stream, file)
    return file


def replay_command(files: Mapping[str, Path], *options: str, stream: str = DEFAULT_STREAM) -> list[str]:
    """Return the command that replays as a user does, to be run in the checkout."""
    sources = [f"{category}={file}" for category, file in files.items()]
    return [sys.executable, "-m", "edge_replayer", stream, *sources, *options]


def replay(run: str, files: dict[str, Path], *options: str, stream: str = DEFAULT_STREAM) -> float:
    """Replay in a process of its own, as a user does; return that process's CPU seconds.

    Raises:
        StreamproofError: it fails.

    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = replay_command(files, "--run", run, *options, stream=stream)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StreamproofError(f"the replay of {run} failed: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def window_job(
    run: str, contract: Contract | None = None, *, window: Window = WINDOW, start: Start | None = None
) -> Iterator[str]:
    """Submit the window job for a run; it is cancelled behind.

    Args:
        run: the run, which may be still to come.
        contract: of another stream than the usual one.
        window: the window's shape.
        start: where in the topic the job begins to read; without it, at the beginning.

    """
    job = submit([QUESTION.with_window(window)], JobOptions(run=run, contract=contract, start=start)).job
    try:
        yield job
    finally:
        Cluster().cancel(job)


def first_task_ran(job: str) -> float:
    """Return when Flink had a job's first task running, in seconds since the epoch."""
    with _flink(job) as flink:
        vertices = flink.get("").json()["vertices"]
        times = [flink.get(f"/vertices/{vertex['id']}/subtasktimes").json()["subtasks"] for vertex in vertices]
    return float(min(task["timestamps"]["RUNNING"] for tasks in times for task in tasks)) / 1000


def checkpoint_sizes(job: str) -> dict[str, float]:
    """Return the sizes in bytes (state, and what the sink has open) of completed checkpoints: max, p95 and others."""
    with _flink(job) as flink:
        return dict(flink.get("/checkpoints").json()["summary"]["state_size"])


def _flink(job: str) -> httpx.Client:
    return httpx.Client(
        base_url=f"{Cluster().url}/jobs/{job}", trust_env=False, verify=FlinkSettings().tls.context() or True
    )


def prove(run: str, job: str) -> Run:
    """Return the manifest of a run whose rows and windows are all right.

    Raises:
        NotProvenError: they are not.

    """
    home = HomeSettings()
    verdict = validate(
        run, home, KafkaSettings(), wanted=Wanted(job=job), wait=_WAIT_SECONDS, late=late_rows, stages=STAGES
    )
    if not verdict.proven:
        raise NotProvenError(f"the run {run} is not proven: {'; '.join(verdict.reasons)}")
    return load_run(run, home)


class Watch(threading.Thread):
    """Looks at something in the background, within a ``with``; its ``run`` ends when ``over`` is set."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


class TopicWatch(Watch):
    """Reads what comes to a topic from now on, only what is committed, and notes when each batch could be read.

    Args:
        topic: its name; every partition is read.
        run: only records that name this run are noted.
        keep: whether the records themselves are kept, and not only the newest one's moment.

    """

    def __init__(self, topic: str, run: str, *, keep: bool = True) -> None:
        super().__init__()
        self.seen: list[tuple[float, bytes]] = []
        """The moment (``time.time``, seconds) when a record could be read, and its value."""
        self.last = 0.0
        """The moment of the newest record."""
        self._keep, self._mark = keep, f'"run":{json.dumps(run)}'.encode()
        self._consumer = new_consumer(KafkaSettings(), fetch_wait_max_ms=10)
        places = [TopicPartition(topic, partition) for partition in partitions_of(topic, KafkaSettings())]
        ends = ends_of(self._consumer, places)
        self._consumer.assign([TopicPartition(topic, partition, end) for partition, end in ends.items()])

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._consumer.close()

    def wait_until_quiet(self) -> None:
        """Wait for a record, and then until none has come for several checkpoints' time.

        Whether those were all a proof must say, while this still watches: on a busy machine more may come.
        """
        deadline = time.time() + _WAIT_SECONDS
        while time.time() < (self.last + _QUIET_SECONDS if self.last else deadline):
            time.sleep(0.1)

    def run(self) -> None:
        """Read until the end."""
        while not self.over.is_set():
            records = self._consumer.consume(5000, 0.05)
            now = time.time()
            read = [record.value() or b"" for record in records if not record.error()]
            values = [value for value in read if self._mark in value]
            if values:
                self.last = now
                if self._keep:
                    self.seen += [(now, value) for value in values]


class PartsWatch(Watch):
    """The CPU time that each part of the stack takes from now on, and the most memory that all hold at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most_memory = 0.0
        """Bytes, of all parts together."""
        self.most_flink_memory = 0.0
        """Bytes, of the JobManager and the TaskManagers together."""
        self._stack = Stack.from_environment()
        self._used = [(time.time(), self._cpu())]

    def run(self) -> None:
        """Look once a second until the end."""
        while not self.over.wait(1):
            self._used.append((time.time(), self._cpu()))
            sizes = memory_of_parts(self._stack)
            flink = sum(sizes.get(part, 0.0) for part in ("jobmanager", *TASKMANAGERS))
            self.most_memory = max(self.most_memory, sum(sizes.values()))
            self.most_flink_memory = max(self.most_flink_memory, flink)

    def cpu(self, until: float) -> dict[str, float]:
        """Return the CPU seconds of each part from the beginning to a moment (``time.time``), or a second more."""
        _, before = self._used[0]
        _, after = next((used for used in self._used if used[0] >= until), self._used[-1])
        return {part: seconds - before.get(part, 0.0) for part, seconds in after.items()}

    def _cpu(self) -> dict[str, float]:
        return join_taskmanagers(_by_part(self._stack, lambda process: sum(process.cpu_times()[:2])))


def memory_of_parts(stack: Stack) -> dict[str, float]:
    """Return the resident bytes of each part of the stack that runs; what NiFi has started is ``nifi's Python``."""
    return _by_part(stack, lambda process: float(process.memory_info().rss))


def join_taskmanagers(figures: Mapping[str, float]) -> dict[str, float]:
    """Add up the figures of the TaskManagers, as ``taskmanager``."""
    found: dict[str, float] = {}
    for part, figure in figures.items():
        name = "taskmanager" if part in TASKMANAGERS else part
        found[name] = found.get(name, 0.0) + figure
    return found


def _by_part(stack: Stack, measure: Callable[[psutil.Process], float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in stack.parts:
        if (process := stack.processes.find(part)) is None:
            continue
        children = ((f"{part}'s Python", child) for child in process.children(recursive=True))
        for name, each in ((part, process), *children):
            with suppress(psutil.Error):  # it has ended meanwhile
                found[name] = found.get(name, 0.0) + measure(each)
    return found


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 (nearest rank)."""
    ordered = sorted(values)
    return {f"p{p}": ordered[math.ceil(len(ordered) * p / 100) - 1] for p in (50, 95, 99)}
