"""How an alert's rule is written, and what is refused."""

import re

import pytest
from checkout import CHECKOUT

from flink_jobs.planner import check_question
from streamproof.core.alert_rule import EVENT_COLUMNS, AlertRule
from streamproof.core.contract import load_contract
from streamproof.core.errors import UsageError
from streamproof.core.question import parse_question

PAGE = (CHECKOUT / "docs" / "alerts.md").read_text(encoding="utf-8")
BODY = "SELECT window_start, window_end, COUNT(*) AS n FROM windowed GROUP BY window_start, window_end"


def asked(header, name="busy"):
    lines = ["Is it busy?", "stream = 'ratings'", "window = 'tumbling 10s'", "key = []", *header.splitlines()]
    return parse_question(name, "".join(f"-- {line}\n" for line in lines) + BODY, "the test")


def test_a_condition_alone_is_the_short_form_of_a_rule():
    assert asked("alert = 'n > 2'").header.alert == asked("[alert]\nwhen = 'n > 2'").header.alert
    assert asked("alert = 'n > 2'").header.alert == AlertRule(when="n > 2", for_windows=1, clear_for=1, absent="clear")


def test_both_engines_are_asked_whether_an_answer_breaches_and_whether_it_clears():
    rule = asked("[alert]\nwhen = 'n > 2'\nclear = 'n < 1'")
    assert rule.body("flink") == rule.body("batch")
    assert rule.body("flink").startswith("SELECT q.*, (n > 2) IS TRUE AS alert, (n < 1) IS TRUE AS alert_clear FROM")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("[alert]\nclear = 'n < 1'", "alert.when: Field required"),
        ("[alert]\nwhen = 'n > 2'\nfor = 0", "alert.for: Input should be greater than or equal to 1"),
        ("[alert]\nwhen = 'n > 2'\nabsent = 'ignore'", "alert.absent: Input should be 'clear', 'breach' or 'keep'"),
        ("[alert]\nwhen = 'n > 2'\nrepeat = 'often'", "alert.repeat: 'often' is not a duration"),
        ("[alert]\nwhen = 'n > 2'\nunless = 'n > 9'", "alert.unless: there is no such key"),
    ],
)
def test_what_is_wrong_in_a_rule_is_named(header, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        asked(header)


def test_a_topic_of_answers_cannot_be_that_of_alerts_or_of_tallies():
    for topic in ("alerts", "busy.tally", "dead-letter"):
        with pytest.raises(UsageError, match="a topic of results cannot end in"):
            asked(f"topic = '{topic}'")
    with pytest.raises(UsageError, match="a topic of results cannot end in"):
        asked("", name="alerts")


def test_the_example_of_the_page_is_a_question_and_the_page_has_every_key_and_column():
    (example,) = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    columns = check_question(parse_question("surges", example, "docs/alerts.md"), load_contract("ratings"))
    assert list(columns)[-2:] == ["alert", "alert_clear"]
    keys = {field.alias or name for name, field in AlertRule.model_fields.items()}
    assert keys <= set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert all(f"`{name}`" in PAGE for name in EVENT_COLUMNS)
