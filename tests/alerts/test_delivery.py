"""Alerts are told at least once, whoever is away and whatever is killed, and a receipt says so."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from free_ports import free_ports
from typer.testing import CliRunner
from waiting import until

from streamproof.alerts.outbox import Outbox
from streamproof.alerts.receivers import File, message, receiver_at
from streamproof.cli import app
from streamproof.core.errors import UsageError
from streamproof.core.topics import ensure_topics
from validation.alert_events import parse_event

TOPIC = "ratings.alerts"


def event(number, run="r", state="firing"):
    """An event as the alerter writes it."""
    return {
        "job": "j", "question": "surges@0123456789ab", "run": run, "window_start": "2024-01-01T00:00:00Z",
        "window_end": "2024-01-01T00:00:30Z", "window_size": 30000, "window_slide": 10000, "window_kind": "sliding",
        "product_id": f"p{number}", "times": number, "alert": True, "alert_id": f"{number:016x}",
        "alert_state": state, "alert_begin": "2024-01-01T00:00:30Z", "alert_number": 0, "alert_key": ["product_id"],
        "alert_title": "Which products surge?", "alert_from": ["ratings.surges/0/1"],
    }  # fmt: skip


def parsed(*arguments, **options):
    return parse_event(json.dumps(event(*arguments, **options)).encode())


class Webhook:
    """A receiver on the web: what it was posted, and what it does before it answers."""

    def __init__(self, port):
        self.posted, self.before_answering = [], lambda: None
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                webhook.posted.append(body["title"].rpartition("[")[2].rstrip("]"))
                webhook.before_answering()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def delivering(home, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "streamproof", "alert", "deliver", *arguments],
        env=os.environ | {"STREAMPROOF_HOME": str(home)},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def run(servers):
    ensure_topics([TOPIC], servers.kafka)
    return f"deliver-{uuid4().hex[:8]}"


def write(servers, *events):
    producer = Producer({"bootstrap.servers": servers.kafka.servers})
    for each in events:
        producer.produce(TOPIC, json.dumps(each), key=each["alert_id"])
    assert producer.flush(20) == 0


@pytest.mark.parametrize("away", [0, pytest.param(60, marks=pytest.mark.long)])
def test_each_alert_arrives_though_its_receiver_is_away_and_the_deliverer_is_killed_before_the_receipt(
    servers, run, tmp_path, away
):
    (port,) = free_ports(1)
    file, outbox = tmp_path / "alerts.jsonl", Outbox(tmp_path / "alerts" / "outbox.sqlite")
    arguments = ("--to", f"json://user:secret@127.0.0.1:{port}", "--to", str(file), "--run", run)
    write(servers, *(event(n, run) for n in range(5)), event(5, run, "pending"), event(6, "another"))

    def in_file():
        return [json.loads(line)["id"] for line in file.read_text().splitlines()] if file.exists() else []

    with delivering(tmp_path, *arguments) as process:
        until(lambda: sum(r.delivered_at is not None for r in outbox.receipts()) == 5)  # nobody waits for who is away
        assert len(in_file()) == 5
        until(lambda: any(r.problem for r in outbox.receipts() if r.receiver.startswith("json")))
        time.sleep(away)
        webhook = Webhook(port)
        webhook.before_answering = lambda: process.send_signal(signal.SIGKILL)
        until(lambda: process.poll() is not None)
    assert len(webhook.posted) == 1
    assert sum(r.delivered_at is None for r in outbox.receipts()) == 5
    webhook.before_answering = lambda: None
    with delivering(tmp_path, *arguments) as process:
        until(lambda: all(r.delivered_at for r in outbox.receipts()))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    webhook.close()
    ids = {event(n)["alert_id"] for n in range(5)}
    assert set(webhook.posted) == ids
    assert len(webhook.posted) == 6  # the first one twice, with the same id
    assert webhook.posted[0] == webhook.posted[1]
    assert sorted(in_file()) == sorted(ids)
    receipts = outbox.receipts(run)
    assert len(receipts) == 10
    assert not any("secret" in r.receiver for r in receipts)

    said = CliRunner().invoke(app, ["alert", "receipts", run, "--json"], env={"STREAMPROOF_HOME": str(tmp_path)})
    assert {r["delivered_at"] is not None for r in json.loads(said.stdout)["receipts"]} == {True}


def test_a_receiver_of_all_runs_is_told_of_what_comes_from_its_first_start_on(servers, run, tmp_path):
    file, outbox = tmp_path / "alerts.jsonl", Outbox(tmp_path / "alerts" / "outbox.sqlite")
    write(servers, event(1, run))
    with delivering(tmp_path, "--to", str(file)):
        until(lambda: outbox.places(str(file), ""))
        write(servers, event(2, run))
        until(lambda: any(r.delivered_at for r in outbox.receipts(run)))  # else it is told of it again
    write(servers, event(3, run))
    with delivering(tmp_path, "--to", str(file)):
        until(lambda: len(outbox.receipts(run)) == 2 and all(r.delivered_at for r in outbox.receipts(run)))
    mine = [e for e in map(json.loads, file.read_text().splitlines()) if e["run"] == run]
    assert [e["key"]["product_id"] for e in mine] == ["p2", "p3"]


def test_the_outbox_notes_an_event_once_for_each_receiver_and_gives_it_out_until_its_receipt(tmp_path):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.note(["a", "b"], "", [parsed(1), parsed(2)], {("t", 0): 2})
    outbox.note(["a"], "", [parsed(2), parsed(3)], {("t", 0): 3})
    assert [outbox.waiting(name) for name in "ab"] == [3, 2]
    assert (outbox.places("a", ""), outbox.places("b", "")) == ({("t", 0): 3}, {("t", 0): 2})
    told = []
    while waiting := outbox.first("a"):
        outbox.fail(waiting.place, "away")
        assert outbox.first("a").event.id == waiting.event.id
        outbox.deliver(waiting.place)
        told.append(waiting.event)
    assert told == [parsed(1), parsed(2), parsed(3)]
    assert [(r.receiver, r.tries, bool(r.delivered_at)) for r in outbox.receipts()] == [
        ("a", 2, True), ("a", 2, True), ("b", 0, False), ("b", 0, False), ("a", 2, True),
    ]  # fmt: skip


def test_a_line_that_was_left_unfinished_does_not_spoil_the_next(tmp_path):
    file = File(tmp_path / "alerts.jsonl")
    file.path.write_text('{"id": "torn')
    assert file.tell(parsed(1)) is None
    assert [line.startswith("{") for line in file.path.read_text().splitlines()] == [True, True]
    assert json.loads(file.path.read_text().splitlines()[1])["id"] == parsed(1).id
    assert File(tmp_path / "no" / "such.jsonl").tell(parsed(1)) == "No such file or directory"


def test_a_message_names_state_key_values_window_and_id():
    title, body = message(parsed(7))
    assert title == "firing: surges p7 [0000000000000007]"
    assert body.splitlines() == [
        "Which products surge?",
        "product_id: p7",
        "times: 7",
        "window: 2024-01-01T00:00:00Z to 2024-01-01T00:00:30Z",
        "since: 2024-01-01T00:00:30Z",
        "run: r",
        "alert: 0000000000000007",
    ]


@pytest.mark.parametrize("url", ["nosuch://host", "slack://x"])
def test_a_service_that_apprise_does_not_know_or_whose_url_lacks_something_is_refused(url):
    with pytest.raises(UsageError, match="apprise knows no such service"):
        receiver_at(url)


def test_a_receiver_is_named_without_its_secrets_and_two_of_one_place_apart():
    names = [receiver_at(f"json://user:{secret}@127.0.0.1:1/x").name for secret in ("one", "two")]
    assert len(set(names)) == 2
    assert not any(secret in name for name in names for secret in ("one", "two"))
