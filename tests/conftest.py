"""What tests share: one stack for each process that tests, on free ports and with data of its own; and a browser.

Tests are run by three processes side by side where the machine allows it. One has the tests that strike its servers
(``faults``), another all that need servers which work. Both wait for servers most of the time, so a third begins with
the others; whoever is free takes one of those.
"""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import psutil
import pytest
from checkout import CHECKOUT
from free_ports import free_ports

from streamproof.core.errors import StreamproofError
from streamproof.core.settings import FlinkSettings, HomeSettings, KafkaSettings, MqttSettings, NifiSettings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from streamproof.stack.servers import Stack

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would the commands that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What ends a run that takes too long sends SIGTERM: then, too, no server may be left behind.
signal.signal(signal.SIGTERM, signal.default_int_handler)

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
hypothesis.settings.load_profile("busy")

# What was downloaded once serves the homes of all tests.
os.environ.setdefault("STREAMPROOF_CACHE", str(CHECKOUT / ".streamproof" / "cache"))

SHARED_DATA = CHECKOUT.parent / "shared" / "data"
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_BROWSER_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


C1_ONLY = "-XX:TieredStopAtLevel=1"
"""Servers of tests start often and live for minutes: code that is compiled for long runs would not pay."""

FOLDER = "STREAMPROOF_TESTS"
"""Environment variable: the folder that belongs to one run of the tests."""

STACK_MEMORY = 6 * 1024**3
"""Bytes that must be free for each process that tests: its stack takes up to 4 GB, its browser and clients the rest."""


def pytest_configure(config: pytest.Config) -> None:
    """Choose the folder for the homes of all stacks; the processes that test inherit its name, and theirs as well."""
    if not hasattr(config, "workerinput"):
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="streamproof-test-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what an interrupted run has left behind: its processes bear the folder's name in their environment."""
    if hasattr(config, "workerinput"):
        return
    folder = os.environ.pop(FOLDER)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(FOLDER) == folder:
                process.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One for each of two stacks and one for the rest, on a machine that has the cores and the memory for them."""
    stacks = min(2, psutil.cpu_count() or 1, psutil.virtual_memory().available // STACK_MEMORY)
    return 3 if stacks == 2 else 1


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let one process do all tests that share a stack; a kept stack is shared by all."""
    if "servers" in getattr(item, "fixturenames", ()):
        is_fault = item.get_closest_marker("faults") and not os.environ.get("STREAMPROOF_TEST_HOME")
        item.add_marker(pytest.mark.xdist_group("faults" if is_fault else "servers"))


@dataclass(frozen=True)
class Servers:
    """Where the running stack is; the environment says the same, so commands in subprocesses find it too."""

    home: HomeSettings
    mqtt: MqttSettings
    kafka: KafkaSettings
    nifi: NifiSettings
    flink: FlinkSettings


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Start the whole stack, with its supervisor; stop it and remove its data after the last test.

    With STREAMPROOF_TEST_HOME set, the stack of that home is used (started if need be) and left running, so that
    a developer need not wait for it at each run; its addresses then come from the environment as usual.
    """
    from streamproof.chain.start_servers import extensions_folder, start_servers
    from streamproof.stack.servers import Stack

    kept = os.environ.get("STREAMPROOF_TEST_HOME")
    with ExitStack() as cleanup:
        environment = cleanup.enter_context(pytest.MonkeyPatch.context())
        if kept:
            environment.setenv("STREAMPROOF_HOME", kept)
            environment.delenv(FOLDER)  # what this run ends does not belong to it
        else:
            home = tempfile.mkdtemp(dir=os.environ[FOLDER])
            mqtt, kafka, controller, nifi, management, flink, rpc, postgres = free_ports(8)
            for name, value in {
                "STREAMPROOF_HOME": home,
                "STREAMPROOF_MQTT_PORT": mqtt,
                "STREAMPROOF_KAFKA_SERVERS": f"127.0.0.1:{kafka}",
                "STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT": controller,
                "NIFI_API_ENDPOINT": f"http://127.0.0.1:{nifi}/nifi-api",
                "STREAMPROOF_STACK_NIFI_MANAGEMENT_PORT": management,
                "STREAMPROOF_FLINK_JOBMANAGER": f"127.0.0.1:{flink}",
                "STREAMPROOF_STACK_FLINK_RPC_PORT": rpc,
                "STREAMPROOF_POSTGRES_PORT": postgres,
                "STREAMPROOF_STACK_JAVA_OPTIONS": C1_ONLY,
            }.items():
                environment.setenv(name, str(value))
        stack = Stack.from_environment()
        if not kept:
            cleanup.callback(stack.down)
        try:
            start_servers(stack, extensions_folder())
        except StreamproofError:
            tell_of(stack)
            raise
        yield Servers(HomeSettings(), MqttSettings(), KafkaSettings(), NifiSettings(), FlinkSettings())
        if request.session.testsfailed:
            tell_of(stack)


def tell_of(stack: "Stack") -> None:
    """Print the servers' own account, which goes with them: some failures cannot be understood without it."""
    from streamproof.stack.servers import SUPERVISOR

    for part in stack.status():
        print(part)
    print(stack.last_words(SUPERVISOR))
    for log in sorted((HomeSettings().home / "logs").glob("*.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        warnings = [line for line in lines if re.search(r" (WARN|ERROR) +(?! |MetricGroup)|^Caused by", line)]
        print(log.name, *warnings[-30:], sep="\n  ")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    if _CHROMIUM is None:
        pytest.fail("there is no Chromium: `make test-setup` installs it, or says what to type")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=[*_BROWSER_OPTIONS])
        yield browser
        browser.close()


@pytest.fixture
def shared_data(request: pytest.FixtureRequest) -> Path:
    """The folder of real data files beside the checkout; tests that need one are skipped, by name, without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{request.node.name} needs the real data files in {SHARED_DATA}")
    return SHARED_DATA
