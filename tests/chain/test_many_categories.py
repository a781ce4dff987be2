"""A run of many categories, and two runs that bear one id."""

import pytest

from edge_replayer.options import ReplayOptions
from edge_replayer.replay import replay
from streamproof.chain.ask_stages import STAGES
from streamproof.core.contract import load_contract
from streamproof.core.duration import parse_duration
from streamproof.core.errors import UsageError
from streamproof.core.settings import HomeSettings, KafkaSettings
from validation.audit import audit
from validation.verdict import validate

START = 1_704_067_200_000


def prove(chain, count, rows):
    files = {f"device {n}": chain.file(str(n), [(f"P{n % 50}", n % 5 + 1, n)] * rows) for n in range(count)}
    run = chain.new_run("many")
    job = chain.submit("30s/5s", run)
    chain.replay(run, files, interval=parse_duration("1s"), start=START)
    verdict = chain.assert_proven(run, job)
    assert len(verdict.categories) == count
    assert verdict.rows.sent == verdict.rows.kafka == count * rows
    assert (verdict.rows.resent, verdict.rows.doubled) == (0, 0)


@pytest.mark.long
def test_six_hundred_categories_are_proven_in_one_run(chain):
    prove(chain, 600, 3)


@pytest.mark.long
def test_five_thousand_categories_are_proven_in_one_run(chain):
    prove(chain, 5000, 20)


@pytest.mark.long
def test_a_second_run_of_one_id_is_refused_and_what_it_sends_all_the_same_is_named(chain, tmp_path):
    run, elsewhere = chain.new_run("twice"), HomeSettings(home=tmp_path / "elsewhere")
    job = chain.submit("30s/5s", run)
    rows = [(f"P{n % 3}", n % 5 + 1, n) for n in range(100)]
    chain.replay(run, {"X": chain.file("one", rows)}, interval=parse_duration("1s"), start=START)
    chain.assert_proven(run, job)
    rows[7] = ("another product", 1, 7)
    again = ReplayOptions(
        contract=load_contract("ratings"),
        files={"X": chain.file("two", rows)},
        interval=parse_duration("1s"),
        start=START,
        clock="virtual",
        run=run,
    )
    with pytest.raises(UsageError, match=f"knows a run '{run}' already"):
        replay(again, elsewhere)
    assert not elsewhere.runs.exists()
    assert replay(again, elsewhere, kafka=KafkaSettings(servers="127.0.0.1:1")).state == "finished"
    found = audit(run, chain.servers.home, chain.servers.kafka, stages=STAGES)
    assert (found.categories["X"].differing, found.rows.doubled, found.rows.lost) == (1, 100, 0)
    verdict = validate(run, chain.servers.home, chain.servers.kafka)
    assert not verdict.proven
    assert [r for r in verdict.reasons if "two runs bear the id" in r] == [
        f"X: 1 rows are in Kafka with different contents: two runs bear the id {run}. Replay the file under another id"
    ]
