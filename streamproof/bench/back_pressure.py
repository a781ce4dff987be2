"""Back-pressure: what each part holds while Kafka is away for two minutes at full speed, and whether a row is lost.

    python -m streamproof.bench.back_pressure [--how frozen|killed] [--away 120] [--rows 1000000]

It uses this home's stack and starts what is not running. Proven, and exit code 0: every row and every window is right,
and in the second half of the outage no part held more than in the first.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Self

import httpx
import psutil
import typer
from paho.mqtt.client import Client, MQTTMessage
from rich import box
from rich.console import Console
from rich.table import Table

from flink_jobs.cluster import Cluster
from streamproof.bench.ground import CONTRACT, START, Watch, memory_of_parts, prepare, replay_command, window_job
from streamproof.chain.late_rows import late_rows
from streamproof.core.command import console, new_app, run_app
from streamproof.core.errors import StreamproofError
from streamproof.core.mqtt import new_client
from streamproof.core.run import load_run, new_run_id
from streamproof.core.settings import HomeSettings, KafkaSettings, MqttSettings, NifiSettings
from streamproof.core.wait import wait_until
from streamproof.generator.make import make
from streamproof.stack.servers import Stack
from validation.verdict import validate

CATEGORIES = ("Movies_and_TV", "Home_and_Kitchen")
MEGABYTE = 1_000_000
NOISE = 32.0
"""Megabytes by which a part that does not grow may still differ from itself: the garbage of a JVM."""

BEFORE, FILLING, FULL, AFTER = "before", "filling", "full", "after"
_WARM = 10.0  # seconds at full speed before Kafka goes
_PATIENCE = 900.0
_WAIT_SECONDS = 120

app = new_app("How much each part holds while Kafka is away.")


class How(StrEnum):
    """How Kafka goes away: its process is frozen (SIGSTOP), or killed (-9) and started again."""

    frozen = "frozen"
    killed = "killed"


class Pressure(Watch):
    """Measures every part each second: megabytes by phase, part and moment."""

    def __init__(self, stack: Stack, replayer: int) -> None:
        super().__init__()
        self.phase = BEFORE
        self.found: dict[str, dict[str, list[float]]] = {phase: {} for phase in (BEFORE, FILLING, FULL, AFTER)}
        self._stack, self._replayer = stack, replayer
        self._home, mqtt, self._nifi = HomeSettings(), MqttSettings(), NifiSettings()
        self._stored = 0.0
        self._client = new_client(mqtt)
        self._client.on_message = self._on_message
        self._client.connect(mqtt.host, mqtt.port)
        self._client.subscribe("$SYS/broker/store/messages/bytes")  # told every 10 s

    def __enter__(self) -> Self:
        self._client.loop_start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._client.loop_stop()

    def run(self) -> None:
        """Measure until the end."""
        while not self.over.wait(1):
            with suppress(psutil.Error, httpx.HTTPError):  # a part that ends while it is looked at, a NiFi that is slow
                phase, memory = self.phase, self._memory()
                queues = {
                    "queued in NiFi": self._queued(),
                    "NiFi's content on disk": self._content(),
                    "stored by Mosquitto": self._stored,
                }
                for part, size in (memory | {"memory in all": sum(memory.values())} | queues).items():
                    self.found[phase].setdefault(part, []).append(size)

    def most(self, part: str, phase: str) -> float:
        """Return the greatest value of a phase."""
        return max(self.found[phase].get(part, [0.0]))

    def _memory(self) -> dict[str, float]:
        found = {part: size / MEGABYTE for part, size in memory_of_parts(self._stack).items()}
        with suppress(psutil.NoSuchProcess):  # it has ended
            if size := psutil.Process(self._replayer).memory_info().rss:
                found["replayer"] = size / MEGABYTE
        return found

    def _queued(self) -> float:
        status = httpx.get(
            f"{self._nifi.endpoints[0]}/flow/process-groups/root/status",
            trust_env=False,
            verify=self._nifi.tls.context() or True,
        ).json()
        return float(status["processGroupStatus"]["aggregateSnapshot"]["bytesQueued"]) / MEGABYTE

    def _content(self) -> float:
        files = (self._home.home / "nifi" / "content_repository").rglob("*")
        size = 0
        for file in files:
            with suppress(FileNotFoundError):
                size += file.stat().st_size
        return size / MEGABYTE

    def _on_message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        self._stored = float(message.payload) / MEGABYTE


def _until(condition: Callable[[], bool], what: str, replaying: subprocess.Popen[bytes]) -> float:
    """Wait, and return for how long."""
    began = time.monotonic()
    has_come = wait_until(lambda: condition() or replaying.poll(), _PATIENCE)
    seconds = time.monotonic() - began
    if not has_come or replaying.poll():
        raise StreamproofError(f"{what}: not so after {seconds:.0f} s")
    return seconds


def _take_kafka_away(stack: Stack, how: How) -> Callable[[], None]:
    """Return what brings it back."""
    kafka = stack.processes.find("kafka")
    if kafka is None:
        raise StreamproofError("Kafka does not run")
    if how is How.frozen:
        kafka.suspend()
        return kafka.resume
    kafka.kill()
    kafka.wait()
    stack.down(parts=("kafka",))  # so that nobody takes it for a part that is to run
    return lambda: stack.up(parts=("kafka",))


@app.command()
def main(
    how: Annotated[How, typer.Option(help="Whether Kafka is frozen (SIGSTOP) or killed (-9).")] = How.frozen,
    away: Annotated[float, typer.Option(help="Seconds that Kafka is away.")] = 120,
    rows: Annotated[int, typer.Option(help="Rows of each of the two categories.")] = 1_000_000,
) -> None:
    """Measure one outage and print what every part held."""
    home, stack, run = HomeSettings(), Stack.from_environment(), new_run_id()
    prepare()
    files = make(CONTRACT.name, len(CATEGORIES) * rows, home.home / "samples" / "pressure", categories=CATEGORIES).files
    command = replay_command(files, "--rate", "max", "--start", START, "--run", run, stream=CONTRACT.name)
    with window_job(run) as job:
        with (
            subprocess.Popen(command, env=os.environ) as replaying,
            Pressure(stack, replaying.pid) as watch,
        ):
            try:
                times = _outage(stack, how, away, run, replaying, watch)
            finally:
                if replaying.poll() is None:
                    replaying.send_signal(signal.SIGTERM)
        began = time.monotonic()
        verdict = validate(run, home, KafkaSettings(), wait=_WAIT_SECONDS, late=late_rows)
        times["from the last confirmation to the verdict"] = time.monotonic() - began
        restarts = Cluster().restarts(job)
    _print(watch, times, how, away)
    growing = [part for part in watch.found[BEFORE] if watch.most(part, FULL) > watch.most(part, FILLING) + NOISE]
    done, windows = load_run(run, home).rows.values(), verdict.windows
    print(
        f"sent {verdict.rows.sent:,}, confirmed {sum(c.confirmed for c in done):,}, in Kafka {verdict.rows.kafka:,}, "
        f"lost {verdict.rows.lost:,}, sent again {sum(c.resent for c in done):,}, doubled {verdict.rows.doubled:,}\n"
        f"windows right {windows.right:,}, wrong {windows.wrong}, missing {windows.missing}, extra {windows.extra}; "
        f"restarts of the job {restarts}\n"
        f"memory: {'still grows: ' + ', '.join(growing) if growing else 'bounded'}\n"
        f"{'PROVEN' if verdict.proven and not growing else 'NOT PROVEN ' + '; '.join(verdict.reasons)}"
    )
    raise typer.Exit(0 if verdict.proven and not growing else 1)


def _outage(  # noqa: PLR0917 - all that a run has
    stack: Stack, how: How, away: float, run: str, replaying: subprocess.Popen[bytes], watch: Pressure
) -> dict[str, float]:
    def count(what: str) -> int:
        with suppress(StreamproofError):  # the manifest is not there yet
            return sum(getattr(counts, what) for counts in load_run(run, HomeSettings()).rows.values())
        return 0

    _until(lambda: count("confirmed") > 0, "a row is confirmed", replaying)
    before, began = count("confirmed"), time.monotonic()
    time.sleep(_WARM)
    rate = (count("confirmed") - before) / (time.monotonic() - began)
    console.print(f"Kafka goes away ({how}) for {away:.0f} s")
    bring_back = _take_kafka_away(stack, how)
    watch.phase = FILLING
    try:
        time.sleep(away / 2)
        watch.phase = FULL
        time.sleep(away / 2)
    finally:
        watch.phase = AFTER
        bring_back()
    console.print("Kafka is back")
    backlog = count("sent")
    waited = _until(lambda: count("confirmed") >= backlog, "the backlog is confirmed", replaying)
    at, began = count("confirmed"), time.monotonic()
    _until(lambda: replaying.poll() is not None, "the replay ends", replaying)
    return {
        "rows a second before": rate,
        "rows a second after": (count("confirmed") - at) / (time.monotonic() - began),
        "seconds until the backlog was confirmed": waited,
    }


def _print(watch: Pressure, times: dict[str, float], how: How, away: float) -> None:
    print(f"MB while Kafka is {how} for {away:.0f} s at full speed")
    table = Table("", box=box.HORIZONTALS)
    for column in ("before", "first half", "second half", "after", "at the end"):
        table.add_column(column, justify="right")
    for part in watch.found[BEFORE]:
        sizes = [watch.most(part, phase) for phase in (BEFORE, FILLING, FULL, AFTER)]
        table.add_row(part, *(f"{size:,.0f}" for size in (*sizes, watch.found[AFTER][part][-1])))
    Console(width=110).print(table)
    for what, number in times.items():
        print(f"{what}: {number:,.0f}")


if __name__ == "__main__":
    run_app(app)
