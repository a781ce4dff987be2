"""Kafka away at full speed: what the parts hold stays bounded, nothing is lost, and the chain catches up."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import psutil
import pytest
from waiting import PATIENCE, until

from nifi_templates.deployment import status
from streamproof.core.errors import UsageError
from streamproof.core.run import RowCounts, load_run
from streamproof.stack.servers import Stack

START = 1_704_067_200_000
ROWS, IN_FLIGHT, BATCH = 150_000, 20_000, 500
AWAY_SECONDS = 20
ROW_BYTES = 300  # a row's JSON has some 200
QUEUE = 200  # FlowFiles of one connection of the flow, of which two lie before the sink


def counts(chain, run: str) -> list[RowCounts]:
    try:
        return list(load_run(run, chain.servers.home).rows.values())
    except UsageError:  # its manifest is not there yet
        return []


def under_way(chain, run: str) -> int:
    return sum(c.sent - c.confirmed for c in counts(chain, run))


def memory(stack: Stack) -> int:
    found = [process for part in stack.parts if (process := stack.processes.find(part))]
    found += [child for process in found for child in process.children(recursive=True)]
    return sum(process.memory_info().rss for process in found if process.status() != psutil.STATUS_ZOMBIE)


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@pytest.mark.faults
@pytest.mark.long
def test_while_kafka_is_away_at_full_speed_little_is_held_and_afterwards_every_window_is_right(chain):
    stack, run = Stack.from_environment(), chain.new_run("pressure")
    files = {name: chain.sample(name, ROWS) for name in ("Books", "Music")}
    job = chain.submit("30s/5s", run)
    replayed = []
    options = {"interval": Fraction(1), "start": START, "in_flight": IN_FLIGHT, "batch_rows": BATCH}
    replaying = threading.Thread(target=lambda: replayed.append(chain.replay(run, files, **options)))
    replaying.start()
    until(lambda: any(c.confirmed for c in counts(chain, run)))

    with frozen(stack.processes.find("kafka")):
        until(lambda: under_way(chain, run) > IN_FLIGHT - BATCH)
        full_at = time.monotonic()
        while time.monotonic() < full_at + AWAY_SECONDS:
            queue = status("ratings")
            assert queue.queued_bytes < 2 * IN_FLIGHT * ROW_BYTES
            assert queue.queued < 2 * QUEUE + 50
            assert under_way(chain, run) <= IN_FLIGHT
            assert memory(stack) < 4_000_000_000
            time.sleep(1)
        assert replaying.is_alive()

    replaying.join(PATIENCE)
    assert [it.state for it in replayed] == ["finished"]
    rows = replayed[0].rows.values()
    assert {(c.sent, c.confirmed) for c in rows} == {(ROWS, ROWS)}
    assert sum(c.resent for c in rows) < IN_FLIGHT, "what was only slow was taken for lost"
    assert chain.assert_proven(run, job, copies_may_be_late=True).rows.kafka == 2 * ROWS
