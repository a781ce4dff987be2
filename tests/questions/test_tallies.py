"""How many results each window has, which a job writes beside those of a question with an alert or a model."""

import json
from collections import Counter

import pytest
from played_messages import played
from shop_questions import MINUTE, QUESTIONS, SHOP, question, rows_of_a_shop

from flink_jobs.client import Session
from flink_jobs.local import _LOCAL, _lines, plan_question
from flink_jobs.planner import check_question, plan_job
from streamproof.core.errors import UsageError

MODEL = "[models.odd]\nkind = 'seasonal-z-score'\nvalue = '{}'\n"
EACH_ROW = question(
    "each_row",
    MINUTE,
    ["event_time", "category", "seq"],
    "SELECT window_start, window_end, event_time, category, seq, price FROM windowed",
    more=MODEL.format("price"),
)
WITH_ALERTS = [*(q for q in QUESTIONS if q.header.alert), EACH_ROW]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tallies")
    (folder / "messages").mkdir()
    messages = played(rows_of_a_shop(), "r")
    (folder / "messages" / "m.json").write_text("".join(json.dumps(m, default=str) + "\n" for m in messages))

    def place(kind, **more):
        return lambda asked: {"connector": "filesystem", "path": (folder / kind / asked.name).as_uri()} | more

    session = Session(_LOCAL)
    plan_job(
        session,
        WITH_ALERTS,
        SHOP,
        label="job",
        run="r",
        source={"connector": "filesystem", "path": (folder / "messages").as_uri(), "format": "json"},
        sink=place("results"),
        tally=place("tallies", **{"sink.parallelism": "1"}),
    )
    session.run()
    return lambda kind, asked: [json.loads(line) for line in _lines(folder / kind / asked.name)]


@pytest.mark.parametrize("asked", WITH_ALERTS, ids=lambda q: q.name)
def test_each_window_with_rows_has_one_tally_in_order_of_how_many_results_it_has(written, asked):
    tallies = written("tallies", asked)
    ends = [each["window_end"] for each in tallies]
    assert ends == sorted(set(ends))
    results = Counter(each["window_end"] for each in written("results", asked))
    assert {each["window_end"]: each["answers"] for each in tallies if each["answers"]} == results
    assert len(tallies) >= len(results) > 5
    assert {(each["job"], each["run"], each["question"]) for each in tallies} == {("job", "r", asked.label)}


def test_a_window_whose_rows_make_no_result_has_a_tally_of_none(written):
    (bots,) = (each for each in WITH_ALERTS if each.name == "bots")
    assert 0 in [each["answers"] for each in written("tallies", bots)]


def test_names_of_the_alerts_own_columns_and_a_repeat_within_a_window_are_refused():
    body = "SELECT window_start, window_end, COUNT(*) AS {} FROM windowed GROUP BY window_start, window_end"
    with pytest.raises(UsageError, match="alert_id: names that begin with alert"):
        plan_question(question("taken", MINUTE, [], body.format("alert_id"), alert="alert_id > 1"), SHOP)
    rule = "[alert]\nwhen = 'n > 1'\nrepeat = '10s'\n"
    with pytest.raises(UsageError, match="shorter than from one window to the next, 1min"):
        plan_question(question("often", MINUTE, [], body.format("n"), more=rule), SHOP)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("m", "q: models.odd: m is DOUBLE: take a whole number or a decimal"),
        ("sum", "q: models.odd: the answer has no column sum: it has window_start, window_end, n, m"),
    ],
)
def test_a_model_of_what_the_answer_does_not_have_or_of_a_double_is_refused(value, reason):
    body = "SELECT window_start, window_end, COUNT(*) AS n, AVG(CAST(price AS DOUBLE)) AS m FROM windowed "
    asked = question("q", MINUTE, [], body + "GROUP BY window_start, window_end", more=MODEL.format(value))
    with pytest.raises(UsageError, match=reason):
        check_question(asked, SHOP)


def test_a_model_s_alert_is_read_when_the_question_is_checked():
    body = "SELECT window_start, window_end, COUNT(*) AS n FROM windowed GROUP BY window_start, window_end"
    asked = question("q", MINUTE, [], body, more=MODEL.format("n") + "alert = 'scores > 3'\n")
    with pytest.raises(UsageError, match="there is no column scores"):
        check_question(asked, SHOP)


def test_a_job_that_follows_no_run_is_told_that_it_has_no_alerts():
    body = "SELECT run, window_start, window_end, COUNT(*) AS n FROM windowed GROUP BY run, window_start, window_end"
    planned = plan_question(question("live", MINUTE, [], body, alert="n > 1"), SHOP, run=None)
    assert planned.notes == ["its alerts are not computed, as the job follows no run (--run)"]
