"""Many questions on one played stream, as one job of a local Flink, judged as the verdict judges."""

import pytest
from judged_locally import judge
from played_messages import played
from shop_questions import (
    ALWAYS,
    DISAGREEMENTS,
    MINUTE,
    NUMBERS,
    QUESTIONS,
    SHOP,
    TEXTS,
    TIMES,
    expressions,
    question,
    rows_of_a_shop,
)

from flink_jobs.local import run_questions
from streamproof.core.errors import StreamproofError
from streamproof.core.question_text import has_subquery

EXPRESSIONS = [expressions("numbers", NUMBERS), expressions("texts", TEXTS), expressions("times", TIMES)]
DIFFERENT = expressions("disagreements", DISAGREEMENTS)

RANKED = """SELECT window_start, window_end, place, maker FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY {order}) AS place FROM ({makers}) AS m
) AS r WHERE place <= 3"""
MAKERS = """SELECT window_start, window_end, NULLIF(brand, '-') AS maker, COUNT(*) AS n FROM windowed
    GROUP BY window_start, window_end, NULLIF(brand, '-')"""
NULLS_AS_THEY_COME = question("nulls", MINUTE, ["place"], RANKED.format(order="maker", makers=MAKERS))
NULLS_AS_TEXT = question(
    "nulls_as_text", MINUTE, ["place"], RANKED.format(order="COALESCE(maker, '~'), maker", makers=MAKERS)
)
NULLS_DOWNWARDS = question(
    "nulls_downwards", MINUTE, ["place"], RANKED.format(order="maker DESC NULLS LAST", makers=MAKERS)
)
# The check sees ties where a GROUP BY says what tells rows apart. Of a UNION it knows nothing.
HIDDEN_TIES = question(
    "hidden_ties",
    MINUTE,
    ["place"],
    RANKED.format(
        order="n DESC",
        makers="SELECT window_start, window_end, city AS maker, COUNT(DISTINCT event_type) AS n FROM windowed "
        "GROUP BY window_start, window_end, city UNION ALL "
        "SELECT window_start, window_end, user_id AS maker, COUNT(DISTINCT event_type) AS n FROM windowed "
        "GROUP BY window_start, window_end, user_id",
    ),
)
NO_KEY = question(
    "no_key",
    MINUTE,
    [],
    "SELECT window_start, window_end, city, COUNT(*) AS n FROM windowed GROUP BY window_start, window_end, city",
)

ALLOWED = [*(q for q in QUESTIONS if q.name in ALWAYS), *EXPRESSIONS, NULLS_AS_TEXT, NULLS_DOWNWARDS]
OTHERS = [q for q in QUESTIONS if q.name not in ALWAYS]


# Beside one of these the copies of all questions' rows are told apart one by one.
WITH_SUBQUERY = [q for q in ALLOWED if has_subquery(q)]
ASKED = [*(q for q in ALLOWED if not has_subquery(q)), DIFFERENT, NULLS_AS_THEY_COME, HIDDEN_TIES, NO_KEY]
ROWS = rows_of_a_shop()


def lines_of(asked):
    return run_questions(asked, SHOP, played(ROWS, "r"), run="r")


def judge_by_name(asked, lines):
    return {q.name: found for q, found in zip(asked, judge(asked, lines, ROWS, SHOP), strict=True)}


@pytest.fixture(scope="module")
def lines():
    return lines_of(ASKED)


@pytest.fixture(scope="module")
def judged(lines):
    return judge_by_name(ASKED, lines) | judge_by_name(WITH_SUBQUERY, lines_of(WITH_SUBQUERY))


@pytest.fixture(scope="module")
def others_judged():
    return judge_by_name(OTHERS, lines_of(OTHERS))


def assert_right(found, asked):
    assert found.right_only, found.differences[:3]
    assert found.counts.right > 5
    assert found.alerts > 0 or asked.header.alert is None


@pytest.mark.parametrize("asked", ALLOWED, ids=lambda q: q.name)
def test_a_question_that_is_allowed_has_the_same_answers_in_both_engines(judged, asked):
    assert_right(judged[asked.name], asked)


@pytest.mark.long
@pytest.mark.parametrize("asked", OTHERS, ids=lambda q: q.name)
def test_so_have_the_others(others_judged, asked):
    assert_right(others_judged[asked.name], asked)


@pytest.mark.parametrize("place", range(len(DISAGREEMENTS)), ids=list(DISAGREEMENTS))
def test_what_the_engines_compute_differently_with_equal_types_is_found_by_the_verdict(judged, place):
    found = judged["disagreements"]
    assert found.counts.wrong > 0
    assert (found.counts.missing, found.counts.extra) == (0, 0)
    assert any(expected[f"c{place}"] != of_flink[f"c{place}"] for expected, of_flink in found.wrong)


def test_nulls_that_are_ordered_otherwise_are_found(judged):
    assert judged["nulls"].counts.wrong > 0


def test_ties_that_no_check_sees_are_found(judged):
    assert judged["hidden_ties"].counts.wrong > 0


def test_a_key_that_tells_nothing_apart_is_found(judged):
    assert judged["no_key"].doubled_keys > 0


def test_a_result_that_is_changed_lost_or_doubled_is_told_as_such(lines):
    asked = ASKED[0]
    results = lines[0]
    (changed,) = judge([asked], [[results[0].replace('"n":', '"n":1'), *results[1:]]], ROWS, SHOP)
    (lost,) = judge([asked], [results[1:]], ROWS, SHOP)
    (doubled,) = judge([asked], [[*results, results[0]]], ROWS, SHOP)
    assert (changed.counts.wrong, lost.counts.missing, doubled.counts.extra) == (1, 1, 1)


def test_a_division_by_zero_fails_the_job_with_the_reason():
    asked = question(
        "broken",
        MINUTE,
        [],
        "SELECT window_start, window_end, MOD(SUM(quantity), COUNT(*) - COUNT(*)) AS n FROM windowed "
        "GROUP BY window_start, window_end",
    )
    with pytest.raises(StreamproofError, match=r"by zero"):
        run_questions([asked], SHOP, played(rows_of_a_shop(count=5), "r"), run="r")
