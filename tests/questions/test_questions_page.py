"""docs/questions.md: its examples are questions that both engines take."""

import re
import tomllib

import pytest
from checkout import CHECKOUT
from shop_questions import SHOP

from flink_jobs.local import plan_question
from flink_jobs.question_case import CaseFile, run_case
from streamproof.core.contract import load_contract, parse_contract
from streamproof.core.question import Header, load_question, parse_question
from streamproof.core.window import MOST_WINDOWS

PAGE = (CHECKOUT / "docs" / "questions.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CASES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

TEXT, AMOUNT = {"type": "text"}, {"type": "decimal", "scale": 2}
STREAMS = {
    "shop": SHOP,
    "ratings": load_contract("ratings"),
    "sales": parse_contract(
        {
            "name": "sales",
            "fields": {"product_id": TEXT, "status": TEXT, "price": AMOUNT, "quantity": {"type": "integer"}},
        },
        "test",
    ),
    "traffic": parse_contract({"name": "traffic", "fields": {"ip": TEXT}}, "test"),
}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_is_a_question_that_both_engines_take(number):
    question = parse_question("example", EXAMPLES[number], "docs/questions.md")
    assert plan_question(question, STREAMS[question.header.stream]).columns


def test_the_example_of_a_test_passes(tmp_path):
    (case,) = CASES
    CaseFile.model_validate(tomllib.loads(case))
    file = tmp_path / "rating_histogram.test.toml"
    file.write_text(case)
    file.with_name("rating_histogram.sql").write_text(load_question("rating_histogram").text)
    assert run_case(file).differences == []


def test_the_page_has_every_key_of_the_header_and_the_bound():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) >= set(Header.model_fields)
    assert f"A row may lie in {MOST_WINDOWS:,} windows at most" in PAGE
