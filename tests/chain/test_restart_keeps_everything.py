"""The whole stack stopped and started again: flow, topics, queued messages and rows are still there."""

from fractions import Fraction

from tenacity import Retrying, stop_after_delay, wait_fixed

from nifi_templates.deployment import status
from stack.servers import PARTS, Stack

START = 1_704_067_200_000


def test_a_restart_of_the_stack_in_the_middle_of_a_run_loses_nothing(chain):
    stack = Stack.from_environment()
    run = chain.new_run("restart")
    files = {"Books": chain.sample("restart", 5000)}

    # NiFi is down while the rows are sent: they wait in the broker, over the broker's own restart as well.
    stack.down(parts=("nifi",))
    chain.replay(run, files, interval=Fraction(1000), start=START)
    stack.down()
    assert all(part.pid is None for part in stack.status())
    stack.up()
    assert {part.name for part in stack.status() if part.healthy} == set(PARTS)

    # NiFi answers before its Python processors are loaded; the flow then goes on by itself.
    for attempt in Retrying(stop=stop_after_delay(60), wait=wait_fixed(0.5), reraise=True):
        with attempt:
            assert status("ratings").running
    # What was sent before the restart and what is sent after it are both proven, by jobs submitted afterwards.
    second = chain.new_run("after")
    chain.replay(second, files, interval=Fraction(1000), start=START)
    for each in (run, second):
        assert chain.assert_proven(each, chain.submit("30s/5s", each)).rows.sent == 5000
