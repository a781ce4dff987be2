"""A stream that the project knows nothing of: a contract and three questions, files alone, are proven."""

import json
import random
import threading
from decimal import Decimal
from uuid import uuid4

import pytest
from committed_results import results_of
from confluent_kafka import Producer
from waiting import PATIENCE, until

from flink_jobs.cluster import Cluster
from flink_jobs.records import find_record
from flink_jobs.submission import JobOptions, submit
from nifi_templates.deployment import deploy, remove
from streamproof.chain.ask_stages import STAGES
from streamproof.core.contract import load_contract
from streamproof.core.duration import parse_duration
from streamproof.core.question import load_question, parse_question
from streamproof.stack.servers import Stack
from validation.answers import Wanted
from validation.comparison import plain
from validation.verdict import validate

CONTRACT = """
name = "NAME"
partition_by = "visitor"
event_time = "happened"

[fields.visitor]
type = "text"
[fields.what]
type = "text"
[fields.article]
type = "text"
[fields.price]
type = "decimal"
scale = 2
[fields.happened]
type = "time"
unit = "s"
"""
QUESTIONS = {
    "bought": """-- What does each visitor buy of each article?
-- stream = "NAME"
-- window = "sliding 60s / 20s"
-- key = ["visitor", "article"]

SELECT window_start, window_end, visitor, article, COUNT(*) AS times, SUM(price) AS spent,
       AVG(CAST(price AS DOUBLE)) AS mean
FROM windowed
WHERE what = 'purchase'
GROUP BY window_start, window_end, visitor, article
""",
    "top_articles": """-- Which three articles are looked at most?
-- stream = "NAME"
-- window = "tumbling 60s"
-- key = ["place"]

SELECT window_start, window_end, place, article, seen
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY seen DESC, article) AS place
    FROM (
        SELECT window_start, window_end, article, COUNT(*) AS seen
        FROM windowed
        WHERE what = 'view'
        GROUP BY window_start, window_end, article
    ) AS counted
) AS ranked
WHERE place <= 3
""",
    "too_busy": """-- Who does more than a person can?
-- stream = "NAME"
-- window = "cumulative 5min / 1min"
-- key = ["visitor"]
-- alert = "actions >= 40 AND purchases = 0"

SELECT window_start, window_end, visitor, COUNT(*) AS actions,
       COUNT(*) FILTER (WHERE what = 'purchase') AS purchases
FROM windowed
GROUP BY window_start, window_end, visitor
HAVING COUNT(*) > 15
""",
}
BROKEN = """-- How many actions are left over?
-- stream = "NAME"
-- window = "tumbling 60s"
-- key = []

SELECT window_start, window_end, MOD(COUNT(*), COUNT(*) FILTER (WHERE what = 'never')) AS rest
FROM windowed
GROUP BY window_start, window_end
"""
ROWS = 6000


@pytest.fixture(scope="module")
def asked(deployed_servers, tmp_path_factory):  # noqa: ARG001 - the servers must be there
    """The contract's and the questions' files, as a user would write them; the flow is deployed."""
    folder, name = tmp_path_factory.mktemp("shop"), f"shop_{uuid4().hex[:8]}"
    for file, text in {"shop.toml": CONTRACT, **{f"{q}.sql": text for q, text in QUESTIONS.items()}}.items():
        (folder / file).write_text(text.replace("NAME", name))
    contract = load_contract(str(folder / "shop.toml"))
    deploy(contract)
    yield contract, [load_question(str(folder / f"{name}.sql")) for name in QUESTIONS]
    remove(contract.name, force=True)


def clicks(file):
    chance, lines = random.Random(7), ["visitor,what,article,price,happened"]
    for n in range(ROWS):
        visitor = "robot" if chance.random() < 0.15 else f"v{chance.randrange(40):03}"
        what = "view" if visitor == "robot" else chance.choice(["view", "view", "cart", "purchase"])
        lines.append(
            f"{visitor},{what},00{chance.randrange(30)},{chance.randrange(1, 9999) / 100:.2f},{1_700_000_000 + n // 10}"
        )
    file.write_text("\n".join(lines))
    return file


def submit_and_replay(chain, asked, run, **options):
    contract, questions = asked
    job = submit(questions, JobOptions(run=run, contract=contract)).job
    chain.jobs.append(job)
    chain.replay(run, {"Shop": clicks(chain.folder / "shop.csv")}, contract, **options)
    return job


def test_three_questions_are_proven_and_each_answer_that_is_changed_is_named(chain, asked):
    contract, questions = asked
    run = chain.new_run("shop")
    job = submit_and_replay(chain, asked, run, interval=parse_duration("100ms"), start=1_704_067_200_000)
    verdict = chain.assert_proven(run, job)
    assert {name: answers.right > 0 for name, answers in verdict.questions.items()} == dict.fromkeys(QUESTIONS, True)
    alerts = verdict.questions["too_busy"].alerts
    assert 0 < alerts.breaches < verdict.questions["too_busy"].right
    assert alerts.right > 0

    producer = Producer({"bootstrap.servers": chain.servers.kafka.servers})
    changes = {"bought": ("spent", 0.01), "top_articles": ("article", "x"), "too_busy": ("alert", "?")}
    expected = {}
    for question in questions:
        topic, (column, value) = question.topic(contract), changes[question.name]
        results = results_of(chain, topic, job)
        assert len(results) == verdict.questions[question.name].right
        true = results[0][column]
        results[0][column] = (not true) if column == "alert" else value
        missing = results.pop(3)
        results += [results[5], results[6] | {question.key[0]: 99 if question.key[0] == "place" else "nobody"}]
        for result in results:
            producer.produce(topic, json.dumps(result | {"job": "tampered"}))
        is_decimal = isinstance(true, float)  # as JSON has it; the verdict writes it out
        expected[question.name] = (column, plain(Decimal(str(true))) if is_decimal else true, missing)
    producer.flush(PATIENCE)

    found = validate(run, chain.servers.home, chain.servers.kafka, wanted=Wanted(job="tampered"), wait=0, stages=STAGES)
    assert not found.proven
    for question in questions:
        answers, (column, true, missing) = found.questions[question.name], expected[question.name]
        assert (answers.wrong, answers.missing, answers.extra) == (1, 1, 2), question.name
        by_verdict = {each.verdict: each for each in answers.not_right}
        assert set(by_verdict) == {"wrong", "missing", "extra", "doubled"}
        assert by_verdict["wrong"].expected[column] == true
        assert by_verdict["missing"].key == {name: missing[name] for name in question.key}
        assert by_verdict["missing"].rows
        assert f"{question.name}: 1 windows are wrong" in found.reasons


@pytest.mark.long
@pytest.mark.faults
def test_three_questions_of_one_job_are_proven_though_a_taskmanager_is_killed(chain, asked):
    contract, questions = asked
    run = chain.new_run("killed")
    job = submit(questions, JobOptions(run=run, contract=contract)).job
    chain.jobs.append(job)
    options = {"interval": parse_duration("100ms"), "start": 1_704_067_200_000, "batch_rows": 5, "in_flight": 50}
    replaying = threading.Thread(
        target=chain.replay, args=(run, {"Shop": clicks(chain.folder / "shop.csv")}, contract), kwargs=options
    )
    replaying.start()
    until(lambda: Cluster().last_checkpoint(job))
    victim = Stack.from_environment().processes.find(sorted(Cluster().taskmanagers(job))[0])
    victim.kill()
    replaying.join()
    chain.assert_proven(run, job, copies_may_be_late=True)


def test_a_question_that_fails_on_its_rows_is_given_up_with_the_reason(chain, asked):
    contract, _ = asked
    run, broken = chain.new_run("broken"), parse_question("broken", BROKEN.replace("NAME", contract.name), "the test")
    job = submit([broken], JobOptions(run=run, contract=contract)).job
    chain.jobs.append(job)
    chain.replay(run, {"Shop": clicks(chain.folder / "shop.csv")}, contract, interval=parse_duration("100ms"), start=0)
    until(lambda: find_record(job).state == "failed")
    (listed,) = [each for each in Cluster().list() if each.label == job]
    assert "/ by zero" in listed.reason
    verdict = validate(run, chain.servers.home, chain.servers.kafka, wanted=Wanted(job=job), stages=STAGES)
    assert not verdict.proven
    assert any("has failed" in reason and "/ by zero" in reason for reason in verdict.reasons)
    assert any("the batch fails on the rows" in reason for reason in verdict.reasons)
