"""The stages of the NiFi flow, each alone: how long its processor is at work for a row.

A flow of its own is deployed, so that NiFi's counts begin at nothing, and a few rows warm it up. Then its source and
its sink are stopped, and the replayer sends as many rows as may be unconfirmed, which the broker keeps. Now the source
runs alone until it has all of them. Then the sink takes one FlowFile at a time (NiFi's "run once"), and the next one
when the edge was told that Kafka has the last one. So it goes on to the last row, and the run is proven. ValidateRecord
has no part in it: it checks what the replayer does not send.

Measured is the duration of a processor's tasks as NiFi tells it (``tasksDurationNanos``): the wall clock from the call
of the processor to the commit of what it did, so also its waiting for Kafka and the broker. Left out are tasks of the
source that found no message, the time between tasks (NiFi's scheduler), and that stages which run at the same time
share the machine's cores. FlowFiles are as large as the source makes them when messages wait, about 20,000 rows.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nipyapi import canvas

from edge_replayer.options import MAX_IN_FLIGHT
from nifi_templates.connection import nifi_connection
from nifi_templates.definition import QUEUED_FLOWFILES, SOURCE, TELL_EDGE
from nifi_templates.deployment import deploy, received_rows, remove
from streamproof.bench.full_topic import BATCH_ROWS
from streamproof.bench.ground import (
    CATEGORIES,
    START,
    contract_file,
    prove,
    replay,
    replay_command,
    sample_files,
    window_job,
)
from streamproof.bench.measure import Benchmark, Once
from streamproof.core.contract import load_contract
from streamproof.core.errors import StreamproofError
from streamproof.core.run import load_run, new_run_id
from streamproof.core.settings import HomeSettings, NifiSettings
from streamproof.core.wait import wait_until

SINK = "publish rows"
STAGES = {"MQTT source": SOURCE, "Kafka sink": SINK, "confirmations": TELL_EDGE}
"""The processor of each stage, in the order in which a row passes them."""

STREAM = "bench_nifi"
_WARM_UP_ROWS = 10_000
_IDLE_SECONDS = 0.25
"""How long a task of the source waits for a message (``WAIT_SECONDS`` there)."""

_NIFI_REMEMBERS = 300.0
_PATIENCE_S = 120.0


class _Flow:
    """The deployed flow, and for how many seconds each processor has been at work since this was made."""

    def __init__(self) -> None:
        processors = canvas.list_all_processors(canvas.get_process_group(STREAM, greedy=False).id)
        self._ids = {p.component.name: p.id for p in processors}
        self.switch(SOURCE, SINK, on=False)
        self._before = {name: self._look(name).tasks_duration_nanos for name in STAGES.values()}
        self._idle_tasks = self._count_idle_tasks()

    def switch(self, *processors: str, on: bool) -> None:
        """Start or stop processors."""
        for processor in processors:
            canvas.schedule_processor(self._ids[processor], on)

    def run_sink_once(self) -> None:
        """Let the sink take a FlowFile, and wait until the edge was told."""
        before = self._look(TELL_EDGE).flow_files_in
        canvas.schedule_processor(self._ids[SINK], "RUN_ONCE")
        _wait(lambda: self._look(TELL_EDGE).flow_files_in > before, "a FlowFile is through")

    def waiting(self, before: str, behind: str) -> int:
        """Return how many FlowFiles wait between two processors."""
        return int(max(0, self._look(before).flow_files_out - self._look(behind).flow_files_in))

    def active(self) -> dict[str, float]:
        """Return the seconds of each stage."""
        idle = (self._count_idle_tasks() - self._idle_tasks) * _IDLE_SECONDS
        found = {
            stage: (self._look(name).tasks_duration_nanos - self._before[name]) / 1e9 for stage, name in STAGES.items()
        }
        return found | {"MQTT source": found["MQTT source"] - idle}

    def _count_idle_tasks(self) -> int:
        source = self._look(SOURCE)
        return int(source.task_count - source.flow_files_out)

    def _look(self, processor: str) -> Any:  # noqa: ANN401 - nipyapi has no types
        return canvas.get_processor(self._ids[processor], "id").status.aggregate_snapshot


def measure(rows: int) -> Once:
    """Measure each stage alone with so many rows, then prove the run.

    Raises:
        NotProvenError: a row or a window is not right.
        StreamproofError: a stage does not get done in time, or all took longer than NiFi remembers.

    """
    rows -= rows % len(CATEGORIES)
    run, start = new_run_id(), round(datetime.now(UTC).timestamp() * 1000)
    file = contract_file(STREAM)
    remove(STREAM, force=True)
    deploy(load_contract(str(file)))
    deployed = time.monotonic()
    try:
        replay(f"{run}-before", sample_files(_WARM_UP_ROWS), "--rate", "max", "--start", START, stream=str(file))
        with nifi_connection(NifiSettings()):
            flow = _Flow()
            with _replay(run, rows, file) as replayer:
                while _received(run) < rows:
                    _run_round(flow, run, rows)
                active, received = flow.active(), _received(run)
                if time.monotonic() - deployed > _NIFI_REMEMBERS:
                    raise StreamproofError(
                        f"the stages took longer than the {_NIFI_REMEMBERS:.0f} s that NiFi remembers"
                    )
                flow.switch(SOURCE, SINK, on=True)
                _wait(lambda: replayer.poll() is not None, "the replay ends")
        with window_job(run, load_contract(str(file)), start=start) as job:
            prove(run, job)
    finally:
        remove(STREAM, force=True)
    rates = {f"{stage}, rows/s": received / seconds for stage, seconds in active.items()}
    costs = {f"{stage}, µs/row": seconds / received * 1e6 for stage, seconds in active.items()}
    return Once(min(rates.values()), rates | costs | {"all stages, µs/row": sum(costs.values())})


def _run_round(flow: _Flow, run: str, rows: int) -> None:
    """Bring through what the edge may send without a confirmation, or what the queue behind the source holds."""
    full = min(rows, _count(run, "confirmed") + MAX_IN_FLIGHT - 2 * BATCH_ROWS)
    _wait(lambda: _count(run, "sent") >= full, "the edge has sent what it may")
    sent = _count(run, "sent")
    flow.switch(SOURCE, on=True)
    _wait(lambda: _received(run) >= sent or flow.waiting(SOURCE, SINK) >= QUEUED_FLOWFILES, "the source is done")
    flow.switch(SOURCE, on=False)
    while flow.waiting(SOURCE, SINK):
        flow.run_sink_once()


def _count(run: str, what: str) -> int:
    """Return a count of the manifest, of all categories."""
    with suppress(StreamproofError):  # the manifest is not there yet
        return sum(getattr(counts, what) for counts in load_run(run, HomeSettings()).rows.values())
    return 0


def _received(run: str) -> int:
    """Return the rows that the source has received, those among them that the edge sent again."""
    found = (received_rows(STREAM) or {}).get(run)
    return sum(count for count, _ in (found or {}).values())


@contextmanager
def _replay(run: str, rows: int, contract: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Let the edge send as many rows to the broker as may be unconfirmed, and the next ones when it may."""
    options = ("--rate", "max", "--start", START, "--run", run, "--in-flight", str(MAX_IN_FLIGHT))
    command = replay_command(sample_files(rows), *options, stream=str(contract))
    replayer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with replayer:
        try:
            yield replayer
        finally:
            replayer.terminate()


def _wait(condition: Callable[[], bool], what: str) -> None:
    if not wait_until(condition, _PATIENCE_S):
        raise StreamproofError(f"{what}: not so after {_PATIENCE_S:.0f} s")


NIFI_STAGES = {
    "stages.nifi": Benchmark(
        "rows/s", measure, 180_000, "the slowest stage of the NiFi flow; each of them alone, by the time of its tasks"
    )
}
