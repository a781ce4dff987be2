"""Servers that this machine's stack does not run are asked at their addresses."""

import socket

import pytest

from streamproof.chain.ask_servers import questions


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
