"""The stack: Mosquitto, Kafka, NiFi and Flink on this machine, started together and stopped in order."""

import re
import signal
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Self

from streamproof.core.alone import alone
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import (
    FlinkSettings,
    HomeSettings,
    KafkaSettings,
    MqttSettings,
    NifiSettings,
    PostgresSettings,
)
from streamproof.core.wait import wait_until
from streamproof.stack.artifacts import Store, read_lock
from streamproof.stack.authority import HEALTH, OPERATOR, Authority
from streamproof.stack.flink import TASKMANAGERS, flink_library, flink_parts
from streamproof.stack.kafka import broker_names, kafka_parts
from streamproof.stack.live_sinks import end_live
from streamproof.stack.mosquitto import find_mosquitto, install_mosquitto, mosquitto_part
from streamproof.stack.nifi import nifi_parts, nifi_program, node_names
from streamproof.stack.part import Part
from streamproof.stack.postgres import POSTGRES, postgres_part
from streamproof.stack.preflight import check_before_start
from streamproof.stack.process import Processes, Program
from streamproof.stack.settings import StackSettings
from streamproof.stack.zookeeper import ZOOKEEPER, zookeeper_part

SUPERVISOR = "supervisor"
"""The name under which the process that looks after the parts is remembered."""

_POLL = 0.5  # seconds
_LAST_LINES = 15
_LOOKED_AT = 200
_FRAME = re.compile(r"\s+(?:at |\.\.\. \d+ more)")
"""A line of a Java stack trace that says where, not what."""


class PartStatus(NamedTuple):
    """How a part is.

    Attributes:
        pid: its process, while it runs.
        healthy: whether it answers in its own protocol.
        restarts: how often it was started again after it had ended by itself, since the last ``down``.
        last_end: when and how it ended by itself last.
        given_up: the end of its log, where it ended so often that it is not started again.

    """

    name: str
    pid: int | None
    healthy: bool
    restarts: int
    last_end: str | None
    given_up: str | None


class Stack:
    """The servers of one home. Every method works on the parts that are named, by default on all.

    Attributes:
        parts: the names of those that belong to every stack, in the order in which they start.
        all_parts: with those that are started only where they are asked for.

    """

    def __init__(
        self,
        *,
        home: HomeSettings,
        mqtt: MqttSettings,
        kafka: KafkaSettings,
        nifi: NifiSettings,
        flink: FlinkSettings,
        settings: StackSettings | None = None,
        postgres: PostgresSettings | None = None,
    ) -> None:
        self.settings = settings or StackSettings()
        self._home = home.home
        self._cache = home.cache
        self._store = Store(self._cache)
        self.processes = Processes(self._home)
        self._extensions = self._home / "nifi" / "python_extensions"
        own = Authority(self._home / "tls")
        self.authority = own if kafka.tls.ca == own.folder / "ca.pem" else None
        self._servers = (mqtt, kafka, nifi, flink)
        self._postgres = postgres or PostgresSettings()
        nodes = node_names(nifi)
        self.parts: tuple[str, ...] = (
            "mosquitto",
            *broker_names(kafka),
            *((ZOOKEEPER,) if len(nodes) > 1 else ()),
            *nodes,
            "jobmanager",
            *TASKMANAGERS,
        )
        self.all_parts = (*self.parts, POSTGRES)

    @classmethod
    def from_environment(cls) -> Self:
        """Return the stack that the environment and ``.env`` describe."""
        return cls(
            home=HomeSettings(), mqtt=MqttSettings(), kafka=KafkaSettings(), nifi=NifiSettings(), flink=FlinkSettings()
        )

    def setup(self, parts: Collection[str] = ()) -> None:
        """Install what the parts need; what is there is left as it is.

        Raises:
            UsageError: something must be installed by hand; the text has the command.
            StreamproofError: something cannot be fetched, or is not what the lock file names.

        """
        self._setup(self._choose(parts or self.parts))

    def up(self, extensions: Path | None = None, parts: Collection[str] = ()) -> None:
        """Start the parts that do not run and return when all of them are healthy.

        Args:
            extensions: where NiFi finds its Python processors; by default ``HOME/nifi/python_extensions``.
            parts: the names of the parts.

        Raises:
            UsageError: an address is not on loopback, or something must be installed by hand.
            StreamproofError: a port is taken, memory is short, or a part ends or stays unhealthy. What this call
                started is stopped then, and also when it is interrupted.

        """
        self._extensions = extensions or self._extensions
        with _working_alone(self._home / "lock"):
            chosen = self._choose(parts or self.parts)
            self._stop_what_has_old_certificates(chosen)
            missing = [part for part in chosen if self.processes.find(part.name) is None]
            for part in missing:
                part.clear()
            check_before_start(missing)
            self._setup(missing)
            started: list[Part] = []
            with ExitStack() as on_error:
                on_error.callback(self._undo, started)
                for part in missing:
                    program = part.prepare()
                    started.append(part)
                    self.processes.start(part.name, program)
                self._wait_until_healthy(chosen, {part.name for part in missing})
                on_error.pop_all()
            for part in chosen:
                if part.reread and part not in missing and (process := self.processes.find(part.name)):
                    part.reread()
                    process.send_signal(signal.SIGHUP)

    def supervise(self, command: Sequence[str]) -> None:
        """Start the command that is to look after the parts and their jobs from now on, unless one does already."""
        with _working_alone(self._home / "lock"):
            if self.supervisor() is None:
                self.processes.start(SUPERVISOR, Program(list(command), Path.cwd()))
                console.print("the supervisor is started: what ends by itself is started again")

    def start_again(self, name: str) -> bool:
        """Start a part that has ended by itself; False when somebody else did, or stopped it.

        Raises:
            StreamproofError: it cannot be started.

        """
        with _working_alone(self._home / "lock"):
            if not self.processes.has_ended(name):
                return False
            part = self._part(name)
            part.clear()
            self.processes.start(name, part.prepare())
            return True

    def down(self, parts: Collection[str] = ()) -> None:
        """Stop the parts in order: TaskManagers, JobManager, NiFi, Kafka, Mosquitto, PostgreSQL."""
        with _working_alone(self._home / "lock"):
            parts = parts or self.all_parts
            if set(parts) >= set(self.parts):
                end_live()
                self.processes.stop(SUPERVISOR, self.settings.stop_timeout)
            self._stop(self._choose(parts))

    def supervisor(self) -> int | None:
        """Return the pid of the process that starts again what ends by itself; None where there is none."""
        process = self.processes.find(SUPERVISOR)
        return process.pid if process else None

    def is_healthy(self, name: str) -> bool:
        """Ask one part whether it works."""
        return _is_healthy(self._part(name))

    def is_given_up(self, name: str) -> bool:
        """Return whether a part ended so often that it is not started again."""
        record = self.processes.record(name)
        return record is not None and record.given_up

    def status(self) -> list[PartStatus]:
        """Ask every part how it is; one that is not in every stack only where it was started."""
        found = []
        names = [name for name in self.all_parts if name in self.parts or self.processes.record(name)]
        for part in self._choose(names):
            process = self.processes.find(part.name)
            record = self.processes.record(part.name)
            healthy = process is not None and _is_healthy(part)
            if record is None:
                found.append(PartStatus(part.name, None, healthy=False, restarts=0, last_end=None, given_up=None))
                continue
            found.append(
                PartStatus(
                    part.name,
                    process.pid if process else None,
                    healthy,
                    record.restarts,
                    record.last_end if process else self.processes.why_ended(part.name),
                    self.last_words(part.name) if record.given_up else None,
                )
            )
        return found

    def last_words(self, name: str) -> str:
        """Return the end of a part's log without the frames of stack traces, and where the rest is."""
        lines = self.processes.last_lines(name, _LOOKED_AT).splitlines()
        told = [line for line in lines if not _FRAME.match(line)][-_LAST_LINES:]
        return f"the end of {self.processes.log(name)}:\n" + ("\n".join(told) or "(nothing)")

    def _part(self, name: str) -> Part:
        (part,) = self._choose((name,))
        return part

    def _choose(self, names: Collection[str]) -> list[Part]:
        if unknown := set(names) - set(self.all_parts):
            raise UsageError(f"there is no part {min(unknown)!r}: name one of {', '.join(self.all_parts)}")
        mqtt, kafka, nifi, flink = self._servers
        if self.authority:  # who only asks whether a server answers needs no other right; NiFi and Flink know none such
            asking = {"tls": self.authority.identity(HEALTH)}
            mqtt, kafka = mqtt.model_copy(update=asking), kafka.model_copy(update=asking)
        parts = (
            mosquitto_part(self._home, self._cache, mqtt, self.settings, self.authority),
            *kafka_parts(self._home, self._store, kafka, self.settings, self.authority),
            zookeeper_part(self._home, self._cache, self._store, self.settings),
            *nifi_parts(
                home=self._home,
                cache=self._cache,
                store=self._store,
                nifi=nifi,
                settings=self.settings,
                processes=self.processes,
                extensions=self._extensions,
                authority=self.authority,
            ),
            *flink_parts(self._home, self._cache, self._store, flink, self.settings, self.authority),
            postgres_part(self._home, self._postgres),
        )
        return [part for part in parts if part.name in names]

    def _setup(self, parts: list[Part]) -> None:
        names = {part.name for part in parts}
        needed = {name for part in parts for name in part.artifacts}
        with _working_alone(self._cache / "setup.lock"):
            if "mosquitto" in names and not find_mosquitto(self._cache):
                install_mosquitto(self._cache)
            self._store.fetch(artifact for artifact in read_lock() if artifact.part in needed)
            if names & {*node_names(self._servers[2])}:
                nifi_program(self._cache, self._store)
            if "jobmanager" in names:
                flink_library(self._cache, self._store)

    def _stop_what_has_old_certificates(self, parts: list[Part]) -> None:
        """Stop what was started before its certificate was made, and so also what let in everybody until now."""
        tls = self._home / "tls"
        if self.authority is None:
            if Authority(tls).exists:
                raise UsageError(
                    f"the servers of {self._home} are secured: `streamproof up --secured` names the settings that "
                    f"commands need; without the folder {tls} they are not"
                )
            return

        def is_older(name: str, certificates: Collection[Path]) -> bool:
            process = self.processes.find(name)
            return bool(process and any(file.stat().st_mtime > process.create_time() for file in certificates))

        if is_older(SUPERVISOR, [tls / f"{OPERATOR}.pem", tls / f"{HEALTH}.pem"]):
            self.processes.stop(SUPERVISOR, self.settings.stop_timeout)
        self._stop([part for part in parts if is_older(part.name, part.certificates)])

    def _wait_until_healthy(self, parts: list[Part], started: Collection[str]) -> None:
        began, waiting = time.monotonic(), list(parts)

        def are_all_healthy() -> bool:
            for part in list(waiting):
                if self.processes.find(part.name) is None:
                    raise StreamproofError(f"{part.name} ended while it started; {self.last_words(part.name)}")
                if _is_healthy(part):
                    waiting.remove(part)
                    how = f"is up after {time.monotonic() - began:.0f} s" if part.name in started else "runs already"
                    console.print(f"{part.name} {how}")
            return not waiting

        if not wait_until(are_all_healthy, self.settings.start_timeout, _POLL):
            raise StreamproofError(
                f"{waiting[0].name} is not healthy after {self.settings.start_timeout} s "
                f"(STREAMPROOF_STACK_START_TIMEOUT); {self.last_words(waiting[0].name)}"
            )

    def _undo(self, started: list[Part]) -> None:
        if started:
            console.print("stopping what was started")
        self._stop(started)

    def _stop(self, parts: list[Part]) -> None:
        order = [_kind(name) for name in (*reversed(self.parts), POSTGRES)]
        in_order = sorted(parts, key=lambda part: order.index(_kind(part.name)))
        for _, alike in groupby(in_order, lambda part: _kind(part.name)):
            # At once: a broker that were left alone could not tell the others that it leaves, and would wait for them.
            with ThreadPoolExecutor() as pool:
                list(pool.map(self._stop_one, alike))

    def _stop_one(self, part: Part) -> None:
        if self.processes.find(part.name):
            console.print(f"stopping {part.name}")
        self.processes.stop(part.name, self.settings.stop_timeout, part.stop_signal)
        part.clear()


def _kind(name: str) -> str:
    """Return a part's name without its number."""
    return name.rstrip("-0123456789")


def _working_alone(lock: Path) -> AbstractContextManager[None]:
    return alone(
        lock,
        lambda: console.print(
            f"waiting for another streamproof command that works in {lock.parent}", markup=False, soft_wrap=True
        ),
    )


def _is_healthy(part: Part) -> bool:
    try:
        return part.healthy()
    except Exception:  # whatever a server that is not ready does to its client means: not healthy
        return False
