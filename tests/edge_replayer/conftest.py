"""A broker of the replayer's own tests: one that a test may stop and start again."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_stand_in import FlowStandIn
from free_ports import free_ports
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from waiting import PATIENCE

from streamproof.core.contract import Contract, load_contract
from streamproof.core.settings import HomeSettings, MqttSettings


class Broker:
    def __init__(self, program: Path, folder: Path) -> None:
        self.settings = MqttSettings(host="127.0.0.1", port=free_ports(1)[0])
        self._program = program
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(
            f"listener {self.settings.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\nmax_queued_bytes 0\n"
        )
        libraries = ":".join(str(p) for p in program.parents[1].glob("lib/*-linux-gnu"))
        self._environment = os.environ | {"LD_LIBRARY_PATH": libraries}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(self._program), "-c", str(self._configuration)]
        self._process = subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL)
        self._wait_until_it_answers()

    @retry(retry=retry_if_exception_type(OSError), stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.05), reraise=True)
    def _wait_until_it_answers(self) -> None:
        socket.create_connection((self.settings.host, self.settings.port)).close()

    def stop(self, *, at_once: bool = False) -> None:
        if self._process:
            self._process.kill() if at_once else self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    from streamproof.stack.mosquitto import find_mosquitto

    program = find_mosquitto(HomeSettings().cache)
    if program is None:
        pytest.skip("Mosquitto is not installed: run `make setup`")
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(program, folder)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def listener(broker: Broker) -> Iterator[FlowStandIn]:
    listener = FlowStandIn(broker.settings)
    yield listener
    listener.client.disconnect()
    listener.client.loop_stop()


@pytest.fixture(scope="session")
def ratings() -> Contract:
    return load_contract("ratings")


@pytest.fixture
def home(tmp_path: Path) -> HomeSettings:
    return HomeSettings(home=tmp_path / "home")
