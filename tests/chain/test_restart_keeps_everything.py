"""The whole stack stopped and started again: flow, topics, queued messages and rows are still there."""

import threading
from fractions import Fraction

from nifi_templates.deployment import status
from stack.servers import PARTS, Stack
from streams.errors import UsageError
from streams.run import load_run

START = 1_704_067_200_000


def all_sent(chain, run: str, rows: int) -> bool:
    try:
        return all(counts.sent == rows for counts in load_run(run, chain.servers.home).rows.values())
    except UsageError:  # its manifest is not there yet
        return False


def test_a_restart_of_the_stack_in_the_middle_of_a_run_loses_nothing(chain):
    stack = Stack.from_environment()
    run = chain.new_run("restart")
    files = {"Books": chain.sample("restart", 5000)}

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
    stack.up()
    replaying.join(120)
    assert not replaying.is_alive()
    assert {part.name for part in stack.status() if part.healthy} == set(PARTS)

    flow = status("ratings")
    assert flow.deployed
    assert flow.running
    # What was sent before the restart and what is sent after it are both proven, by jobs submitted afterwards.
    second = chain.new_run("after")
    chain.replay(second, files, interval=Fraction(1000), start=START)
    for each in (run, second):
        assert chain.assert_proven(each, chain.submit("30s/5s", each)).rows.sent == 5000
