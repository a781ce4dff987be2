"""A submission that is interrupted leaves nothing behind: no JVM, no job, no record, no traceback, no file."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from checkout import CHECKOUT
from waiting import PATIENCE, until

from flink_jobs.cluster import ENDED, Cluster
from flink_jobs.records import load_records
from streamproof.stack.flink import TASKMANAGERS
from streamproof.stack.servers import Stack

pytestmark = pytest.mark.faults  # they count the cluster's jobs, and freeze its TaskManagers


@pytest.fixture
def submission(servers, tmp_path):
    """``submit`` in a process of its own."""
    assert Cluster(servers.flink).wait_for_slots(2, 30), "other jobs hold the slots"
    command = [sys.executable, "-m", "flink_jobs", "submit", "rating_averages", "--run", "interrupted"]
    with subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def idle_taskmanagers():
    """TaskManagers that answer nobody, so that no task comes to run, until the test sends them on."""
    processes = [Stack.from_environment().processes.find(name) for name in TASKMANAGERS]
    for process in processes:
        process.suspend()
    yield processes
    for process in processes:
        process.resume()


def assert_nothing_is_left(submission, children, signal_number, records):
    output, messages = submission.communicate(timeout=PATIENCE)
    assert submission.returncode == 128 + signal_number, messages
    assert children
    assert not psutil.wait_procs(children, 0)[1]
    assert not output
    assert "Traceback" not in messages
    assert "py4j" not in messages
    assert load_records() == records


def test_a_client_that_is_ended_while_it_starts_leaves_nothing(servers, submission):
    cluster, records = Cluster(servers.flink), load_records()
    jobs = cluster.states()
    children = until(psutil.Process(submission.pid).children, look=0.05)
    submission.send_signal(signal.SIGTERM)
    assert_nothing_is_left(submission, children, signal.SIGTERM, records)
    assert cluster.states() == jobs


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_whose_wait_is_interrupted_is_cancelled(servers, idle_taskmanagers, submission, number):
    cluster, records = Cluster(servers.flink), load_records()
    before = cluster.states()
    job = until(lambda: cluster.states().keys() - before.keys(), look=0.05).pop()
    children = psutil.Process(submission.pid).children()
    submission.send_signal(number)
    for process in idle_taskmanagers:
        process.resume()
    assert_nothing_is_left(submission, children, number, records)
    assert cluster.states()[job] in ENDED
