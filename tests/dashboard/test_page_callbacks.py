"""What the page answers to a browser: each of its requests, and clicks, on windows that are made up."""

import json
from datetime import UTC, datetime
from fractions import Fraction

import duckdb
import pytest

from streamproof.core.contract import load_contract
from streamproof.core.run import RowCounts, Run, Source
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.dashboard.attributes import link_to
from streamproof.dashboard.page import make_page
from validation.comparison import WindowCounts, WindowExample, WindowValues
from validation.jobs import Job
from validation.kafka_records import _TABLES
from validation.live.dead_letters import DeadLetters, Letter
from validation.live.reader import Picture, Reader
from validation.live.window_rows import FileRow

WRONG = WindowExample(
    verdict="wrong", category="Books", key="A", window_start="1970-01-01T00:00:00Z",
    window_end="1970-01-01T00:00:04Z", expected=WindowValues(count=1, sum="5", avg=5.0, min="5", max="5"), found=None,
)  # fmt: skip
LETTER = Letter(reason="not JSON", payload="<b>what came</b>", place="0/17", received_at=1000)


class Browser:
    """Sends what a browser with this page sends."""

    def __init__(self, reader):
        self._client = make_page(reader, dict).server.test_client()
        self.callbacks = {each["output"]: each for each in self._client.get("/_dash-dependencies").json}

    def ask(self, output, values=None, click=None):
        """Send one request; ``click`` is the id of the button that was pressed."""
        (name,) = [each for each in self.callbacks if output in each.strip(".").split("...")]
        about, values = self.callbacks[name], {"category.data": "", "chosen.data": []} | (values or {})
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
    with duckdb.connect() as db:
        db.execute(_TABLES)
        db.execute(
            "INSERT INTO kafka_windows BY NAME SELECT 'job' AS job, 4000 AS window_size, 2000 AS window_slide, "
            "'Books' AS category, key, start AS window_start, start + 4000 AS window_end, 2 AS n, "
            "3.5 AS average, 1 AS least, 5 AS greatest FROM unnest(['A', 'B']) k(key), unnest([0, 2000, 4000]) s(start)"
        )
        reader = Reader("r", HomeSettings(home=tmp_path), KafkaSettings())
        reader.database = db.cursor
        reader.rows_of = lambda *_: [FileRow(3, 3, "5.0", 1000)]
        reader.picture = Picture(
            run=run, problem=None, job=Job("job", 4000, 2000), windows_read=6, windows=WindowCounts(right=5, wrong=1),
            is_judging=True, event_time=9000, rates={5: 3, 6: 4}, not_right=[WRONG],
            dead_letters=DeadLetters((LETTER,), 0, 1, (("not JSON", 1),)),
        )  # fmt: skip
        yield Browser(reader)


def test_each_request_of_a_page_that_is_opened_is_answered(browser):
    for name in browser.callbacks:
        browser.ask(name.strip(".").split("...")[0])


def test_a_list_that_has_not_changed_is_not_sent_again(browser):
    for name in ("wrong", "categories", "found", "letters"):
        shown = browser.ask(f"{name}-shown.data")[f"{name}-shown"]["data"]
        assert browser.ask(f"{name}-shown.data", {f"{name}-shown.data": shown}) == {}


def test_products_are_added_once_and_taken_away(browser):
    add = {"type": "add", "category": "Books", "key": "A.1"}
    chosen = browser.ask("chosen.data", click=add)["chosen"]["data"]
    assert chosen == [["Books", "A.1"]]
    assert browser.ask("chosen.data", {"chosen.data": chosen}, add)["chosen"]["data"] == chosen
    assert browser.ask("chosen.data", {"chosen.data": chosen}, add | {"type": "remove"})["chosen"]["data"] == []


def test_a_wrong_window_opens_with_the_rows_of_the_file(browser):
    name = "wrong: Books A, from 1970-01-01T00:00:00Z to 1970-01-01T00:00:04Z"
    link = link_to("window", name)
    assert link in json.dumps(browser.ask("wrong.children"))
    opened = json.dumps(browser.ask("wrong-detail.children", {"opened.hash": link}))
    assert name in opened
    assert "1970-01-01 00:00:01 UTC" in opened


def test_a_dead_letter_opens_with_its_message(browser):
    link = link_to("letter", "0/17")
    assert link in json.dumps(browser.ask("letters.children"))
    opened = json.dumps(browser.ask("letter-detail.children", {"opened.hash": link}))
    assert "<b>what came</b>" in opened


def test_a_category_is_chosen_and_keeps_its_products(browser):
    assert browser.ask("category.data", click={"type": "category", "name": "Books"})["category"]["data"] == "Books"
    assert browser.ask("found.children", {"category.data": "Books"})["found-shown"]["data"][2] == [
        ["Books", "A"],
        ["Books", "B"],
    ]
    assert browser.ask("found.children", {"category.data": "Music"})["found-shown"]["data"][2] == []


def test_the_words_come_from_the_contract(browser):
    said = browser.ask("version.data")
    assert said["ratings-title"]["children"] == "Ratings"
    assert said["search-label"]["children"] == "Products whose product_id begins with"
    assert said["most-rated-title"]["children"] == "Products with most ratings"
