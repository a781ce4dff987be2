"""Before anything starts: addresses, ports, programs and memory are checked, and the message says what to change."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import FlinkSettings
from streamproof.stack.artifacts import Store
from streamproof.stack.flink import flink_parts
from streamproof.stack.java import java_command
from streamproof.stack.mosquitto import install_mosquitto
from streamproof.stack.servers import Stack
from streamproof.stack.settings import StackSettings, loopback_address


@pytest.mark.parametrize("address", ["127.0.0.1:29092", "localhost:29092", "127.0.0.9:29092", "[::1]:29092"])
def test_an_address_on_loopback_is_accepted(address):
    assert loopback_address(address, "SETTING").port == 29092


@pytest.mark.parametrize("address", ["0.0.0.0:29092", "10.0.0.7:29092", "kafka.example:29092"])
def test_an_address_elsewhere_is_refused_with_its_setting(address):
    with pytest.raises(UsageError, match=r"STREAMPROOF_KAFKA_SERVERS=.*loopback only"):
        loopback_address(address, "STREAMPROOF_KAFKA_SERVERS")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:1,127.0.0.1:2", "127.0.0.1:99999"])
def test_what_is_not_one_address_is_refused(address):
    with pytest.raises(UsageError, match="write one host:port"):
        loopback_address(address, "SETTING")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("STREAMPROOF_MQTT_HOST", "10.0.0.7"),
        ("STREAMPROOF_KAFKA_SERVERS", "10.0.0.7:29092"),
        ("NIFI_API_ENDPOINT", "http://10.0.0.7:28080/nifi-api"),
        ("NIFI_API_ENDPOINT", "https://127.0.0.1:28443/nifi-api"),
        ("STREAMPROOF_FLINK_JOBMANAGER", "10.0.0.7:28081"),
    ],
)
def test_up_refuses_servers_elsewhere(own_environment, monkeypatch, setting, value):
    monkeypatch.setenv(setting, value)
    with pytest.raises(UsageError, match="leave `up` out"):
        Stack.from_environment().up()
    assert not list(own_environment.glob("stack/*.json"))


def test_a_taken_port_is_named_with_its_owner_and_the_setting_that_changes_it(own_stack):
    port = int(os.environ["STREAMPROOF_MQTT_PORT"])
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StreamproofError) as raised:
        own_stack.up(parts=("mosquitto",))
    text = str(raised.value)
    assert f"port {port} on 127.0.0.1 is taken" in text
    assert f"pid {os.getpid()}" in text
    assert "STREAMPROOF_MQTT_PORT" in text
    assert own_stack.processes.record("mosquitto") is None


def flinks_ports():
    parts = flink_parts(Path(), Path(), Store(Path()), FlinkSettings(), StackSettings())
    return {part.name: [address.port for address in part.addresses] for part in parts}


@pytest.mark.usefixtures("own_environment")
def test_each_process_of_flink_has_a_port_for_its_metrics_only_where_the_setting_says_so(monkeypatch):
    monkeypatch.delenv("STREAMPROOF_STACK_FLINK_METRICS_PORT", raising=False)
    plain = flinks_ports()
    assert (len(plain["jobmanager"]), plain["taskmanager-1"], plain["taskmanager-2"]) == (2, [], [])
    monkeypatch.setenv("STREAMPROOF_STACK_FLINK_METRICS_PORT", "29249")
    assert flinks_ports() == {
        "jobmanager": [*plain["jobmanager"], 29249],
        "taskmanager-1": [29250],
        "taskmanager-2": [29251],
    }


@pytest.mark.usefixtures("own_environment")
def test_a_taken_port_of_flinks_metrics_is_told_whatever_address_it_is_taken_on(monkeypatch):
    with socket.create_server(("127.0.0.9", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("STREAMPROOF_STACK_FLINK_METRICS_PORT", str(port - 1))
        with pytest.raises(StreamproofError, match=rf"port {port} .* taken .*STREAMPROOF_STACK_FLINK_METRICS_PORT"):
            Stack.from_environment().up(parts=("taskmanager-1",))


def test_one_port_for_two_parts_is_refused(own_environment, monkeypatch):
    monkeypatch.setenv("STREAMPROOF_STACK_FLINK_RPC_PORT", os.environ["STREAMPROOF_MQTT_PORT"])
    with pytest.raises(UsageError, match="STREAMPROOF_MQTT_PORT and STREAMPROOF_STACK_FLINK_RPC_PORT both name"):
        Stack.from_environment().up()
    assert own_environment.is_dir()


def test_too_little_memory_is_told_before_anything_starts(own_stack, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * 1024 * 1024))
    with pytest.raises(
        StreamproofError, match=r"too little memory: mosquitto, kafka need about .* 100 MB are available"
    ):
        own_stack.up(parts=("mosquitto", "kafka"))
    assert not any(status.pid for status in own_stack.status())


def test_a_java_home_without_java_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"STREAMPROOF_STACK_JAVA_HOME=.*: expected the home of a Java 21"):
        StackSettings(java_home=tmp_path)


def test_without_mosquitto_and_without_apt_the_command_to_type_is_told(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("streamproof.stack.mosquitto._OUTSIDE_PATH", ())
    with pytest.raises(UsageError, match="brew install mosquitto"):
        install_mosquitto(tmp_path)


def test_an_unknown_part_is_refused(own_stack):
    with pytest.raises(UsageError, match="there is no part 'zookeeper': name one of mosquitto, kafka"):
        own_stack.up(parts=("zookeeper",))


def test_more_options_for_every_java_stand_among_its_own():
    command = java_command(
        StackSettings(java_options="-XX:TieredStopAtLevel=1 '-Dname=two words'"), 300, "-cp", "a.jar"
    )
    assert command[1:] == [
        "-Xmx300m", "-XX:+UseSerialGC", "-Djava.awt.headless=true", "-XX:TieredStopAtLevel=1", "-Dname=two words",
        "-cp", "a.jar",
    ]  # fmt: skip
