"""Confirmed rows, and a replayer that is killed with -9 in the middle of a run and goes on."""

import os
import subprocess
import sys
from fractions import Fraction

import pytest
from checkout import CHECKOUT
from waiting import until

from edge_replayer.replay import resume
from streamproof.core.errors import UsageError
from streamproof.core.run import load_run
from validation.audit import audit

START = 1_704_067_200_000


def confirmed_rows(chain, run: str) -> int:
    try:
        return sum(counts.confirmed for counts in load_run(run, chain.servers.home).rows.values())
    except UsageError:  # its manifest is not there yet
        return 0


def test_when_a_run_is_finished_as_many_rows_are_confirmed_as_were_sent(chain):
    run = chain.new_run("confirmed")
    files = {name: chain.sample(name, 3000) for name in ("Movies_and_TV", "Home_and_Kitchen")}
    replayed = chain.replay(run, files, interval=Fraction(1000), start=START)
    assert {c.confirmed for c in replayed.rows.values()} == {c.confirmed_to for c in replayed.rows.values()} == {3000}
    rows = audit(run, chain.servers.home, chain.servers.kafka).rows
    assert rows.kafka == rows.sent == 6000


def test_a_killed_replayer_goes_on_without_leaving_out_or_renumbering_a_row(chain):
    run = chain.new_run("killed")
    files = {name: chain.sample(name, 6000) for name in ("Books", "Music")}
    job = chain.submit("30s/5s", run)
    command = [sys.executable, "-m", "edge_replayer", "ratings", *(f"{c}={f}" for c, f in files.items())]
    command += ["--rate", "1500", "--start", "2024-01-01T00:00:00Z", "--run", run, "--batch-rows", "50"]
    with subprocess.Popen(command, cwd=CHECKOUT, env=os.environ) as replaying:
        until(lambda: confirmed_rows(chain, run) >= 1500, look=0.05)  # a good part of the run
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
