"""Whole replays through a real broker."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest
from checkout import CHECKOUT
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from waiting import PATIENCE

from edge_replayer.in_flight import InFlight
from edge_replayer.options import ReplayOptions
from edge_replayer.publisher import MqttPublisher
from edge_replayer.replay import replay, resume
from streamproof.core.contract import load_contract
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.mqtt import connected, new_client
from streamproof.core.run import load_run
from streamproof.core.settings import MqttSettings

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
        self.has_rows = threading.Event()
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
        assert self.subscribed.wait(PATIENCE)

    def take(self, rows: list[dict]) -> None:
        self.rows += rows
        first, last = rows[0], rows[-1]
        if first["seq"]:
            self.has_rows.set()
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
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
    ) as replaying:

        @patiently
        def a_row_came() -> None:
            assert any(row["seq"] > 0 for row in listener.of("cut", "A"))

        a_row_came()
        replaying.send_signal(signal.SIGINT)
        result = json.loads(replaying.communicate(timeout=PATIENCE)[0])
        assert replaying.returncode == 130
    listener.wait_for_end("cut", "A")
    sent = max(row["seq"] for row in listener.of("cut", "A"))
    run = load_run("cut", home)
    assert (run.state, run.rows["A"].sent, run.rows["A"].confirmed) == ("stopped", sent, sent)
    assert result["rows"]["A"] == run.rows["A"].model_dump()


def test_no_more_messages_are_on_the_wire_than_the_broker_takes_and_none_overtakes_another(
    broker, listener, home, tmp_path, monkeypatch
):
    unacknowledged, publish = [], MqttPublisher._publish

    def watched(self, *message):
        unacknowledged.append(len(self._waiting))
        publish(self, *message)

    monkeypatch.setattr(MqttPublisher, "_publish", watched)
    file = tmp_path / "books.csv"
    file.write_text("".join(f"u,p{i},5.0,1\n" for i in range(3000)))
    options = ReplayOptions(
        contract=load_contract("ratings"),
        files={"Books": file},
        interval=Fraction(1),
        clock="virtual",
        batch_rows=1,
        run="narrow",
    )
    run = replay(options, home, broker.settings)
    assert (run.state, run.rows["Books"].confirmed, run.rows["Books"].resent) == ("finished", 3000, 0)
    assert [row["seq"] for row in listener.of("narrow", "Books") if row["seq"] > 0] == [*range(1, 3001)]
    assert max(unacknowledged) == 19  # this broker says that it takes 20


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
    with (
        pytest.raises(StreamproofError, match="STREAMPROOF_MQTT_PASSWORD"),
        connected(new_client(broker.settings), broker.settings),
    ):
        pass


def publisher_of(broker, run, category):
    return MqttPublisher("ratings", run, InFlight([category], 10), broker.settings)


def test_runs_and_categories_that_read_alike_do_not_take_each_others_connection(broker, capfd):
    with (
        closing(publisher_of(broker, "load", "1-Books")) as one,
        closing(publisher_of(broker, "load-1", "Books")) as two,
    ):
        assert (one.is_connected(), two.is_connected()) == (True, True)
    assert capfd.readouterr().err == ""


def test_a_second_process_that_sends_a_run_of_the_same_id_is_refused_and_the_first_goes_on(broker, capfd):
    with closing(publisher_of(broker, "mine", "A")) as first:
        with pytest.raises(StreamproofError, match="a run mine is being sent by another process, over the MQTT broker"):
            publisher_of(broker, "mine", "B")
        first.check()
        assert first.is_connected()
        assert first._waiting == {}  # what they said is acknowledged, and nothing else
        publisher_of(broker, "yours", "A").close()
    publisher_of(broker, "mine", "A").close()
    assert capfd.readouterr().err == ""


def killed(broker, listener, home, arguments: list[str], rows: int) -> None:
    """Replay in a process of its own, and kill it when so many rows came."""
    environment = os.environ | {"STREAMPROOF_HOME": str(home.home), "STREAMPROOF_MQTT_PORT": str(broker.settings.port)}
    command = [sys.executable, "-m", "edge_replayer", "ratings", *arguments]
    with subprocess.Popen(command, cwd=CHECKOUT, env=environment) as replaying:

        @patiently
        def rows_came() -> None:
            assert len(listener.rows) >= rows

        rows_came()
        replaying.kill()


PACES = {
    "interval": ["--interval", "1.5ms", "--clock", "virtual", "--start", "2024-01-01T00:00:00Z"],
    "now": ["--rate", "1000"],
    "loop": ["--rate", "max", "--loop", "--limit", "2500"],
    "file": ["--speed", "1000", "--limit", "2500"],
    "file with a start": ["--speed", "1000", "--start", "2024-01-01T00:00:00Z"],
}


@pytest.mark.parametrize("pace", PACES)
def test_a_killed_run_goes_on_with_the_same_numbers_and_event_times(broker, listener, home, tmp_path, pace):
    # Only the first rows are confirmed, so the second process must send what the first one sent already.
    confirm = listener.take
    listener.take = lambda rows: confirm(rows) if rows[-1]["seq"] <= 300 else listener.rows.extend(rows)
    files = [f"{c}={write(tmp_path / f'{c}.csv', 3_000)}" for c in "AB"]
    killed(
        broker, listener, home, [*files, *PACES[pace], "--run", "R", "--batch-rows", "50", "--in-flight", "1500"], 900
    )
    before = load_run("R", home)
    assert before.state == "running"
    listener.take = confirm
    first = list(listener.rows)
    run = resume("R", home, broker.settings)
    assert run.state == "finished"
    sent = run.rows["A"].sent
    assert sent == (2_500 if "--limit" in PACES[pace] else 3_000)
    assert run.rows["A"].confirmed == run.rows["A"].confirmed_to == sent
    assert run.rows["A"].resent > 0
    second = listener.rows[len(first) :]
    for category in "AB":
        done = before.rows[category].confirmed_to
        mine = [row for row in second if row["category"] == category and row["seq"] > 0]
        assert {row["seq"] for row in mine} >= set(range(done + 1, sent + 1))
        rows = [row for row in listener.rows if row["category"] == category and row["seq"] > 0]
        assert {row["seq"] for row in rows} == set(range(1, sent + 1))
        # Copies of a row differ in nothing but the low watermark.
        assert len({tuple(v for k, v in row.items() if k != "low_watermark") for row in rows}) == sent
        assert all(row["low_watermark"] < row["event_time"] for row in rows)
    unconfirmed = min(row["event_time"] for row in second if row["seq"] > before.rows[row["category"]].confirmed_to)
    # The killed process's last messages may still arrive; then the new one begins with a heartbeat.
    assert unconfirmed - 1 in [row["low_watermark"] for row in second if row["seq"] == 0]


def three_seconds(tmp_path: Path) -> ReplayOptions:
    files = {"A": write(tmp_path / "a.csv", 150)}
    return ReplayOptions(contract=load_contract("ratings"), files=files, interval=Fraction(20), run="R", batch_rows=5)


def test_a_run_stopped_with_unconfirmed_rows_goes_on(broker, listener, home, tmp_path, monkeypatch):
    monkeypatch.setattr("edge_replayer.sender._PATIENCE_AFTER_STOP", 0.2)
    listener.confirms = False
    stop = listener.has_rows
    run = replay(three_seconds(tmp_path), home, broker.settings, stop)
    assert (run.state, run.ended, run.rows["A"].confirmed) == ("stopped", False, 0)
    sent = run.rows["A"].sent
    assert 0 < sent < 150
    listener.confirms = True
    # Stopped again, before what the first process sent is sent again: there still must be no end mark.
    run = resume("R", home, broker.settings, stop)
    assert (run.state, run.ended, run.rows["A"].sent) == ("stopped", False, sent)
    run = resume("R", home, broker.settings)
    assert (run.state, run.ended, run.rows["A"].sent, run.rows["A"].confirmed) == ("finished", True, 150, 150)
    assert [row["seq"] for row in listener.of("R", "A")][-1] == -1


def test_a_run_whose_end_is_marked_does_not_go_on(broker, listener, home, tmp_path):
    run = replay(three_seconds(tmp_path), home, broker.settings, listener.has_rows)
    assert (run.state, run.ended) == ("stopped", True)
    with pytest.raises(UsageError, match="its end is marked"):
        resume("R", home, broker.settings)


def test_a_run_does_not_go_on_with_another_file(broker, listener, home, tmp_path):
    file = write(tmp_path / "a.csv", 3_000)
    killed(broker, listener, home, [f"A={file}", "--rate", "500", "--run", "R"], 50)
    content = file.read_text()
    file.write_text(content.replace("u2999,", "u2998,"))
    with pytest.raises(UsageError, match=r"a\.csv \(A\) has changed"):
        resume("R", home, broker.settings)
    file.unlink()
    with pytest.raises(UsageError, match=r"a\.csv \(A\) is gone: put the file there again, or a link to it"):
        resume("R", home, broker.settings)
    (tmp_path / "moved.csv").write_text(content)
    file.symlink_to(tmp_path / "moved.csv")
    assert resume("R", home, broker.settings).rows["A"].sent == 3_000
    with pytest.raises(UsageError, match="there is no run 'S'"):
        resume("S", home, broker.settings)


def test_without_a_flow_the_run_says_what_to_look_at_and_ctrl_c_ends_it(broker, home, tmp_path):
    environment = os.environ | {"STREAMPROOF_HOME": str(home.home), "STREAMPROOF_MQTT_PORT": str(broker.settings.port)}
    arguments = ["ratings", f"A={write(tmp_path / 'a.csv', 100)}", "--rate", "max", "--run", "R"]
    with subprocess.Popen(
        [sys.executable, "-m", "edge_replayer", *arguments],
        cwd=CHECKOUT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as replaying:
        said = ""
        while "streamproof flow status ratings" not in said:
            said += replaying.stderr.readline()
        replaying.send_signal(signal.SIGINT)
        said += replaying.communicate(timeout=PATIENCE)[1]
        assert replaying.returncode == 130
    assert "nobody subscribes to ratings/A" in said
    assert "nothing was confirmed for 10 s" in said
    assert "--resume R" in said
    assert (load_run("R", home).state, load_run("R", home).ended) == ("stopped", False)


def test_with_the_brokers_word_for_it_a_run_is_finished_though_nobody_confirms(broker, home, tmp_path):
    (tmp_path / "a.csv").write_text("".join(f"u,p{n},1.0,{n}\n" for n in range(100)))
    options = ReplayOptions(
        contract=load_contract("ratings"),
        files={"A": tmp_path / "a.csv"},
        interval=Fraction(1),
        clock="virtual",
        run="R",
        confirm="broker",
    )
    run = replay(options, home, broker.settings)
    assert (run.state, run.confirm) == ("finished", "broker")
    assert (run.rows["A"].sent, run.rows["A"].confirmed) == (100, 100)
