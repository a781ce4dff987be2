"""A stack of its own for a test, with its own home and ports, of which a test starts a few cheap parts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from free_ports import free_ports

from streamproof.core.settings import FlinkSettings, HomeSettings, KafkaSettings, MqttSettings, NifiSettings
from streamproof.stack.servers import Stack
from streamproof.stack.settings import StackSettings


@pytest.fixture
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every address to a free port and the home to an empty folder; the downloads stay shared."""
    mqtt, kafka, controller, nifi, flink, rpc = free_ports(6)
    for name, value in {
        "STREAMPROOF_HOME": tmp_path / "home",
        "STREAMPROOF_MQTT_PORT": mqtt,
        "STREAMPROOF_KAFKA_SERVERS": f"127.0.0.1:{kafka}",
        "STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT": controller,
        "NIFI_API_ENDPOINT": f"http://127.0.0.1:{nifi}/nifi-api",
        "STREAMPROOF_FLINK_JOBMANAGER": f"127.0.0.1:{flink}",
        "STREAMPROOF_STACK_FLINK_RPC_PORT": rpc,
        "STREAMPROOF_STACK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
    }.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path / "home"


@pytest.fixture
def own_stack(own_environment: Path) -> Iterator[Stack]:
    assert HomeSettings().home == own_environment
    stack = Stack(
        home=HomeSettings(),
        mqtt=MqttSettings(),
        kafka=KafkaSettings(),
        nifi=NifiSettings(),
        flink=FlinkSettings(),
        settings=StackSettings(),
    )
    yield stack
    stack.down()
