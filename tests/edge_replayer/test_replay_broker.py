"""Whole replays through a real broker."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from edge_replayer.in_flight import InFlight
from edge_replayer.options import ReplayOptions
from edge_replayer.publisher import MqttPublisher
from edge_replayer.replay import replay
from streams.errors import StreamproofError, UsageError
from streams.run import load_run
from streams.settings import MqttSettings

START = 1_704_067_200_000
patiently = retry(
    retry=retry_if_exception_type(AssertionError), stop=stop_after_delay(30), wait=wait_fixed(0.05), reraise=True
)


class FlowStandIn:
    """A stand-in for the flow: keeps every row, and confirms it as the flow would, until told not to.

    Its session outlives a restart of the broker.
    """

    def __init__(self, settings: MqttSettings) -> None:
        self.rows: list[dict] = []
        self.confirms = True
        self.subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, "listener", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_message = lambda _c, _u, m: self.take([json.loads(line) for line in m.payload.split(b"\n")])
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.reconnect_delay_set(1, 1)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600
        # Mosquitto 2.0 saves only sessions that did not ask for a clean start.
        self.client.connect(settings.host, settings.port, clean_start=False, properties=properties)
        self.client.loop_start()
        self.client.subscribe("ratings/+", options=SubscribeOptions(qos=1))
        assert self.subscribed.wait(10)

    def take(self, rows: list[dict]) -> None:
        self.rows += rows
        first, last = rows[0], rows[-1]
        if self.confirms and first["seq"]:
            text = {"run": first["run"], "category": first["category"], "ranges": [[first["seq"], last["seq"]]]}
            topic = f"ratings/{first['category']}/confirmed/{first['run']}"
            self.client.publish(topic, json.dumps(text), qos=1)

    def of(self, run: str, category: str) -> list[dict]:
        return [row for row in list(self.rows) if (row["run"], row["category"]) == (run, category)]

    @patiently
    def wait_for_end(self, run: str, *categories: str) -> None:
        for category in categories:
            assert any(row["seq"] == -1 for row in self.of(run, category))


@pytest.fixture
def listener(broker):
    listener = FlowStandIn(broker.settings)
    yield listener
    listener.client.disconnect()
    listener.client.loop_stop()


def write(path: Path, rows: int) -> Path:
    path.write_text("".join(f"u{n},B{n % 7},{n % 5 + 1}.0,{n}\n" for n in range(1, rows + 1)))
    return path


def test_all_rows_arrive_in_order_with_their_envelope(broker, listener, home, ratings, tmp_path):
    files = {"Movies & TV": write(tmp_path / "a.csv", 5_000), "Ünï": write(tmp_path / "b.csv", 1_200)}
    options = ReplayOptions(
        contract=ratings, files=files, interval=Fraction(1003), start=START, clock="virtual", batch_rows=100
    )
    run = replay(options, home, broker.settings)
    listener.wait_for_end(run.run, *files)
    for category, count in (("Movies & TV", 5_000), ("Ünï", 1_200)):
        rows = [row for row in listener.of(run.run, category) if row["seq"] > 0]
        assert [row["seq"] for row in rows] == list(range(1, count + 1))
        assert [row["event_time"] for row in rows] == [START + (n - 1) * 1003 for n in range(1, count + 1)]
        assert [row["user_id"] for row in rows] == [f"u{n}" for n in range(1, count + 1)]
        assert all(row["low_watermark"] < row["event_time"] for row in rows)
        end = listener.of(run.run, category)[-1]
        last = START + 4_999 * 1003
        assert (end["seq"], end["event_time"], end["low_watermark"]) == (-1, last, last)
    marks = [row["low_watermark"] for row in listener.of(run.run, "Movies & TV")]
    assert marks == sorted(marks)


@pytest.mark.usefixtures("listener")
def test_the_manifest_says_what_was_sent_and_the_reject_file_what_was_not(broker, home, ratings, tmp_path):
    file = write(tmp_path / "a.csv", 10)
    file.write_bytes(file.read_bytes() + b'u,B,abc,1\n\xffu,B,1.0,1\n"a,b",B,x,1\n')
    options = ReplayOptions(contract=ratings, files={"A": file}, interval=Fraction(1000, 3), clock="virtual")
    run = replay(options, home, broker.settings)
    assert run == load_run(run.run, home)
    assert run.state == "finished"
    assert run.rows["A"].model_dump() == {"sent": 10, "confirmed": 10, "confirmed_to": 10, "rejected": 3, "resent": 0}
    assert (run.interval, run.pace, run.sources["A"].size) == (Fraction(1000, 3), "interval", file.stat().st_size)
    with (home.runs / run.run / "rejects-A.csv").open(newline="") as rejects:
        rows = list(csv.DictReader(rejects))
    assert [row["line"] for row in rows] == ["11", "12", "13"]
    assert [row["text"] for row in rows] == ["u,B,abc,1", "\\xffu,B,1.0,1", '"a,b",B,x,1']
    assert "'abc'" in rows[0]["reason"]
    with pytest.raises(UsageError, match="exists already"):
        replay(
            ReplayOptions(contract=ratings, files={"A": file}, interval=Fraction(1), run=run.run), home, broker.settings
        )


@pytest.mark.usefixtures("listener")
def test_sorting_by_time_leaves_nothing_but_the_manifest_behind(broker, home, ratings, tmp_path):
    options = ReplayOptions(
        contract=ratings, files={"A": write(tmp_path / "a.csv", 20_000)}, speed=Fraction(1), clock="virtual"
    )
    run = replay(options, home, broker.settings)
    assert run.rows["A"].confirmed == 20_000
    assert [path.name for path in (home.runs / run.run).iterdir()] == ["manifest.json"]


def test_a_broker_that_stops_and_comes_back_loses_nothing(broker, listener, home, ratings, tmp_path):
    options = ReplayOptions(
        contract=ratings,
        files={"A": write(tmp_path / "a.csv", 3_000), "B": write(tmp_path / "b.csv", 3_000)},
        interval=Fraction(1),
        batch_rows=10,
        batch_ms=10,
        in_flight=500,
        run="interrupted",
    )
    runs = []
    replaying = threading.Thread(target=lambda: runs.append(replay(options, home, broker.settings)))
    replaying.start()

    @patiently
    def some_rows_came() -> None:
        assert len(listener.rows) > 500

    some_rows_came()
    broker.stop()
    seen = len(listener.rows)
    assert seen < 6_000
    broker.start()
    replaying.join(60)
    assert runs[0].state == "finished"
    assert {c: counts.confirmed for c, counts in runs[0].rows.items()} == {"A": 3_000, "B": 3_000}
    listener.wait_for_end("interrupted", "A", "B")
    for category in "AB":
        assert {row["seq"] for row in listener.of("interrupted", category)} >= set(range(1, 3_001))


def test_ctrl_c_ends_the_run_with_true_counts_and_an_end_mark(broker, listener, home, tmp_path):
    environment = os.environ | {
        "STREAMPROOF_HOME": str(home.home),
        "STREAMPROOF_MQTT_PORT": str(broker.settings.port),
    }
    arguments = ["ratings", f"A={write(tmp_path / 'a.csv', 100)}", "--rate", "50", "--loop", "--run", "cut", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "edge_replayer", *arguments],
        cwd=Path(__file__).resolve().parents[2],
        env=environment,
        stdout=subprocess.PIPE,
    ) as replaying:

        @patiently
        def a_row_came() -> None:
            assert any(row["seq"] > 0 for row in listener.of("cut", "A"))

        a_row_came()
        replaying.send_signal(signal.SIGINT)
        result = json.loads(replaying.communicate(timeout=20)[0])
        assert replaying.returncode == 130
    listener.wait_for_end("cut", "A")
    sent = max(row["seq"] for row in listener.of("cut", "A"))
    run = load_run("cut", home)
    assert (run.state, run.rows["A"].sent, run.rows["A"].confirmed) == ("stopped", sent, sent)
    assert result["rows"]["A"] == run.rows["A"].model_dump()


def test_two_runs_at_once_keep_their_rows_apart(broker, listener, home, ratings, tmp_path):
    files = {"A": write(tmp_path / "a.csv", 2_000)}
    threads = [
        threading.Thread(
            target=replay,
            args=(
                ReplayOptions(contract=ratings, files=files, interval=Fraction(1), clock="virtual", run=run),
                home,
                broker.settings,
            ),
        )
        for run in ("one", "two")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for run in ("one", "two"):
        listener.wait_for_end(run, "A")
        counts = Counter(row["seq"] for row in listener.of(run, "A") if row["seq"] > 0)
        assert set(counts) == set(range(1, 2_001))


def test_a_broker_that_is_not_there_is_an_error_that_says_what_to_do(broker):
    broker.stop()
    with pytest.raises(StreamproofError, match=r"cannot be reached.*streamproof up"):
        MqttPublisher("ratings", "R", InFlight(["A"], 10), broker.settings, patience=1)


def test_a_wrong_password_is_told_at_once(broker, tmp_path):
    broker.stop()
    configuration = tmp_path / "broker" / "mosquitto.conf"
    configuration.write_text(configuration.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    broker.start()
    with pytest.raises(StreamproofError, match="STREAMPROOF_MQTT_PASSWORD"):
        MqttPublisher("ratings", "R", InFlight(["A"], 10), broker.settings)
