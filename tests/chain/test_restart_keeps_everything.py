"""The whole stack stopped and started again: flow, topics, queued messages, rows and jobs are still there."""

import threading
from fractions import Fraction

import pytest
from waiting import PATIENCE, eventually

from nifi_templates.deployment import status
from streamproof.chain.start_servers import extensions_folder, start_servers
from streamproof.core.errors import UsageError
from streamproof.core.run import load_run
from streamproof.stack.servers import Stack

START = 1_704_067_200_000


def all_sent(chain, run: str, rows: int) -> bool:
    try:
        return all(counts.sent == rows for counts in load_run(run, chain.servers.home).rows.values())
    except UsageError:  # its manifest is not there yet
        return False


@pytest.mark.long
@pytest.mark.faults
def test_a_restart_of_the_stack_in_the_middle_of_a_run_loses_nothing(chain):
    stack = Stack.from_environment()
    run = chain.new_run("restart")
    files = {"Books": chain.sample("restart", 5000)}

    job = chain.submit("30s/5s", run)
    # NiFi is down while the rows are sent: they wait in the broker, over the broker's own restart as well, and the
    # replayer waits for Kafka to have them.
    stack.down(parts=("nifi",))
    replaying = threading.Thread(
        target=chain.replay, args=(run, files), kwargs={"interval": Fraction(1000), "start": START}
    )
    replaying.start()
    while replaying.is_alive() and not all_sent(chain, run, 5000):
        replaying.join(0.05)
    stack.down()
    assert replaying.is_alive()
    assert all(part.pid is None for part in stack.status())
    start_servers(stack, extensions_folder())
    replaying.join(PATIENCE)
    assert not replaying.is_alive()
    assert {part.name for part in stack.status() if part.healthy} == set(stack.parts)

    # NiFi answers before its Python processors are loaded; the flow then goes on by itself.
    def flow_runs():
        assert status("ratings").running

    eventually(flow_runs)
    # What was sent before the restart is proven by the job that ran before it, what is sent after it by a new one.
    assert chain.assert_proven(run, job, copies_may_be_late=True).rows.sent == 5000
    second = chain.new_run("after")
    chain.replay(second, files, interval=Fraction(1000), start=START)
    assert chain.assert_proven(second, chain.submit("30s/5s", second)).rows.sent == 5000
