"""Drills in their short form: each part is killed once, at another moment in every test run."""

import secrets

import pytest
from typer.testing import CliRunner

from flink_jobs.cluster import Cluster
from streamproof.cli import app
from streamproof.drills import drill
from streamproof.drills.drill import DrillOptions
from streamproof.drills.faults import FAULTS, PARTS
from streamproof.stack.servers import Stack

pytestmark = pytest.mark.faults


def pids():
    return {status.name: status.pid for status in Stack.from_environment().status()}


@pytest.mark.timeout(1200)
def test_each_part_killed_once_in_one_run_loses_nothing_and_every_window_is_right(drilled):
    before, seed = pids(), secrets.randbelow(10**6)
    result = drilled.drill("kill-any", DrillOptions(rounds=len(PARTS), seed=seed))
    assert result.proven, f"seed {seed}: {result.reasons}"
    assert (result.rows.lost, result.windows.missing, result.windows.wrong) == (0, 0, 0)
    after = pids()
    killed = {name.split("-")[0] for name, pid in after.items() if pid != before[name]}
    assert killed == {*PARTS} - {"replayer", "alerter", "deliverer"}
    assert result.alerts.right > 0
    assert result.untold == 0
    assert result.rows.resent > 0  # the drill bites: what the killed ones had was sent again
    assert not [job for job in Cluster().list() if job.state == "RUNNING" and " drill " in job.name]


@pytest.mark.timeout(900)
@pytest.mark.long
@pytest.mark.parametrize("fault", ["kill-replayer", "kill-mosquitto"])
def test_of_three_edges_one_is_killed_or_their_broker_and_every_window_is_right(drilled, fault):
    result = drilled.drill(fault, DrillOptions(rounds=2, seed=secrets.randbelow(10**6), edges=3))
    assert result.proven, result.reasons
    assert (result.rows.lost, result.windows.missing, result.windows.wrong) == (0, 0, 0)
    assert result.windows.right > 0


@pytest.mark.timeout(900)
@pytest.mark.long
def test_without_the_confirmations_a_killed_broker_loses_rows_and_the_audit_names_them(drilled, monkeypatch):
    monkeypatch.setattr(drill, "_WAIT_FOR_WINDOWS", 10.0)  # lost rows never come
    result = drilled.drill("kill-mosquitto", DrillOptions(rounds=2, seed=1, confirm="broker"))
    assert not result.proven
    assert result.rows.lost > 0
    assert any("rows are lost between edge and NiFi: seq " in reason for reason in result.reasons)


def test_an_unknown_drill_is_refused_with_the_names_of_those_that_there_are():
    done = CliRunner().invoke(app, ["drill", "kill-zookeeper"])
    assert done.exit_code != 0
    assert all(name in str(done.exception) for name in ("kill-zookeeper", "all", *FAULTS))
