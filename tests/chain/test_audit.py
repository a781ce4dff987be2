"""The audit of real runs: what NiFi received, what Kafka has, what Flink read."""

import json
import os
import signal
import threading
from fractions import Fraction

import pytest
from typer.testing import CliRunner
from waiting import PATIENCE, eventually

from nifi_templates.deployment import received_rows
from streamproof.chain.ask_stages import STAGES, received_by_nifi
from streamproof.cli import app
from streamproof.core.errors import UsageError
from streamproof.core.run import load_run
from streamproof.stack.servers import Stack
from validation.audit import Audit, audit

START = 1_704_067_200_000


def audit_of(chain, run: str, job: str | None = None) -> Audit:
    return audit(run, chain.servers.home, chain.servers.kafka, job=job, stages=STAGES)


def test_each_stage_has_every_row_that_was_sent(chain):
    run = chain.new_run("audit")
    files = {"Books": chain.sample("Books", 3000), "Music": chain.sample("Music", 1000)}
    job = chain.submit("30s/5s", run)
    chain.replay(run, files, interval=Fraction(1000), start=START)

    def all_read():
        found = audit_of(chain, run)
        assert found.rows.read == found.rows.sent
        return found

    found = eventually(all_read)
    assert found.job == job
    for category, sent in (("Books", 3000), ("Music", 1000)):
        rows = found.categories[category]
        assert (rows.sent, rows.kafka, rows.read, rows.lost, rows.missing) == (sent, sent, sent, 0, [])
        assert rows.received == sent + rows.doubled == sent + rows.resent
    with pytest.raises(UsageError, match="of a job 'wrong' nothing is remembered here"):
        audit_of(chain, run, job="wrong")
    verdict = chain.assert_proven(run, job)
    assert (verdict.rows.received, verdict.rows.read) == (found.rows.received, 4000)


@pytest.mark.long
@pytest.mark.faults
def test_the_ledger_of_what_nifi_received_survives_a_killed_nifi(chain):
    stack = Stack.from_environment()
    run = chain.new_run("ledger")
    files = {"Books": chain.sample("Books", 6000)}
    replaying = threading.Thread(
        target=chain.replay,
        args=(run, files),
        kwargs={"interval": Fraction(1), "start": START, "clock": "wall", "batch_rows": 20},
    )
    replaying.start()

    def received_some() -> int:
        count, _ = ((received_rows("ratings") or {}).get(run) or {}).get("Books", (0, []))
        assert count > 1000
        return count

    before = eventually(received_some)
    process = stack.processes.find("nifi")
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert replaying.is_alive()
    assert audit_of(chain, run).rows.received is None
    stack.up(parts=("nifi",))
    assert eventually(received_some) >= before
    replaying.join(PATIENCE)
    found = audit_of(chain, run)
    assert found.state == "finished"
    assert received_by_nifi(load_run(run, chain.servers.home))["Books"][1] == [[1, 6000]]
    assert found.rows.kafka == found.rows.sent == 6000
    assert found.rows.received >= 6000


@pytest.mark.long
@pytest.mark.faults
def test_while_a_run_goes_on_what_is_unconfirmed_is_under_way_and_nothing_is_lost(chain):
    stack = Stack.from_environment()
    run = chain.new_run("going-on")
    stack.down(parts=("nifi",))
    replaying = threading.Thread(
        target=chain.replay, args=(run, {"Books": chain.sample("Books", 500)}), kwargs={"interval": Fraction(1000)}
    )
    try:
        replaying.start()

        def all_sent():
            assert load_run(run, chain.servers.home).rows["Books"].sent == 500

        eventually(all_sent)
        done = CliRunner().invoke(app, ["audit", run, "--json"])
        assert done.exit_code == 0, done.stderr
        rows = json.loads(done.stdout)["rows"]
        assert (rows["sent"], rows["under_way"], rows["lost"], rows["received"]) == (500, 500, 0, None)
    finally:
        stack.up(parts=("nifi",))
        replaying.join(PATIENCE)
    assert (audit_of(chain, run).rows.under_way, audit_of(chain, run).rows.kafka) == (0, 500)
