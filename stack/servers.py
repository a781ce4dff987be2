"""The stack: Mosquitto, Kafka, NiFi and Flink on this machine, started together and stopped in order."""

import contextlib
import fcntl
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from stack.artifacts import Store, read_lock
from stack.flink import TASKMANAGERS, flink_library, flink_parts
from stack.java import java_home
from stack.kafka import kafka_part
from stack.mosquitto import find_mosquitto, install_mosquitto, mosquitto_part
from stack.nifi import nifi_part, nifi_program
from stack.part import Part
from stack.preflight import check_before_start
from stack.process import Processes
from stack.settings import StackSettings
from streams.command import console
from streams.errors import StreamproofError, UsageError
from streams.settings import FlinkSettings, HomeSettings, KafkaSettings, MqttSettings, NifiSettings

PARTS = ("mosquitto", "kafka", "nifi", "jobmanager", *TASKMANAGERS)
"""The names of the parts, in the order in which they start."""

_STOP_ORDER = (*reversed(TASKMANAGERS), "jobmanager", "nifi", "kafka", "mosquitto")
_POLL = 0.5  # seconds
_LAST_LINES = 15


class PartStatus(NamedTuple):
    """How a part is: its pid while it runs, whether it answers, and how often it was started again after a crash."""

    name: str
    pid: int | None
    healthy: bool
    restarts: int


class Stack:
    """The servers of one home. Every method works on the parts that are named, by default on all."""

    def __init__(  # noqa: PLR0913 - one settings object for each part
        self,
        *,
        home: HomeSettings,
        mqtt: MqttSettings,
        kafka: KafkaSettings,
        nifi: NifiSettings,
        flink: FlinkSettings,
        settings: StackSettings | None = None,
    ) -> None:
        self.settings = settings or StackSettings()
        self._home = home.home.absolute()
        self._cache = home.cache.absolute()
        self._store = Store(self._cache)
        self.processes = Processes(self._home)
        self._extensions = self.settings.nifi_extensions or self._home / "nifi" / "python_extensions"
        self._servers = (mqtt, kafka, nifi, flink)

    @classmethod
    def from_environment(cls) -> Self:
        """Return the stack that the environment and ``.env`` describe."""
        return cls(
            home=HomeSettings(), mqtt=MqttSettings(), kafka=KafkaSettings(), nifi=NifiSettings(), flink=FlinkSettings()
        )

    def setup(self, parts: Collection[str] = PARTS) -> None:
        """Install what the parts need; what is there is left as it is.

        Raises:
            UsageError: something must be installed by hand; the text has the command.
            StreamproofError: something cannot be fetched, or is not what the lock file names.

        """
        with self._alone():
            self._setup(self._choose(parts))

    def up(self, extensions: Path | None = None, parts: Collection[str] = PARTS) -> None:
        """Start the parts that do not run and return when all of them are healthy.

        Args:
            extensions: where NiFi finds its Python processors, if not where the settings say.
            parts: the names of the parts.

        Raises:
            UsageError: an address is not on loopback, or something must be installed by hand.
            StreamproofError: a port is taken, memory is short, or a part ends or stays unhealthy. What this call
                started is stopped then, and also when it is interrupted.

        """
        self._extensions = extensions or self._extensions
        with self._alone():
            chosen = self._choose(parts)
            missing = [part for part in chosen if self.processes.find(part.name) is None]
            for part in missing:
                part.clear()
            check_before_start(missing)
            self._setup(missing)
            started: list[Part] = []
            try:
                for part in missing:
                    program = part.prepare()
                    started.append(part)
                    self.processes.start(part.name, program)
                self._wait_until_healthy(chosen, {part.name for part in missing})
            except BaseException:
                if started:
                    console.print("stopping what was started")
                self._stop(started)
                raise

    def down(self, parts: Collection[str] = PARTS) -> None:
        """Stop the parts in order: TaskManagers, JobManager, NiFi, Kafka, Mosquitto."""
        with self._alone():
            self._stop(self._choose(parts))

    def status(self) -> list[PartStatus]:
        """Ask every part how it is."""
        found = []
        for part in self._choose(PARTS):
            process = self.processes.find(part.name)
            record = self.processes.record(part.name)
            healthy = process is not None and _is_healthy(part)
            pid = process.pid if process else None
            found.append(PartStatus(part.name, pid, healthy, record.restarts if record else 0))
        return found

    def _choose(self, names: Collection[str]) -> list[Part]:
        if unknown := set(names) - set(PARTS):
            raise UsageError(f"there is no part {min(unknown)!r}: name one of {', '.join(PARTS)}")
        mqtt, kafka, nifi, flink = self._servers
        parts = (
            mosquitto_part(self._home, self._cache, mqtt, self.settings),
            kafka_part(self._home, self._store, kafka, self.settings),
            nifi_part(
                home=self._home,
                cache=self._cache,
                store=self._store,
                nifi=nifi,
                settings=self.settings,
                processes=self.processes,
                extensions=self._extensions,
            ),
            *flink_parts(self._home, self._cache, self._store, flink, self.settings),
        )
        return [part for part in parts if part.name in names]

    def _setup(self, parts: list[Part]) -> None:
        names = {part.name for part in parts}
        if "mosquitto" in names and not find_mosquitto(self._cache):
            install_mosquitto(self._cache)
        if names - {"mosquitto"}:
            java_home(self.settings)
        needed = {name for part in parts for name in part.artifacts}
        self._store.fetch(artifact for artifact in read_lock() if artifact.part in needed)
        if "nifi" in names:
            nifi_program(self._cache, self._store)
        if "jobmanager" in names:
            flink_library(self._cache, self._store)

    def _wait_until_healthy(self, parts: list[Part], started: Collection[str]) -> None:
        began = time.monotonic()
        waiting = list(parts)
        while waiting:
            for part in list(waiting):
                if self.processes.find(part.name) is None:
                    raise StreamproofError(f"{part.name} ended while it started; {self._last_words(part)}")
                if _is_healthy(part):
                    waiting.remove(part)
                    how = f"is up after {time.monotonic() - began:.0f} s" if part.name in started else "runs already"
                    console.print(f"{part.name} {how}")
            if waiting and time.monotonic() - began > self.settings.start_timeout:
                raise StreamproofError(
                    f"{waiting[0].name} is not healthy after {self.settings.start_timeout} s "
                    f"(STREAMPROOF_STACK_START_TIMEOUT); {self._last_words(waiting[0])}"
                )
            time.sleep(_POLL)

    def _stop(self, parts: list[Part]) -> None:
        for part in sorted(parts, key=lambda part: _STOP_ORDER.index(part.name)):
            if self.processes.find(part.name):
                console.print(f"stopping {part.name}")
            self.processes.stop(part.name, self.settings.stop_timeout)
            part.clear()

    def _last_words(self, part: Part) -> str:
        lines = self.processes.last_lines(part.name, _LAST_LINES)
        return f"the end of {self.processes.log(part.name)}:\n{lines or '(nothing)'}"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let only one `setup`, `up` or `down` work on a home or a cache at a time."""
        with contextlib.ExitStack() as files:
            for folder in sorted({self._cache, self._home}):
                folder.mkdir(parents=True, exist_ok=True)
                file = files.enter_context((folder / "lock").open("w"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    console.print(f"waiting for another streamproof command that works in {folder}")
                    fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _is_healthy(part: Part) -> bool:
    try:
        return part.healthy()
    except Exception:  # whatever a server that is not ready does to its client means: not healthy
        return False
