"""A part killed with -9 in the middle of a run: every row is in Kafka in the end, and every window is right."""

import os
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from edge_replayer.replay import resume
from stack.servers import Stack
from streams.errors import UsageError
from streams.run import load_run

START = 1_704_067_200_000
CHECKOUT = Path(__file__).resolve().parents[2]


@retry(retry=retry_if_result(lambda rows: rows < 1500), stop=stop_after_delay(60), wait=wait_fixed(0.05))
def confirmed_rows(chain, run: str) -> int:
    """Wait until a good part of the run is confirmed."""
    try:
        return sum(counts.confirmed for counts in load_run(run, chain.servers.home).rows.values())
    except UsageError:  # its manifest is not there yet
        return 0


def test_when_a_run_is_finished_as_many_rows_are_confirmed_as_were_sent(chain):
    run = chain.new_run("confirmed")
    files = {name: chain.sample(name, 3000) for name in ("Movies_and_TV", "Home_and_Kitchen")}
    replayed = chain.replay(run, files, interval=Fraction(1000), start=START)
    assert {c.confirmed for c in replayed.rows.values()} == {c.confirmed_to for c in replayed.rows.values()} == {3000}
    verdict = chain.verdict(run, chain.submit("30s/5s", run))
    assert verdict.rows.kafka == verdict.rows.sent == 6000


def test_a_killed_replayer_goes_on_without_leaving_out_or_renumbering_a_row(chain):
    run = chain.new_run("killed")
    files = {name: chain.sample(name, 6000) for name in ("Books", "Music")}
    job = chain.submit("30s/5s", run)
    command = [sys.executable, "-m", "edge_replayer", "ratings", *(f"{c}={f}" for c, f in files.items())]
    command += ["--rate", "1500", "--start", "2024-01-01T00:00:00Z", "--run", run, "--batch-rows", "50"]
    with subprocess.Popen(command, cwd=CHECKOUT, env=os.environ) as replaying:
        confirmed_rows(chain, run)
        with pytest.raises(UsageError, match="by another process"):
            resume(run)
        replaying.kill()
    killed = load_run(run, chain.servers.home)
    assert killed.state == "running"
    assert 0 < sum(counts.confirmed_to for counts in killed.rows.values()) < 12_000
    resumed = resume(run)
    assert {(c.sent, c.confirmed, c.confirmed_to) for c in resumed.rows.values()} == {(6000, 6000, 6000)}
    assert (resumed.start, resumed.began, resumed.created) == (killed.start, killed.began, killed.created)
    assert chain.assert_proven(run, job, copies_may_be_late=True).rows.kafka == 12_000
    assert [path.name for path in (chain.servers.home.runs / run).iterdir()] == ["manifest.json"]
    with pytest.raises(UsageError, match="is finished"):
        resume(run)


@pytest.mark.parametrize("part", ["mosquitto", "nifi"])
def test_a_killed_part_that_is_started_again_loses_no_row(chain, part):
    stack = Stack.from_environment()
    run = chain.new_run(part)
    files = {name: chain.sample(name, 6000) for name in ("Books", "Music")}
    job = chain.submit("30s/5s", run)
    replayed = []
    options = {"interval": Fraction(1000, 1500), "start": START, "clock": "wall", "batch_rows": 20}
    replaying = threading.Thread(target=lambda: replayed.append(chain.replay(run, files, **options)))
    replaying.start()
    confirmed_rows(chain, run)
    process = stack.processes.find(part)
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert replaying.is_alive()
    stack.up(parts=(part,))
    replaying.join(180)
    assert [it.state for it in replayed] == ["finished"]
    assert {(c.sent, c.confirmed) for c in replayed[0].rows.values()} == {(6000, 6000)}
    verdict = chain.assert_proven(run, job, copies_may_be_late=True)
    assert verdict.rows.kafka == 12_000
