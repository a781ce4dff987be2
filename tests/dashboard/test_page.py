"""The page without a browser: its layout and what it says of a picture."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from streamproof.chain.health import PartHealth
from streamproof.core.contract import load_contract
from streamproof.core.question import load_question
from streamproof.core.run import RowCounts, Run
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.dashboard import charts
from streamproof.dashboard.chain_picture import chain_picture
from streamproof.dashboard.page import make_page
from streamproof.dashboard.verdict_card import judge_question, verdict_card
from streamproof.dashboard.words import name_of_key, shown
from validation.answers import Answers
from validation.comparison import AnswerCounts
from validation.live.live_verdict import SoFar
from validation.live.reader import Picture, Reader, newest_run
from validation.live.results import Point


@pytest.fixture
def run():
    return Run(
        run="r", contract=load_contract("ratings"), clock="virtual", pace="interval", interval=Fraction(1000), start=0,
        batch_rows=1, batch_ms=1, sources={}, rows={"Books": RowCounts(sent=2, confirmed=2)},
        created=datetime(2024, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def asked(name="rating_averages", **counts):
    return SoFar(Answers(load_question(name), "j", 0), AnswerCounts(**counts), is_judging=True)


def texts(component):
    children = getattr(component, "children", component)
    parts = children if isinstance(children, list | tuple) else [children]
    return " ".join(texts(part) if hasattr(part, "children") else str(part) for part in parts if part is not None)


def states(picture, parts):
    return {li.to_plotly_json()["props"]["data-part"]: texts(li) for li in chain_picture(picture, parts).children}


def test_the_page_is_served_and_names_its_language(tmp_path):
    reader = Reader(None, HomeSettings(home=tmp_path), KafkaSettings())
    with make_page(reader, dict).server.test_client() as client:
        assert '<html lang="en">' in client.get("/").text
        assert "tick" in client.get("/_dash-layout").text
        assert client.get("/assets/dashboard.css").status_code == 200


def test_the_verdict_is_right_so_far_then_proven_or_names_the_reasons(run):
    picture = Picture(run=run, problem=None, questions={"rating_averages": asked(right=7)})
    said = texts(verdict_card(picture))
    assert "RIGHT SO FAR 7 answers over windows of 30s / 5s are exactly what the CSV files say." in said
    ended = replace(picture, run=run.model_copy(update={"state": "finished"}), is_quiet=True)
    assert "PROVEN The run has ended. 7 answers" in texts(verdict_card(ended))
    doubtful = texts(verdict_card(replace(ended, reasons=["3 rows are lost"])))
    assert "NOT PROVEN" in doubtful
    assert "3 rows are lost" in doubtful
    wrong = replace(picture, questions={"rating_averages": asked(right=7, wrong=1)})
    assert "NOT RIGHT" in texts(verdict_card(wrong))


def test_answers_that_are_overdue_while_a_run_goes_on_are_said_with_what_hides_them(run):
    questions = {"rating_averages": asked(right=7, missing=2)}
    hidden = "some records cannot be read yet, 3 in t/1"
    picture = Picture(run=run, problem=None, questions=questions, results_read=7, hidden=hidden)
    said = texts(verdict_card(picture))
    assert "OVERDUE" in said
    assert "not there, though later ones are: 2." in said
    assert hidden in said
    assert "RIGHT" not in said
    assert "OVERDUE" in states(picture, {})["Results"]
    at_end = replace(picture, is_quiet=True, reasons=["2 windows are missing"])
    said = texts(verdict_card(at_end))
    assert all(each in said for each in ("NOT PROVEN", "missing: 2", "2 windows are missing", hidden))


def test_each_question_has_a_verdict_of_its_own_and_the_run_s_is_over_all(run):
    good, bad = asked(right=7), asked("rating_spread", right=5, extra=1)
    picture = Picture(run=run, problem=None, questions={"rating_averages": good, "rating_spread": bad}, is_quiet=True)
    picture = replace(picture, reasons=["rating_spread: 1 windows are extra"])
    assert "NOT PROVEN 12 answers to 2 questions" in texts(verdict_card(picture))
    assert judge_question(picture, good)[2] == "RIGHT"
    assert judge_question(picture, bad)[2:] == (
        "NOT RIGHT",
        "5 answers are exactly what the CSV files say; should not be there: 1.",
    )
    proven = replace(picture, reasons=[], questions={"rating_averages": good, "rating_spread": asked()})
    assert judge_question(proven, good)[2] == "PROVEN"
    assert judge_question(proven, asked())[2:] == ("PROVEN", "No answer was due, and none is there.")
    going_on = replace(picture, is_quiet=False)
    assert judge_question(going_on, asked(right=7, missing=1))[2] == "OVERDUE"
    assert judge_question(going_on, asked(right=7))[2] == "RIGHT SO FAR"
    assert judge_question(going_on, asked())[2] == "Nothing to judge yet"


def test_without_results_the_page_says_how_to_submit_a_question(run):
    said = texts(verdict_card(Picture(run=run, problem=None)))
    assert "streamproof submit QUESTION --run r" in said


def test_each_part_has_a_word_and_a_symbol_for_its_state(run):
    parts = {
        "Mosquitto": PartHealth(is_up=True, says="answers"),
        "NiFi": PartHealth(is_up=False, says="streamproof deploy ratings", lacks="no flow"),
        "Kafka": PartHealth(is_up=False, says="has ended", since=time.time()),
    }
    said = states(Picture(run=run, problem=None, written_at=time.time()), parts)
    assert "✓ works" in said["Edge"]
    assert "✓ works answers" in said["Mosquitto"]
    assert "✕ NO FLOW streamproof deploy ratings" in said["NiFi"]
    assert "✕ AWAY has ended (since" in said["Kafka"]
    assert "being asked" in said["Flink"]


def test_an_edge_that_writes_no_more_is_away(run):
    said = states(Picture(run=run, problem=None, written_at=time.time() - 10), {})
    assert "✕ AWAY silent for 10 s" in said["Edge"]


def test_the_newest_run_is_the_one_that_began_last(run, tmp_path):
    home = HomeSettings(home=tmp_path)
    assert newest_run(home) is None
    run.model_copy(update={"run": "b", "created": datetime(2024, 1, 2, tzinfo=UTC)}).save(home)
    run.save(home)
    assert newest_run(home) == "b"


def test_each_whole_second_is_drawn_as_a_step():
    now = int(time.time())
    line = charts.rate_chart({now - 3: 7, now - 1: 5, now + 100: 9}).data[0]
    assert [round(moment.timestamp()) - now for moment in line.x[:3]] == [-3, -2, -1]
    assert list(line.y[:3]) == [7, 0, 5]
    (only,) = charts.rate_chart({5: 3}).data
    assert (list(only.y), [moment.timestamp() for moment in only.x]) == ([3, 3], [5, 6])
    assert list(charts.rate_chart({}).data[0].y) == []


def points(count, windows=1):
    return [Point(number * 1000, 3.0, 2.0, 5.0, windows) for number in range(count)]


def test_short_lines_lie_over_each_other_and_long_ones_have_panels_with_a_band():
    together = charts.lines_chart({"A": points(60), "B": points(3)}, "average")
    assert [each.name for each in together.data] == ["A", "B"]
    for many in (points(61), points(5, windows=4)):
        apart = charts.lines_chart({"A": many, "B": points(3)}, "average")
        assert [each.yaxis for each in apart.data] == ["y"] * 3 + ["y2"] * 3
        least, greatest, middle = apart.data[:3]
        assert (set(least.y), set(greatest.y), set(middle.y)) == ({2.0}, {5.0}, {3.0})
        assert greatest.fill == "tonexty"
        # An axis that matches itself is a complaint in the browser's console.
        assert all(axis.matches != axis.plotly_name.replace("axis", "") for axis in apart.select_yaxes())
        assert charts.lines_height({"A": many, "B": []}, apart) >= 300
    assert len(charts.lines_chart({}, "average").data) == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"), (True, "yes"), (1234567, "1,234,567"), (Decimal(100), "100"),
        (Decimal("1234567890123456789.50"), "1,234,567,890,123,456,789.5"),
        (4.333333333, "4.33333"), (12345678.9, "12,345,679"), ("0000143502", "0000143502"),
        (float("inf"), "inf"), (float("nan"), "nan"),
    ],
)  # fmt: skip
def test_decimals_are_exact_and_ids_stay_text(value, text):
    assert shown(value) == text


def test_a_key_is_named_by_its_values_with_the_category_last():
    assert name_of_key(("category", "product_id", "rating"), ("Books", "A", "5.0")) == "A · 5.0 (Books)"
    assert name_of_key(("category",), ("Books",)) == "Books"
    assert name_of_key(("who",), (None,)) == "none"
    assert name_of_key((), ()) == "all rows"
