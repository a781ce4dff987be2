"""The course of a drill: a run through the chain, a fault at moments that a seed decides, and the verdict."""

import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel

from flink_jobs.cluster import Cluster
from flink_jobs.submission import JobOptions, submit
from nifi_templates.deployment import deploy, remove
from streamproof.alerts.deliver import TOLD
from streamproof.chain.ask_stages import STAGES
from streamproof.chain.late_rows import late_rows
from streamproof.core.command import console
from streamproof.core.contract import DEFAULT_STREAM, Contract, copy_contract, load_contract
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import TopicReader
from streamproof.core.question import load_question
from streamproof.core.run import load_run, new_run_id
from streamproof.core.settings import HomeSettings, KafkaSettings, MqttSettings
from streamproof.core.wait import wait_until
from streamproof.drills.faults import FAULTS, Target
from streamproof.drills.programs import Deliverer, Edges, Replayer
from streamproof.drills.proxy import Proxy
from streamproof.generator.declaration import load_generator
from streamproof.generator.make import make
from streamproof.stack.servers import Stack
from validation.alert_events import read_alerts
from validation.answers import Wanted
from validation.comparison import AnswerCounts
from validation.report import print_verdict, write_report
from validation.verdict import RowTotals, Verdict, validate

STREAM = "drill"
"""A stream of its own: its topics are ``drill``, ``drill.dead-letter``, and those of answers and alerts."""

_CATEGORIES = ("Books", "Music")
_OF_EDGES = (*_CATEGORIES, "Games")
MOST_EDGES = len(_OF_EDGES)
_ENDLESS = 10**9
_SAMPLE_ROWS = 20_000
_SURGES = Path(__file__).with_name("surges.sql")
"""A question with an alert."""

_PAUSE = (0.5, 4.0)
"""Seconds between a recovery and the next strike, at least and at most."""

_LOOK = 0.5
_PATIENCE = 300.0
_WAIT_FOR_WINDOWS = 120.0


@dataclass(frozen=True)
class DrillOptions:
    """How a drill is done.

    Attributes:
        rounds: how often the fault strikes, all in one run.
        seed: decides the moments, and whatever else is left to chance.
        rate: rows a second, of all categories together.
        clock: of the replay.
        confirm: whose word the replayer takes that a row has arrived.
        edges: how many replayers send the run together, each a category.

    """

    rounds: int
    seed: int
    rate: int = 2000
    clock: Literal["wall", "virtual"] = "wall"
    confirm: Literal["kafka", "broker"] = "kafka"
    edges: int = 1


class DrillResult(BaseModel):
    """What a drill found.

    Attributes:
        recoveries: seconds from each strike until the part is healthy, all rows sent before are confirmed, and the
            window job has completed a checkpoint that it began after the strike.
        standstills: seconds, after each strike, for which nothing came into one of the partitions of the rows topic at
            the longest, by Kafka's own times.
        untold: events of alerts that were not delivered.
        proven: the verdict, and that all alerts were delivered; ``reasons`` say why not.

    """

    drill: str
    run: str
    seed: int
    recoveries: list[float]
    standstills: list[float]
    rows: RowTotals
    windows: AnswerCounts
    alerts: AnswerCounts
    untold: int
    proven: bool
    reasons: list[str]

    @property
    def median_recovery(self) -> float:
        """Seconds."""
        return statistics.median(self.recoveries)


class DrilledChain:
    """A chain whose MQTT connections go through proxies, for several drills one after the other."""

    def __init__(self, stack: Stack, edge_side: Proxy, flow_side: Proxy) -> None:
        self._home = HomeSettings()
        self._folder = self._home.home / "drills"
        self._stack, self._cluster = stack, Cluster()
        self._edge_side, self._flow_side = edge_side, flow_side
        self._question = load_question(load_generator(DEFAULT_STREAM).generator.demo.questions[0])
        self.contract_file = self._folder / f"{STREAM}.toml"
        copy_contract(DEFAULT_STREAM, STREAM, self.contract_file)

    @property
    def contract(self) -> Contract:
        """The drills' own stream."""
        return load_contract(str(self.contract_file))

    def drill(self, name: str, options: DrillOptions) -> DrillResult:
        """Do one drill.

        Raises:
            StreamproofError: the chain does not recover, or cannot be judged.

        """
        run = f"{name}-{new_run_id()}"
        chance = random.Random(f"{name} {options.seed}")  # noqa: S311 - to be repeated, not to be secret
        with ExitStack() as cleanup:
            questions = [self._question, load_question(str(_SURGES))]
            job = submit(questions, JobOptions(run=run, contract=self.contract)).job
            cleanup.callback(_cancel, job)
            replayer = self._begin(run, options, chance)
            cleanup.callback(replayer.kill_all)
            deliverer = Deliverer(run, self._folder)
            cleanup.callback(deliverer.kill)
            target = Target(
                self._stack,
                self._edge_side,
                self._flow_side,
                replayer,
                deliverer,
                job,
                chance,
                confirmed=lambda: self._rows(run, "confirmed"),
            )
            strikes: list[datetime] = []
            recoveries = []
            self._wait_until_works(target, datetime.now(UTC), 1)
            for number in range(1, options.rounds + 1):
                time.sleep(chance.uniform(*_PAUSE))
                struck = datetime.now(UTC)
                strikes.append(struck)
                what = FAULTS[name](target)
                self._wait_until_works(target, struck, self._rows(run, "sent") + 1)
                recoveries.append((datetime.now(UTC) - struck).total_seconds())
                while target.away:
                    self._stack.up(parts=(target.away.pop(),))
                    self._wait_until_works(target, datetime.now(UTC), self._rows(run, "sent") + 1)
                console.print(
                    f"{name}, round {number} of {options.rounds}: {what}; all well again after {recoveries[-1]:.0f} s",
                    markup=False,
                    soft_wrap=True,
                )
            replayer.finish()
            if not load_run(run, self._home).ended:
                raise StreamproofError(f"the run {run} did not come to its end: see {replayer.log}")
            verdict = self._judge(run, job)
            untold = self._untold(run, job, deliverer)
        return DrillResult(
            drill=name,
            run=run,
            seed=options.seed,
            recoveries=recoveries,
            standstills=_standstills(self.contract.topics.rows, list(zip(strikes, recoveries, strict=True))),
            rows=verdict.rows,
            windows=AnswerCounts(**verdict.windows.model_dump(exclude={"late"})),
            alerts=next(AnswerCounts(**each.alerts.model_dump()) for each in verdict.questions.values() if each.alerts),
            untold=untold,
            proven=verdict.proven and not untold,
            reasons=[*verdict.reasons, *([f"of {untold} events of alerts nobody was told"] if untold else [])],
        )

    def _begin(self, run: str, options: DrillOptions, chance: random.Random) -> Replayer | Edges:
        categories = _CATEGORIES if options.edges == 1 else _OF_EDGES[: options.edges]
        rows = _SAMPLE_ROWS * len(categories)
        files = make(DEFAULT_STREAM, rows, self._folder, categories=categories).files
        named = {category: f"{category}={file}" for category, file in files.items()}
        told = self._arguments(options, options.rate // len(categories))
        contract = str(self.contract_file)
        if options.edges == 1:
            return Replayer(run, [contract, *named.values(), *told], self._environment(), self._folder)
        told += ["--limit", str(_ENDLESS)]
        of_each = {f"edge-{place}": [contract, file, *told] for place, file in enumerate(named.values(), 1)}
        return Edges(run, of_each, self._environment(), self._folder, chance)

    def _arguments(self, options: DrillOptions, rate: int) -> list[str]:
        return [
            "--loop",
            *("--rate", str(rate)),
            *("--clock", options.clock),
            *("--start", "2024-01-01T00:00:00Z"),
            *("--confirm", options.confirm),
            *("--batch-rows", "20"),  # many small messages, so that there is much to lose
            *("--batch-ms", "20"),
        ]

    def _environment(self) -> dict[str, str]:
        return {"STREAMPROOF_MQTT_HOST": "127.0.0.1", "STREAMPROOF_MQTT_PORT": str(self._edge_side.port)}

    def _judge(self, run: str, job: str) -> Verdict:
        verdict = validate(
            run,
            self._home,
            KafkaSettings(),
            wanted=Wanted(job=job),
            wait=_WAIT_FOR_WINDOWS,
            late=late_rows,
            stages=STAGES,
        )
        print_verdict(verdict, sys.stderr)
        write_report(verdict, self._home.runs / run)
        return verdict

    def _untold(self, run: str, job: str, deliverer: Deliverer) -> int:
        """Wait until all events of the run's alerts are delivered; return how many are not."""
        events = read_alerts(load_run(run, self._home), KafkaSettings())
        to_tell = {(each.id, each.state, each.number) for each in events if each.job == job and each.state in TOLD}
        wait_until(lambda: to_tell <= deliverer.told(), _WAIT_FOR_WINDOWS)
        deliverer.check()
        return len(to_tell - deliverer.told())

    def _rows(self, run: str, count: str) -> int:
        """Return a count of the run's manifest, of all categories; it is up to two seconds old."""
        with suppress(StreamproofError):  # it may not be there yet
            return sum(getattr(rows, count) for rows in load_run(run, self._home).rows.values())
        return 0

    def _wait_until_works(self, target: Target, since: datetime, rows: int) -> None:
        """Wait until so many rows are confirmed, a checkpoint begun after ``since`` is complete, and all is healthy."""
        deadline = time.monotonic() + _PATIENCE
        while left := self._what_is_missing(target, since, rows):
            target.replayer.check()
            target.deliverer.check()
            if time.monotonic() > deadline:
                raise StreamproofError(
                    f"after {_PATIENCE:.0f} s {left}: see `streamproof status`, `streamproof list` and "
                    f"`streamproof flow status {self.contract_file}`"
                )
            time.sleep(_LOOK)

    def _what_is_missing(self, target: Target, since: datetime, rows: int) -> str:
        if (confirmed := self._rows(target.replayer.run, "confirmed")) < rows:
            return f"{confirmed} of {rows} rows are confirmed"
        try:
            checkpoint = self._cluster.last_checkpoint(target.job)
        except StreamproofError:
            checkpoint = None
        if checkpoint is None or checkpoint < since:
            return "the window job has not completed a checkpoint"
        here = (name for name in self._stack.parts if name not in target.away)
        unhealthy = [name for name in here if not self._stack.is_healthy(name)]
        return f"{', '.join(unhealthy)} is not healthy" if unhealthy else ""


def _standstills(topic: str, strikes: Sequence[tuple[datetime, float]]) -> list[float]:
    """Return, of each strike and its recovery, the longest time (seconds) in which nothing came into a partition."""
    with closing(TopicReader(topic, strikes[0][0], KafkaSettings())) as reader:
        came: dict[int, list[int]] = {partition: [] for partition in reader.positions}
        for messages in reader.read():
            for message in messages:
                came[cast("int", message.partition())].append(message.timestamp()[1])

    def longest(struck: datetime, seconds: float) -> float:
        begin = int(struck.timestamp() * 1000)
        end = begin + int(seconds * 1000)
        within = ([begin, *(time for time in times if begin < time < end), end] for times in came.values())
        return max(later - time for times in within for time, later in pairwise(times)) / 1000

    return [longest(*strike) for strike in strikes]


@contextmanager
def drilled_chain(stack: Stack) -> Iterator[DrilledChain]:
    """Deploy the drills' own stream, its flow behind a proxy, and take it away again.

    Raises:
        StreamproofError: a server is away.

    """
    mqtt = MqttSettings()
    with Proxy(mqtt.host, mqtt.port) as edge_side, Proxy(mqtt.host, mqtt.port) as flow_side:
        chain = DrilledChain(stack, edge_side, flow_side)
        through = mqtt.model_copy(update={"nifi_host": "127.0.0.1", "nifi_port": flow_side.port})
        deploy(chain.contract, mqtt=through, force=True)
        try:
            yield chain
        finally:
            remove(STREAM, force=True)


def _cancel(job: str) -> None:
    try:
        Cluster().cancel(job)
    except StreamproofError as error:
        console.print(f"the drill's job is left behind: {error}", markup=False, soft_wrap=True)
