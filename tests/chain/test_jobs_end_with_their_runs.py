"""A job that follows a run ends with it, whatever is killed meanwhile, and makes room for the next one."""

import json
import subprocess
import sys
import threading
from fractions import Fraction

import pytest
from waiting import until

from flink_jobs.cluster import Cluster
from flink_jobs.records import find_record
from streamproof.chain import supervise
from streamproof.stack.servers import SUPERVISOR, Stack

START = 1_704_067_200_000
SECOND = Fraction(1000)


def state_of(job):
    return find_record(job).state


@pytest.mark.parametrize(("runs", "parallelism"), [(2, 4), pytest.param(20, 2, marks=pytest.mark.long)])  # of 8 slots
def test_runs_in_a_row_each_with_a_job_of_its_own_need_no_cancelling(chain, runs, parallelism):
    files, jobs = {"Books": chain.sample("row", 120)}, {}
    for number in range(runs):
        run = chain.new_run(f"row{number}")
        jobs[run] = chain.submit("30s/5s", run, parallelism=parallelism)  # refused where no slots are free
        chain.replay(run, files, interval=SECOND, start=START)
    for run, job in jobs.items():
        until(lambda job=job: state_of(job) == "finished")
        assert chain.assert_proven(run, job).rows.sent == 120
    states = {job.label: job.state for job in Cluster().list()}
    assert {states[job] for job in jobs.values()} == {"FINISHED"}


@pytest.mark.long
@pytest.mark.faults
@pytest.mark.parametrize("part", ["jobmanager", "taskmanager", "kafka"])
def test_a_job_whose_part_is_killed_at_the_end_of_its_run_ends_as_well_and_every_window_is_right(chain, part):
    files, run, stack = {"Books": chain.sample("killed", 3000)}, chain.new_run(part), Stack.from_environment()
    job = chain.submit("30s/5s", run)
    chain.replay(run, files, interval=SECOND, start=START)
    name = sorted(Cluster().taskmanagers(job))[0] if part == "taskmanager" else part
    stack.processes.find(name).kill()
    until(lambda: state_of(job) == "finished")
    until(lambda: all(each.healthy for each in stack.status()))
    assert chain.assert_proven(run, job, copies_may_be_late=True).rows.sent == 3000
    assert job in {each.label for each in Cluster().list() if each.state == "FINISHED"}


@pytest.mark.long
def test_a_job_that_ended_too_early_goes_on_from_its_last_savepoint_and_ends_with_its_run(chain):
    run = chain.new_run("early")
    job = chain.submit("30s/5s", run)
    # As if a restart were found when it has ended: so many attempts there never are.
    assert not Cluster().finish(find_record(job), attempts=-1)
    assert (Cluster().state(job), state_of(job)) == ("FINISHED", "running")
    chain.replay(run, {"Books": chain.sample("early", 120)}, interval=SECOND, start=START)
    until(lambda: state_of(job) == "finished")
    assert len(find_record(job).flink_ids) == 2
    assert chain.assert_proven(run, job).rows.sent == 120


@pytest.mark.long
@pytest.mark.faults
def test_without_a_supervisor_a_submission_leaves_one_that_ends_the_job(chain):
    stack = Stack.from_environment()
    stack.processes.stop(SUPERVISOR, 30)
    run = chain.new_run("alone")
    command = [sys.executable, "-m", "streamproof", "submit", "rating_averages", "--run", run, "--json"]
    job = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["job"]
    chain.jobs.append(job)
    assert stack.supervisor()
    chain.replay(run, {"Books": chain.sample("alone", 120)}, interval=SECOND, start=START)
    until(lambda: state_of(job) == "finished")
    chain.assert_proven(run, job)


def test_a_supervisor_without_servers_of_its_own_ends_with_the_last_job_that_follows_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMPROOF_HOME", str(tmp_path))
    monkeypatch.setattr(supervise, "_LOOK", 0.01)
    looks, stop = iter([["job"], ["job"], []]), threading.Event()
    monkeypatch.setattr(supervise, "followers", lambda: next(looks))
    alerter, sinks = supervise.AlerterProcess(), supervise.SinkProcesses()
    supervise.look_after_jobs(Stack.from_environment(), alerter, sinks, stop)
    assert stop.is_set()
    assert not list(looks)
