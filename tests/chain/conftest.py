"""The whole chain, deployed once, and what the tests do with it."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer
from waiting import PATIENCE

from edge_replayer.options import ReplayOptions
from edge_replayer.replay import replay
from flink_jobs.cluster import Cluster
from flink_jobs.submission import JobOptions, submit
from nifi_templates.deployment import deploy
from streamproof.chain.ask_stages import STAGES
from streamproof.chain.late_rows import late_rows
from streamproof.core.contract import Contract, load_contract
from streamproof.core.duration import parse_whole_milliseconds
from streamproof.core.question import Question, load_question
from streamproof.core.run import Run
from streamproof.core.window import Window
from streamproof.generator.make import make
from validation.answers import Wanted
from validation.verdict import Verdict, validate

WAIT_SECONDS = PATIENCE


@dataclass
class Chain:
    """Runs through the real servers; every job that a test submits is cancelled behind it."""

    servers: Any
    folder: Path
    jobs: list[str] = field(default_factory=list)

    def sample(self, name: str, rows: int) -> Path:
        return make("ratings", rows, self.folder, categories=[name]).files[name]

    def file(self, name: str, rows: list[tuple[str, float, int]]) -> Path:
        """Write a file without a header from (product, rating, seconds since the epoch)."""
        lines = (f"A{n},{product},{rating},{seconds}\n" for n, (product, rating, seconds) in enumerate(rows))
        (self.folder / f"{name}.csv").write_text("".join(lines))
        return self.folder / f"{name}.csv"

    def new_run(self, name: str) -> str:
        return f"{name}-{uuid4().hex[:8]}"

    def submit(
        self,
        shape: str,
        run: str | None,
        contract: Contract | None = None,
        questions: Sequence[Question | str] = ("rating_averages",),
        **options: Any,
    ) -> str:
        kind, _, sizes = shape.rpartition(" ")
        size, slide = (parse_whole_milliseconds(part) for part in sizes.split("/"))
        window = Window(size, slide, "cumulative" if kind else "sliding")
        read = [load_question(each) if isinstance(each, str) else each for each in questions]
        asked = [question.with_window(window) for question in read]
        job = submit(asked, JobOptions(run=run, contract=contract, **options)).job
        self.jobs.append(job)
        return job

    def replay(self, run: str, files: Mapping[str, Path], contract: Contract | None = None, **options: Any) -> Run:
        options = {"clock": "virtual"} | options
        return replay(ReplayOptions(contract=contract or load_contract("ratings"), files=files, run=run, **options))

    def windows_of(self, run: str, category: str) -> Iterator[dict[str, Any]]:
        """Yield a category's windows as they become readable; give up after WAIT_SECONDS without one."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.servers.kafka.servers,
                "group.id": f"test-{uuid4()}",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )
        try:
            consumer.subscribe([load_question("rating_averages").topic(load_contract("ratings"))])
            deadline = time.monotonic() + WAIT_SECONDS
            while time.monotonic() < deadline:
                message = consumer.poll(1)
                window = json.loads(message.value()) if message and not message.error() else {}
                if (window.get("run"), window.get("category")) == (run, category):
                    yield window
        finally:
            consumer.close()

    def verdict(self, run: str, job: str) -> Verdict:
        home, kafka = self.servers.home, self.servers.kafka
        return validate(run, home, kafka, wanted=Wanted(job=job), wait=WAIT_SECONDS, late=late_rows, stages=STAGES)

    def assert_proven(self, run: str, job: str, *, copies_may_be_late: bool = False) -> Verdict:
        verdict = self.verdict(run, job)
        jobs = [] if verdict.proven else [each for each in Cluster().list() if each.label == job]
        assert verdict.proven, (verdict.reasons, jobs, verdict.model_dump_json(indent=2))
        assert copies_may_be_late or verdict.windows.late == 0
        return verdict


@pytest.fixture(scope="session")
def deployed_servers(servers):
    deploy(load_contract("ratings"))
    return servers


@contextmanager
def running_chain(servers: Any, folder: Path) -> Iterator[Chain]:
    chain = Chain(servers, folder)
    yield chain
    for job in chain.jobs:
        Cluster().cancel(job)


@pytest.fixture
def chain(deployed_servers, tmp_path) -> Iterator[Chain]:
    with running_chain(deployed_servers, tmp_path) as chain:
        yield chain


@pytest.fixture(scope="module")
def shared_chain(deployed_servers, tmp_path_factory) -> Iterator[Chain]:
    """For runs of which several tests say something."""
    with running_chain(deployed_servers, tmp_path_factory.mktemp("chain")) as chain:
        yield chain
