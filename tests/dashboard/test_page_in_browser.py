"""The page in a real browser, while a real run goes on."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from confluent_kafka import Producer
from paho.mqtt.publish import single
from pictures import picture
from playwright.sync_api import expect
from served_page import served_page

from streamproof.core.contract import load_contract
from streamproof.core.question import load_question
from streamproof.core.run import load_run
from streamproof.stack.servers import Stack

PARTS = ("Edge", "Mosquitto", "NiFi", "Kafka", "Flink", "Results")

pytestmark = pytest.mark.faults  # one of them ends NiFi and freezes Kafka


def part(page, name):
    return page.locator(f'[data-part="{name}"]')


def is_right(page):
    expect(page.locator("#verdict")).to_contain_text("RIGHT SO FAR")


def test_a_run_is_seen_while_it_goes_on(tab, live, address):
    page = tab.open(address)
    is_right(page)
    expect(page.locator("#run")).to_contain_text(f"run {live.run}, running")
    for name in PARTS:
        expect(part(page, name)).to_have_attribute("data-state", "up")
    sent = part(page, "Edge").locator("dd").first
    before = sent.inner_text()
    expect(sent).not_to_have_text(before)
    expect(page.locator("#questions a")).to_have_count(3)
    expect(page.locator("#lines .main-svg").first).to_be_visible()
    page.wait_for_timeout(15_000 if os.environ.get("STREAMPROOF_PICTURES") else 0)
    picture(page, "dashboard")


@pytest.mark.long
@pytest.mark.parametrize(("name", "how"), [("nifi", signal.SIGKILL), ("kafka", signal.SIGSTOP)])
def test_a_part_that_is_away_is_shown_so_at_once_and_back_afterwards(tab, address, name, how):
    shown = {"nifi": "NiFi", "kafka": "Kafka"}[name]
    page = tab.open(address)
    is_right(page)
    expect(part(page, shown)).to_have_attribute("data-state", "up")
    process = Stack.from_environment().processes.find(name)
    process.send_signal(how)
    try:
        expect(part(page, shown)).to_have_attribute("data-state", "away", timeout=60_000)
        expect(part(page, shown)).to_contain_text("AWAY")
        expect(page.get_by_role("alert")).to_contain_text(shown)
        if name == "nifi":
            picture(page, "dashboard-nifi-away")
        time.sleep(4)
        expect(page.locator("#verdict")).not_to_contain_text("NOT RIGHT")
    finally:
        if how == signal.SIGSTOP:
            process.send_signal(signal.SIGCONT)
    expect(part(page, shown)).to_have_attribute("data-state", "up")
    is_right(page)


@pytest.mark.long
def test_a_key_is_searched_and_shown_with_the_keyboard(tab, address):
    page = tab.open(address)
    page.get_by_role("button", name="the newest 60 windows").press("Enter")
    key = page.locator("#found code").first.inner_text()
    page.get_by_label("Search: category or product_id begins with").fill(key[:6])
    button = page.locator("#found button", has_text=key)
    expect(page.locator("#found button")).to_have_count(1)
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#chosen-list code")).to_have_text(key)
    expect(page.locator("#lines .legendtext")).to_contain_text([key])  # this one line alone, once it is drawn
    page.locator("#chosen-list button").press("Enter")
    expect(page.locator("#chosen-list")).to_contain_text("Until you choose")


@pytest.mark.long
def test_a_category_is_chosen(tab, address):
    page = tab.open(address)
    page.get_by_role("button", name="Music", exact=True).press("Enter")
    expect(page.locator("#newest-window tbody tr").first).to_contain_text("Music")
    expect(page.locator("#newest-window")).not_to_contain_text("Books")


@pytest.mark.long
def test_each_question_has_a_card_and_an_address(tab, address):
    page = tab.open(f"{address}#question=rating_spread")
    expect(page.locator("#question-title")).to_have_text(load_question("rating_spread").title)
    expect(page.locator("#newest-window thead")).to_contain_text("rating_stddev")
    other = page.locator("#questions a", has_text=load_question("rating_histogram").title)
    expect(other).to_contain_text("RIGHT SO FAR")
    other.press("Enter")
    expect(page).to_have_url(f"{address}#question=rating_histogram")
    expect(page.locator("#question-title")).to_have_text(load_question("rating_histogram").title)
    expect(page.locator('#questions [aria-current="true"]')).to_have_count(1)
    expect(page.locator("#newest-window thead")).to_contain_text("times")
    expect(page.locator("#question-verdict")).to_contain_text("RIGHT SO FAR")


@pytest.mark.long
def test_a_dead_letter_is_opened(tab, live, address, servers):
    row = {"run": live.run, "category": "Books", "seq": 1, "event_time": 1, "low_watermark": 0, "rating": "five"}
    single("ratings/Books", json.dumps(row), qos=1, hostname=servers.mqtt.host, port=servers.mqtt.port)
    page = tab.open(address)
    letter = page.locator("#letters a").first
    letter.focus()
    page.keyboard.press("Enter")
    message = page.locator("#letter-detail .message")
    expect(message).to_be_visible()
    assert json.loads(message.inner_text()) == row
    expect(page.locator("#letter-detail")).to_contain_text(f"run{live.run}")
    expect(page.locator("#reasons")).to_contain_text("1 of this run")


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        pytest.param(1280, "light", marks=pytest.mark.long),
        pytest.param(1280, "dark", marks=pytest.mark.long),
        pytest.param(360, "light", marks=pytest.mark.long),
        (360, "dark"),
    ],
)
def test_the_page_is_accessible_and_fits_the_screen(tab, address, width, scheme):
    page = tab.open(address, width=width, scheme=scheme)
    is_right(page)
    expect(page.locator("#most-changed tbody tr").first).to_be_visible()
    page.wait_for_timeout(3500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page)
    assert not found.response["violations"], found.generate_report()
    if (width, scheme) == (360, "dark"):
        picture(page, "dashboard-phone")


@pytest.mark.long
@pytest.mark.usefixtures("flow")
def test_a_wrong_window_opens_with_both_values_and_its_rows(tab, servers, tmp_path):
    run, file = f"wrong-{os.getpid()}-{time.time_ns()}", tmp_path / "Books.csv"
    file.write_text("U1,A,5.0,1\nU2,B,3.0,2\nU3,A,4.0,3\n")
    replay = [
        "replay",
        "ratings",
        f"Books={file}",
        "--clock",
        "virtual",
        "--start",
        "2024-01-01T00:00:00Z",
        "--run",
        run,
    ]
    subprocess.run([sys.executable, "-m", "streamproof", *replay], check=True, capture_output=True)
    window = {"job": "made-up", "run": run, "category": "Books", "product_id": "A"}
    window |= {"window_start": "2024-01-01 00:00:00", "window_end": "2024-01-01 00:00:04"}
    window |= {"window_size": 4000, "window_slide": 4000, "rating_count": 3, "rating_sum": 14.0}
    window |= {"rating_avg": 14 / 3, "rating_min": 4.0, "rating_max": 5.0}
    producer = Producer({"bootstrap.servers": servers.kafka.servers})
    producer.produce(load_question("rating_averages").topic(load_contract("ratings")), json.dumps(window))
    assert producer.flush(20) == 0
    with served_page("--run", run) as address:
        page = tab.open(address)
        expect(page.locator("#verdict")).to_contain_text("NOT PROVEN")
        expect(page.locator("#verdict")).to_contain_text("wrong: 1")
        page.locator("#wrong a", has_text="wrong: rating_averages Books A").press("Enter")
        detail = page.locator("#wrong-detail")
        expect(detail).to_contain_text("by the CSV files294.545")
        expect(detail.locator("table").nth(1).locator("tbody tr")).to_have_count(2)
        detail.scroll_into_view_if_needed()
        picture(page, "dashboard-wrong-window")
        tab.close()


def test_without_servers_and_runs_the_page_says_what_to_start(tab, tmp_path):
    mqtt, kafka, nifi, flink = 1, 2, 3, 4  # nobody listens there
    elsewhere = {
        "STREAMPROOF_HOME": str(tmp_path),
        "STREAMPROOF_MQTT_PORT": str(mqtt),
        "STREAMPROOF_KAFKA_SERVERS": f"127.0.0.1:{kafka}",
        "NIFI_API_ENDPOINT": f"http://127.0.0.1:{nifi}/nifi-api",
        "STREAMPROOF_FLINK_JOBMANAGER": f"127.0.0.1:{flink}",
    }
    with served_page(environment=elsewhere) as address:
        page = tab.open(address)
        expect(page.get_by_role("alert")).to_contain_text("streamproof up")
        expect(page.get_by_role("alert")).to_contain_text("There is no run yet")
        tab.close()


def test_at_its_end_the_run_is_proven(tab, live, address, servers):
    page = tab.open(address)
    live.end()
    assert load_run(live.run, servers.home).ended
    expect(page.locator("#verdict")).to_contain_text("PROVEN")
    expect(page.locator("#verdict")).not_to_contain_text("NOT PROVEN")
    expect(part(page, "Edge")).to_contain_text("run stopped")
