"""Alerts through the whole chain: written once whatever is killed, proven, and named where they are not right."""

import json
import random
import threading
from contextlib import suppress

import psutil
import pytest
from committed_results import results_of
from confluent_kafka import Producer
from typer.testing import CliRunner
from waiting import PATIENCE, until

from flink_jobs.cluster import Cluster
from flink_jobs.submission import JobOptions, submit
from streamproof.chain.ask_stages import STAGES
from streamproof.cli import app
from streamproof.core.alert_rule import alerts_topic
from streamproof.core.contract import load_contract
from streamproof.core.duration import parse_duration
from streamproof.core.question import parse_question
from streamproof.stack.servers import Stack
from validation.answers import Wanted
from validation.verdict import validate

RATINGS = load_contract("ratings")
SURGES = parse_question(
    "surges",
    """-- Which products are rated all at once?
-- stream = "ratings"
-- window = "sliding 30s / 10s"
-- key = ["category", "product_id"]
-- [alert]
-- when = "times >= 12"
-- clear = "times < 8"
-- for = 2
-- clear_for = 2
-- repeat = "40s"

SELECT window_start, window_end, category, product_id, COUNT(*) AS times, AVG(CAST(rating AS DOUBLE)) AS mean
FROM windowed GROUP BY window_start, window_end, category, product_id HAVING COUNT(*) > 2
""",
    "test",
)
SILENCE = parse_question(
    "silence",
    """-- Which category has fallen silent?
-- stream = "ratings"
-- window = "tumbling 20s"
-- key = ["category"]
-- [alert]
-- when = "times < 1"
-- for = 3
-- absent = "breach"

SELECT window_start, window_end, category, COUNT(*) AS times FROM windowed GROUP BY window_start, window_end, category
""",
    "test",
)


def rated(chain, name, rows):
    """Products of which one is rated all at once from row 150 to 260, and again from 400 to 430."""
    chance = random.Random(name)
    products = ["surge" if 150 <= n < 260 or 400 <= n < 430 else f"p{chance.randrange(8)}" for n in range(rows)]
    return chain.file(name, [(product, chance.randrange(1, 6), n) for n, product in enumerate(products)])


def alerter():
    """The process that computes alerts: started by the supervisor, and by nobody else."""
    supervisor = psutil.Process(Stack.from_environment().supervisor())
    for each in supervisor.children():
        with suppress(psutil.Error):  # it has just ended
            if "streamproof.alerts" in each.cmdline():
                return each
    return None


def run_with_alerts(chain, meanwhile=lambda _job: None, **options):
    run = chain.new_run("alerts")
    job = submit([SURGES, SILENCE], JobOptions(run=run, contract=RATINGS)).job
    chain.jobs.append(job)
    files = {"Books": rated(chain, "Books", 700), "Music": rated(chain, "Music", 220)}
    options = {"interval": parse_duration("1s"), "start": 1_704_067_200_000} | options
    replaying = threading.Thread(target=chain.replay, args=(run, files), kwargs=options)
    replaying.start()
    meanwhile(job)
    replaying.join()
    return run, job


def test_alerts_are_proven_and_each_that_is_changed_is_named(chain):
    run, job = run_with_alerts(chain)
    verdict = chain.assert_proven(run, job)
    surges, silence = (verdict.questions[name].alerts for name in ("surges", "silence"))
    assert (surges.behind, silence.behind) == (0, 0)
    events = results_of(chain, alerts_topic(RATINGS), job)
    told = [(e["alert_state"], e.get("product_id") or e["category"]) for e in events]
    assert {state for state, what in told if what == "surge"} == {"pending", "firing", "repeated", "resolved"}
    # Nothing came of Music any more, which is known as soon as the low watermark has passed.
    assert [state for state, what in told if what == "Music"] == ["pending", "firing"]
    assert surges.right == sum(what == "surge" for _, what in told) > 6

    results = {q.name: results_of(chain, q.topic(RATINGS), job) for q in (SURGES, SILENCE)}
    firing = next(e for e in events if e["alert_state"] == "firing" and e["question"] == SURGES.label)
    topic, partition, offset = firing["alert_from"][-2].split("/")
    (source,) = [r for r in results["surges"] if r["window_end"] == firing["window_end"] and r["product_id"] == "surge"
                 and r["category"] == firing["category"]]  # fmt: skip
    assert topic == SURGES.topic(RATINGS)
    assert int(partition) >= 0
    assert int(offset) >= 0
    assert {name: firing[name] for name in source} == source

    listed = CliRunner().invoke(app, ["alerts", run, "--json"])
    alerts = json.loads(listed.stdout)["alerts"]
    assert {a["id"] for a in alerts} == {e["alert_id"] for e in events}
    assert [a["fired"] is not None for a in alerts] == [True] * len(alerts)
    firing_still = CliRunner().invoke(app, ["alerts", run, "--firing", "--question", "silence"])
    assert firing_still.stdout.count(" firing ") == firing_still.stdout.count("Music") == 1

    of_surges = [e for e in events if e["question"] == SURGES.label]
    changed, lost, *others = of_surges
    invented = others[0] | {"product_id": "nobody"}
    producer = Producer({"bootstrap.servers": chain.servers.kafka.servers})
    for event in [changed | {"alert_begin": "2024-01-01T00:00:00Z"}, *others, others[1], invented]:
        producer.produce(alerts_topic(RATINGS), json.dumps(event | {"job": "tampered"}))
    for result in results["surges"]:
        producer.produce(SURGES.topic(RATINGS), json.dumps(result | {"job": "tampered"}))
    producer.flush(PATIENCE)
    home, kafka = chain.servers.home, chain.servers.kafka
    found = validate(run, home, kafka, wanted=Wanted(job="tampered"), wait=0, stages=STAGES)
    answers = found.questions["surges"]
    assert (answers.wrong, answers.missing, answers.extra) == (0, 0, 0)
    assert (answers.alerts.wrong, answers.alerts.missing, answers.alerts.extra) == (1, 1, 2)
    by_verdict = {each.verdict: each for each in answers.alerts.not_right}
    assert set(by_verdict) == {"wrong", "missing", "extra", "doubled"}
    assert by_verdict["missing"].key["alert_state"] == lost["alert_state"]
    assert by_verdict["extra"].key["product_id"] == "nobody"
    assert not found.proven
    assert "surges: 1 alerts are missing" in found.reasons
    assert any(reason.startswith("surges: nobody has computed its alerts") for reason in found.reasons)


@pytest.mark.long
@pytest.mark.faults
def test_alerts_are_written_once_though_alerter_and_taskmanager_are_killed(chain):
    killed = []

    def kill(job):
        until(lambda: Cluster().last_checkpoint(job))
        for _ in range(4):
            victim = until(alerter)
            killed.append(victim.pid)
            victim.kill()
            until(lambda before=victim: (found := alerter()) and found.pid != before.pid)
        for manager in sorted(Cluster().taskmanagers(job))[:1]:
            with suppress(psutil.NoSuchProcess):
                Stack.from_environment().processes.find(manager).kill()

    run, job = run_with_alerts(chain, kill, batch_rows=5, in_flight=50)
    verdict = chain.assert_proven(run, job, copies_may_be_late=True)
    assert len(set(killed)) == 4
    assert verdict.questions["surges"].alerts.right > 6
