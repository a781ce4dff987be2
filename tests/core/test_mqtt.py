"""What is said of an MQTT broker that is away, or that is none."""

import socket

import pytest

from streamproof.core.errors import StreamproofError
from streamproof.core.mqtt import connected, new_client
from streamproof.core.settings import MqttSettings


def settings_of(port):
    return MqttSettings(host="127.0.0.1", port=port)


def test_a_broker_that_is_away_is_told_with_the_settings_that_name_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    mqtt = settings_of(port)
    with pytest.raises(StreamproofError, match=rf"127.0.0.1:{port} cannot be reached.*STREAMPROOF_MQTT_PORT"):
        connected(new_client(mqtt), mqtt).__enter__()


def test_a_server_that_says_nothing_is_told():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mqtt = settings_of(silent.getsockname()[1])
        with pytest.raises(StreamproofError, match="does not answer: is it MQTT"):
            connected(new_client(mqtt), mqtt, "topic", seconds=0.2).__enter__()
