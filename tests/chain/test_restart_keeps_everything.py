"""The whole stack stopped and started again: flow, topics, queued messages, rows and jobs are still there."""

from fractions import Fraction

from tenacity import Retrying, stop_after_delay, wait_fixed

from nifi_templates.deployment import status
from stack.servers import PARTS, Stack
from streamproof.lost_jobs import resubmit_lost_jobs

START = 1_704_067_200_000


def test_a_restart_of_the_stack_in_the_middle_of_a_run_loses_nothing(chain):
    stack = Stack.from_environment()
    run = chain.new_run("restart")
    files = {"Books": chain.sample("restart", 5000)}

    job = chain.submit("30s/5s", run)
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
    # What was sent before the restart is proven by the job that ran before it, what is sent after it by a new one.
    resubmit_lost_jobs()
    assert chain.assert_proven(run, job).rows.sent == 5000
    second = chain.new_run("after")
    chain.replay(second, files, interval=Fraction(1000), start=START)
    assert chain.assert_proven(second, chain.submit("30s/5s", second)).rows.sent == 5000
