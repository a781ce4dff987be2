"""The page without a browser: its layout and what it says of a picture."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from streamproof.chain.health import PartHealth
from streamproof.core.contract import load_contract
from streamproof.core.run import RowCounts, Run
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.dashboard import charts
from streamproof.dashboard.chain_picture import chain_picture
from streamproof.dashboard.page import make_page
from streamproof.dashboard.verdict_card import verdict_card
from validation.comparison import WindowCounts
from validation.jobs import Job
from validation.live.reader import Picture, Reader, newest_run


@pytest.fixture
def run():
    return Run(
        run="r", contract=load_contract("ratings"), clock="virtual", pace="interval", interval=Fraction(1000), start=0,
        batch_rows=1, batch_ms=1, sources={}, rows={"Books": RowCounts(sent=2, confirmed=2)},
        created=datetime(2024, 1, 1, tzinfo=UTC),
    )  # fmt: skip


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
    picture = Picture(run=run, problem=None, windows=WindowCounts(right=7), is_judging=True, job=Job("j", 30000, 5000))
    assert "RIGHT SO FAR 7 windows of 30s / 5s are exactly what the CSV files say." in texts(verdict_card(picture))
    ended = replace(picture, run=run.model_copy(update={"state": "finished"}), is_quiet=True)
    assert "PROVEN The run has ended. 7 windows" in texts(verdict_card(ended))
    doubtful = texts(verdict_card(replace(ended, reasons=["3 rows are lost"])))
    assert "NOT PROVEN" in doubtful
    assert "3 rows are lost" in doubtful
    assert "NOT RIGHT" in texts(verdict_card(replace(picture, windows=WindowCounts(right=7, wrong=1))))


def test_windows_that_are_overdue_while_a_run_goes_on_are_said_with_what_hides_them(run):
    windows = WindowCounts(right=7, missing=2)
    hidden = "some records cannot be read yet, 3 in t/1"
    picture = Picture(run=run, problem=None, windows=windows, windows_read=7, is_judging=True, hidden=hidden)
    said = texts(verdict_card(picture))
    assert "OVERDUE" in said
    assert "not there, though later ones are: 2." in said
    assert hidden in said
    assert "RIGHT" not in said
    assert "OVERDUE" in states(picture, {})["Windows"]
    at_end = replace(picture, is_quiet=True, reasons=["2 windows are missing"])
    said = texts(verdict_card(at_end))
    assert all(each in said for each in ("NOT PROVEN", "missing: 2", "2 windows are missing", hidden))


def test_without_windows_the_page_says_which_job_to_submit(run):
    said = texts(verdict_card(Picture(run=run, problem=None)))
    assert "streamproof submit rating_averages --size 30s --slide 5s --run r" in said


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
