"""What servers say of themselves: those that this machine's stack does not run, and a job that has finished."""

import socket
from types import SimpleNamespace

import pytest

from streamproof.chain import ask_servers
from streamproof.chain.ask_servers import questions
from streamproof.chain.health import Answer


@pytest.fixture
def listening(monkeypatch, tmp_path):
    monkeypatch.setenv("STREAMPROOF_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_elsewhere_is_up_when_one_of_its_places_accepts_connections(listening, monkeypatch):
    monkeypatch.setenv("STREAMPROOF_KAFKA_SERVERS", f"127.0.0.1:1,127.0.0.1:{listening}")
    monkeypatch.setenv("NIFI_API_ENDPOINT", f"http://127.0.0.1:{listening}/nifi-api")
    monkeypatch.setenv("STREAMPROOF_MQTT_PORT", "1")
    monkeypatch.setenv("STREAMPROOF_FLINK_JOBMANAGER", "127.0.0.1:1")
    found = {part: asked.works(None).is_up for part, asked in questions().items()}
    assert found == {"Mosquitto": False, "NiFi": True, "Kafka": True, "Flink": False}


def test_of_a_finished_job_nothing_is_said_of_rows_that_it_never_has_to_read(monkeypatch):
    run = SimpleNamespace(run="r", contract=SimpleNamespace(name="ratings"), state="finished")
    job = SimpleNamespace(flink_ids=["a"], state="finished", late_rows=None)
    monkeypatch.setattr(ask_servers, "reader_of", lambda *_: job)
    monkeypatch.setattr(ask_servers, "_behind", lambda _: 6_303_680)
    cluster = SimpleNamespace(states=lambda: {"a": "FINISHED"})
    assert ask_servers._job(cluster, run) == Answer(is_up=True, says="job finished", figures=(("late", "unknown"),))
    job.late_rows = 3
    assert ask_servers._job(cluster, run).figures == (("late", "3"),)
    job.state = "running"
    down = ask_servers._job(cluster, run)
    assert (down.is_up, down.lacks, down.figures) == (False, "job down", (("records behind", "6,303,680"),))
