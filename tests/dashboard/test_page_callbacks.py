"""What the page answers to a browser: each of its requests, and clicks, on windows that are made up."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import product

import duckdb
import pytest
from written_results import Written, WrittenAlerts

from streamproof.core.contract import load_contract
from streamproof.core.question import load_question, parse_question
from streamproof.core.run import RowCounts, Run, Source
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.window import Window
from streamproof.dashboard.attributes import link_to
from streamproof.dashboard.page import make_page
from validation.answers import Answers
from validation.comparison import AnswerCounts, Difference, InputRow
from validation.kafka_records import _TABLES
from validation.live.dead_letters import DeadLetters, Letter
from validation.live.lake_batch import LakeBatch
from validation.live.live_verdict import SoFar
from validation.live.reader import Picture, Reader
from validation.live.results import Table
from validation.live.whole_run import BatchAnswers

WRONG = Difference(
    verdict="wrong", key={"category": "Books", "product_id": "A"}, window_start="1970-01-01T00:00:00Z",
    window_end="1970-01-01T00:00:04Z", expected={"rating_count": 1, "rating_sum": "5"}, found=None,
)  # fmt: skip
ROW = InputRow(category="Books", line=3, seq=3, event_time="1970-01-01T00:00:01Z", fields={"rating": "5"})
NAME = "wrong: rating_averages Books A, from 1970-01-01T00:00:00Z to 1970-01-01T00:00:04Z"
LETTER = Letter(reason="not JSON", payload="<b>what came</b>", place="0/17", received_at=1000)


EMPTY = {"category.data": "", "question.data": "", "span.data": "", "column.data": {}, "chosen.data": {}}


class Browser:
    """Sends what a browser with this page sends."""

    def __init__(self, reader):
        self.reader = reader
        self._client = make_page(reader, dict).server.test_client()
        asked = self._client.get("/_dash-dependencies").json
        self.callbacks = {each["output"]: each for each in asked if not each["clientside_function"]}

    def ask(self, output, values=None, click=None):
        """Send one request; ``click`` is the id of the button that was pressed."""
        (name,) = [each for each in self.callbacks if output in each.strip(".").split("...")]
        about, values = self.callbacks[name], EMPTY | (values or {})
        parts = [part.rsplit(".", 1) for part in name.strip(".").split("...")]
        outputs = [{"id": id_, "property": property_} for id_, property_ in parts]
        body = {
            "output": name,
            "outputs": outputs if name.startswith("..") else outputs[0],
            "inputs": [self._filled(each, values, click) for each in about["inputs"]],
            "state": [self._filled(each, values, click) for each in about["state"]],
            "changedPropIds": [f"{json.dumps(click, sort_keys=True, separators=(',', ':'))}.n_clicks"] if click else [],
        }
        answer = self._client.post("/_dash-update-component", json=body)
        assert answer.status_code in {200, 204}, (name, answer.text)
        return (answer.json or {}).get("response", {})

    @staticmethod
    def _filled(place, values, click):
        if not place["id"].startswith("{"):
            value = values.get(f"{place['id']}.{place['property']}")
            return {"id": place["id"], "property": place["property"], "value": value}
        is_clicked = click and json.loads(place["id"])["type"] == click["type"]
        return [{"id": click, "property": "n_clicks", "value": 1}] if is_clicked else []


@pytest.fixture
def browser(tmp_path):
    run = Run(
        run="r", contract=load_contract("ratings"), clock="virtual", pace="interval", interval=Fraction(1000), start=0,
        batch_rows=1, batch_ms=1, sources={"Books": Source(file=tmp_path / "b.csv", sha256="", size=1)},
        rows={"Books": RowCounts(sent=2)}, created=datetime(2024, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    averages = load_question("rating_averages").with_window(Window(4000, 2000))
    histogram = load_question("rating_histogram").with_window(Window(4000, 2000))
    with duckdb.connect() as db:
        db.execute(_TABLES)
        written, of_histogram = Written(db, run, averages), Written(db, run, histogram, 1)
        for start, key in product((0, 2000, 4000), "AB"):
            written.add(
                start, start + 4000, category="Books", product_id=key, rating_count=2, rating_sum=7.0,
                rating_avg=3.5, rating_min=1.0, rating_max=5.0,
            )  # fmt: skip
        of_histogram.add(0, 4000, category="Books", product_id="A", rating=5.0, times=2)
        for number in (0, 1):
            db.execute(f"CREATE TABLE truth_{number} AS FROM results_{number}")
        reader = Reader("r", HomeSettings(home=tmp_path), KafkaSettings())
        reader.database = db.cursor
        reader.rows_of = lambda _: [ROW]
        questions = {
            "rating_averages": SoFar(Answers(averages, "job", 0), AnswerCounts(right=5, wrong=1), (WRONG,), True),
            "rating_histogram": SoFar(Answers(histogram, "job", 1), AnswerCounts(right=1), (), True),
        }
        reader.picture = Picture(
            run=run, problem=None, questions=questions, results_read=7, event_time=9000, rates={5: 3, 6: 4},
            dead_letters=DeadLetters((LETTER,), 0, 1, (("not JSON", 1),)),
            batch=(BatchAnswers(load_question("brands_for_marketing"), Table(["brand", "viewed"], [("b", 3000)]), 2),),
        )  # fmt: skip
        yield Browser(reader)


def test_each_request_of_a_page_that_is_opened_is_answered(browser):
    for name in browser.callbacks:
        browser.ask(name.strip(".").split("...")[0])


def test_a_list_that_has_not_changed_is_not_sent_again(browser):
    for name in ("wrong", "questions", "choices", "found", "chosen", "letters", "batch", "lake"):
        shown = browser.ask(f"{name}-shown.data")[f"{name}-shown"]["data"]
        assert browser.ask(f"{name}-shown.data", {f"{name}-shown.data": shown}) == {}


def test_the_lakes_answers_are_told_with_what_differs_from_the_streams_and_its_rows(browser):
    def told():
        return json.dumps(browser.ask("question-lake.children"))

    assert "None of the stream's" not in told()
    question = browser.reader.picture.questions["rating_averages"].answers.question
    found = LakeBatch(
        question=question.label, window=question.window, made_at=datetime(2024, 1, 2, tzinfo=UTC), done_to=7_200_000,
        answers=4102, counts=AnswerCounts(right=4102),
    )  # fmt: skip
    browser.reader.picture = replace(browser.reader.picture, lake={"rating_averages": found})
    assert "The lake's batch has 4,102 answers, up to 1970-01-01 02:00:00 UTC. None of the stream's differs." in told()
    found.counts, found.not_right = AnswerCounts(right=4098, wrong=4), (WRONG,)
    assert "Of the stream's 4 have another value. The first 1 are these." in told()
    assert "by the lake's batch" in told()
    assert ROW.event_time in told()


def test_keys_are_added_once_and_taken_away_and_each_question_keeps_its_own(browser):
    add = {"type": "add", "key": '["Books", "A.1"]'}
    chosen = browser.ask("chosen.data", click=add)["chosen"]["data"]
    assert chosen == {"rating_averages": [["Books", "A.1"]]}
    assert browser.ask("chosen.data", {"chosen.data": chosen}, add)["chosen"]["data"] == chosen
    values = {"chosen.data": chosen, "question.data": "rating_histogram"}
    other = {"type": "add", "key": '["Books", "A", "5.0"]'}
    both = browser.ask("chosen.data", values, other)["chosen"]["data"]
    assert both == chosen | {"rating_histogram": [["Books", "A", "5.0"]]}
    assert browser.ask("chosen.data", {"chosen.data": chosen}, add | {"type": "remove"})["chosen"]["data"] == {
        "rating_averages": []
    }


def test_a_wrong_answer_opens_with_the_rows_of_the_file(browser):
    link = link_to("answer", NAME)
    assert link in json.dumps(browser.ask("wrong.children"))
    opened = json.dumps(browser.ask("wrong-detail.children", {"opened.hash": link}))
    assert NAME in opened
    assert ROW.event_time in opened


def test_an_address_whose_answer_is_not_known_yet_opens_when_it_is_and_once(browser):
    known, values = browser.reader.picture, {"opened.hash": link_to("answer", NAME)}
    browser.reader.picture = replace(known, questions={})
    assert browser.ask("wrong-detail.children", values) == {}
    browser.reader.picture = known
    shown = browser.ask("wrong-detail.children", values)["answer-shown"]["data"]
    assert browser.ask("wrong-detail.children", values | {"answer-shown.data": shown}) == {}


def test_a_dead_letter_opens_with_its_message(browser):
    link = link_to("letter", "0/17")
    assert link in json.dumps(browser.ask("letters.children"))
    opened = json.dumps(browser.ask("letter-detail.children", {"opened.hash": link}))
    assert "<b>what came</b>" in opened


def test_a_category_is_chosen_and_keeps_its_keys(browser):
    assert browser.ask("category.data", click={"type": "category", "name": "Books"})["category"]["data"] == "Books"
    found = browser.ask("found.children", {"category.data": "Books"})["found-shown"]["data"][2]
    assert found == [["Books", "A"], ["Books", "B"]]
    assert browser.ask("found.children", {"category.data": "Music"})["found-shown"]["data"][2] == []


def test_a_question_is_chosen_by_its_address(browser):
    chosen = browser.ask("question.data", {"opened.hash": "#question=rating_histogram"})["question"]["data"]
    assert chosen == "rating_histogram"
    assert browser.ask("question.data", {"opened.hash": "#question=nonsense"}) == {}
    assert browser.ask("question.data", {"opened.hash": "#letter=0"}) == {}
    listed = json.dumps(browser.ask("questions.children", {"question.data": chosen}))
    assert listed.count('"aria-current": "true"') == 1
    assert listed.index("How is each product rated?") < listed.index('"aria-current": "true"')
    assert browser.ask("question-title.children", {"question.data": chosen})["question-title"]["children"] == (
        "How often was each rating given to each product?"
    )


def test_another_column_is_drawn_when_it_is_chosen(browser):
    column = browser.ask("column.data", click={"type": "column", "name": "rating_sum"})["column"]["data"]
    assert column == {"rating_averages": "rating_sum"}
    for values, drawn in (({}, "rating_avg"), ({"column.data": column}, "rating_sum")):
        lines = browser.ask("lines.figure", values)
        assert lines["lines-caption"]["children"].startswith(f"{drawn} over time")
        newest = browser.ask("newest.children", values)
        assert drawn in newest["most-changed-title"]["children"]
    assert browser.ask("lines.figure", {"column.data": {"rating_averages": "gone"}})["lines-caption"][
        "children"
    ].startswith("rating_avg over")


def test_the_newest_window_is_a_table_of_all_columns_with_ids_as_they_are(browser):
    newest = browser.ask("newest.children")
    assert newest["newest"]["children"].endswith("1970-01-01 00:00:04 UTC to 1970-01-01 00:00:08 UTC")
    said = json.dumps(newest["newest-window"]["children"])
    assert all(
        f'"{name}"' in said for name in ("category", "product_id", "rating_count", "rating_avg", "A", "7", "3.5")
    )
    assert newest["alerts"]["children"] is None
    assert '"rating_avg of the batch"' in said
    assert '"difference"' in said


def test_what_the_batch_alone_answers_is_a_table_with_the_command_for_all_of_it(browser):
    said = json.dumps(browser.ask("batch.children")["batch"]["children"])
    assert "Which brands need marketing over all days" in said
    assert all(text in said for text in ('"viewed"', '"3,000"', "The first 1 of 2 answers"))
    assert "streamproof batch brands_for_marketing --run r" in said
    browser.reader.picture = replace(browser.reader.picture, batch=())
    assert browser.ask("batch.children")["batch-section"]["style"] == {"display": "none"}


def ask_about(browser, select, values, key="[]", alert=""):
    """Let the page show one question alone, of which there is one answer."""
    text = f"-- Is it so?\n-- stream = 'ratings'\n-- window = 'tumbling 4s'\n-- key = {key}\n{alert}{select}"
    question = parse_question("so", text, "so.sql")
    with browser.reader.database() as db:
        Written(db, browser.reader.picture.run, question, 2).add(4000, 8000, **values)
        db.execute("CREATE TABLE truth_2 AS FROM results_2")
        if alert:
            alerts = WrittenAlerts(db, browser.reader.picture.run, question, 2)
            alerts.add("a", "firing", 4000, 8000, 8000, n=1234)
    so_far = SoFar(Answers(question, "job", 2), AnswerCounts(right=1), (), True)
    browser.reader.picture = replace(browser.reader.picture, questions={"so": so_far})


def test_a_question_without_a_key_has_one_line_and_its_alerts_are_listed(browser):
    select = "SELECT run, window_start, window_end, COUNT(*) AS n FROM windowed GROUP BY run, window_start, window_end"
    ask_about(browser, select, {"n": 1234, "alert": True}, alert="-- alert = 'n > 1000'\n")
    for name in browser.callbacks:
        browser.ask(name.strip(".").split("...")[0])
    newest = browser.ask("alerts.children")
    said = json.dumps(newest["alerts"])
    assert "Alerts: 1 firing, 0 past" in said
    assert "Answers that breach the rule: 1." in said
    assert "1,234" in said
    assert "1970-01-01 00:00:08" in said
    assert json.dumps(browser.ask("lines.figure")["lines"]["figure"]).count('"all rows"') == 1
    assert browser.ask("questions.children")["questions-section"]["style"] == {"display": "none"}


def test_a_question_without_numbers_has_a_table_and_nothing_drawn(browser):
    select = (
        "SELECT run, window_start, window_end, MAX(user_id) AS who FROM windowed GROUP BY run, window_start, window_end"
    )
    ask_about(browser, select, {"who": "0001"})
    for name in browser.callbacks:
        browser.ask(name.strip(".").split("...")[0])
    assert browser.ask("drawn-line.style")["drawn-line"]["style"] == {"display": "none"}
    assert '"0001"' in json.dumps(browser.ask("newest-window.children"))
