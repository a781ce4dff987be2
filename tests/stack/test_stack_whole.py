"""The whole stack, as it runs for all tests."""

import httpx
import psutil
import pytest

from stack.servers import PARTS, Stack


@pytest.mark.usefixtures("servers")
def test_every_part_is_healthy_and_a_second_up_changes_nothing():
    stack = Stack.from_environment()
    before = stack.status()
    assert [status.name for status in before] == list(PARTS)
    assert all(status.healthy for status in before)
    stack.up()
    assert [status.pid for status in stack.status()] == [status.pid for status in before]


@pytest.mark.usefixtures("servers")
def test_it_runs_in_four_gigabytes():
    processes = [psutil.Process(status.pid) for status in Stack.from_environment().status()]
    everything = [*processes, *(child for process in processes for child in process.children(recursive=True))]
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
    for status in Stack.from_environment().status():
        process = psutil.Process(status.pid)
        for each in (process, *process.children(recursive=True)):
            for connection in each.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1"), (status.name, connection)
