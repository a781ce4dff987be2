"""What a replay tells Prometheus, asked over HTTP while rows go through a real broker."""

import socket
import threading
from fractions import Fraction
from functools import partial

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from waiting import PATIENCE

from edge_replayer.options import ReplayOptions
from edge_replayer.replay import replay, resume
from streamproof.core.errors import StreamproofError
from streamproof.core.settings import MqttSettings

START = 1_704_067_200_000
patiently = retry(
    retry=retry_if_exception_type((AssertionError, KeyError, httpx.TransportError)),
    stop=stop_after_delay(PATIENCE),
    wait=wait_fixed(0.05),
    reraise=True,
)


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def options(ratings, tmp_path, port):
    """Return what makes the options of run R over a file with 100 rows and one that does not fit."""
    lines = [f"u{n},B{n % 7},{n % 5 + 1}.0,{n}\n" for n in range(1, 101)]
    (tmp_path / "a.csv").write_text("".join([*lines, "u,B,abc,1\n"]))
    metrics = ("127.0.0.1", port)
    return partial(ReplayOptions, contract=ratings, files={"A": tmp_path / "a.csv"}, run="R", metrics=metrics)


def scrape(port):
    """Return the value of each metric of run R, whatever the category, by the name without what all begin with."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert all(sample.labels["run"] == "R" for sample in samples)
    return {sample.name.removeprefix("streamproof_replayer_"): sample.value for sample in samples}


def in_background(*arguments, **options):
    """Start a replay, or go on with one, and return what waits for its end and returns its run."""
    stop, runs = threading.Event(), []
    begin = replay if isinstance(arguments[0], ReplayOptions) else resume
    thread = threading.Thread(target=lambda: runs.append(begin(*arguments, stop=stop, **options)))
    thread.start()

    def end(*, by_stop):
        if by_stop:
            stop.set()
        thread.join(60)
        return runs[0]

    return end


def test_what_was_sent_and_what_is_unconfirmed_is_told_also_of_a_run_that_goes_on(
    broker, home, options, port, monkeypatch
):
    monkeypatch.setattr("edge_replayer.sender._PATIENCE_AFTER_STOP", 0.1)

    @patiently
    def nothing_is_confirmed(resent):
        # Nobody confirms, so the low watermark stays below the first row. The virtual clock has no rows that are due.
        told = scrape(port)
        assert told.pop("rows_resent_total") >= resent
        assert told == {
            "rows_sent_total": 100,
            "rows_confirmed_total": 0,
            "rows_rejected_total": 1,
            "rows_in_flight": 100,
            "connected": 1,
            "low_watermark_timestamp_seconds": (START - 1) / 1000,
            "newest_row_timestamp_seconds": (START + 99 * 2) / 1000,
        }

    end = in_background(options(interval=Fraction(2), start=START, clock="virtual"), home, broker.settings)
    nothing_is_confirmed(0)
    assert end(by_stop=True).state == "stopped"
    with pytest.raises(httpx.ConnectError):
        scrape(port)
    end = in_background("R", home, broker.settings, metrics=("127.0.0.1", port))
    nothing_is_confirmed(100)
    end(by_stop=True)


def test_a_broker_that_is_away_shows_and_so_does_its_return(broker, home, options, port):
    narrow = options(interval=Fraction(5), loop=True, batch_rows=5, in_flight=20, confirm="broker")
    end = in_background(narrow, home, broker.settings)

    @patiently
    def flows(since):
        told = scrape(port)
        assert told["rows_confirmed_total"] > since
        assert told["connected"] == 1
        assert told["due_lag_seconds"] < 0.5
        assert told["newest_row_timestamp_seconds"] - told["low_watermark_timestamp_seconds"] < 0.5
        return told["rows_confirmed_total"]

    @patiently
    def stands():
        told = scrape(port)
        assert told["connected"] == 0
        assert 20 - 5 < told["rows_in_flight"] <= 20  # on a busy machine a message is sent before it has its 5 rows
        assert told["due_lag_seconds"] > 0.5

    confirmed = flows(0)
    broker.stop()
    stands()
    broker.start()
    flows(confirmed + 100)
    assert end(by_stop=True).rows["A"].confirmed > confirmed


def test_a_taken_port_is_told_before_anything_is_sent(home, options, port):
    nowhere = MqttSettings(host="127.0.0.1", port=1)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(StreamproofError, match=rf"--metrics 127.0.0.1:{port}: Address already in use"),
    ):
        replay(options(interval=Fraction(1)), home, nowhere)
    assert not home.runs.exists()
