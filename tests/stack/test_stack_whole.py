"""The whole stack, as it runs for all tests."""

import httpx
import psutil
import pytest

from streamproof.stack.servers import Stack


def processes_of(name):
    """A part's process and those that it started."""
    process = Stack.from_environment().processes.find(name)
    assert process, f"{name} does not run"
    return [process, *process.children(recursive=True)]


@pytest.mark.usefixtures("servers")
def test_every_part_is_healthy_and_a_second_up_changes_nothing():
    stack = Stack.from_environment()
    before = stack.status()
    assert [status.name for status in before] == list(stack.parts)
    assert all(status.healthy for status in before)
    stack.up()
    assert [status.pid for status in stack.status()] == [status.pid for status in before]


@pytest.mark.usefixtures("servers")
def test_it_runs_in_four_gigabytes():
    everything = [process for name in Stack.from_environment().parts for process in processes_of(name)]
    assert sum(process.memory_info().rss for process in everything) < 4 * 1024**3


def test_nifi_has_the_standard_processors(servers):
    answer = httpx.get(f"{servers.nifi.api_endpoint}/flow/processor-types", timeout=30).raise_for_status()
    types = {each["type"].rpartition(".")[2] for each in answer.json()["processorTypes"]}
    assert {"ValidateRecord", "RouteOnAttribute", "MergeRecord"} <= types


def test_flink_has_both_taskmanagers_with_their_slots(servers):
    overview = httpx.get(f"http://{servers.flink.jobmanager}/overview", timeout=30).raise_for_status().json()
    assert overview["taskmanagers"] == 2
    assert overview["slots-total"] == 2 * Stack.from_environment().settings.flink_slots


@pytest.mark.usefixtures("servers")
def test_everything_listens_on_loopback_only():
    for name in Stack.from_environment().parts:
        for process in processes_of(name):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1"), (name, connection)
