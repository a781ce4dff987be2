"""A run on the real servers, the page that shows it, and a browser."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect
from served_page import served_page
from waiting import PATIENCE

from flink_jobs.cluster import Cluster
from flink_jobs.submission import JobOptions, submit
from nifi_templates.deployment import deploy
from streamproof.core.contract import load_contract
from streamproof.core.question import load_question
from streamproof.core.window import Window
from streamproof.generator.make import make

expect.set_options(timeout=PATIENCE * 1000)


QUESTIONS = ("rating_averages", "rating_spread", "rating_histogram")


class Replayed:
    """A run that is being replayed by a process of its own, followed by a job that answers three questions."""

    def __init__(self, folder: Path, rate: str, rows: int) -> None:
        self.run = f"page-{uuid4().hex[:8]}"
        files = make("ratings", 2 * rows, folder, categories=("Books", "Music")).files
        questions = [load_question(name).with_window(Window(4000, 2000)) for name in QUESTIONS]
        self.job = submit(questions, JobOptions(run=self.run)).job
        sources = [f"{category}={file}" for category, file in files.items()]
        command = [
            sys.executable,
            "-m",
            "streamproof",
            "replay",
            "ratings",
            *sources,
            "--rate",
            rate,
            "--run",
            self.run,
        ]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def end(self) -> None:
        """End the run as Ctrl-C does: what was sent is confirmed, then the end is marked."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def flow(servers, browser) -> None:  # noqa: ARG001 - no servers without a browser
    deploy(load_contract("ratings"), nifi=servers.nifi)


@pytest.fixture(scope="module")
def live(flow, tmp_path_factory) -> Iterator[Replayed]:  # noqa: ARG001 - deployed before rows are sent
    replayed = Replayed(tmp_path_factory.mktemp("live"), rate="20", rows=20_000)
    yield replayed
    replayed.end()
    Cluster().cancel(replayed.job)


@pytest.fixture(scope="module")
def address(live) -> Iterator[str]:
    with served_page("--run", live.run) as address:
        yield address


class Tab:
    """Opens pages, and finds out what they complain of in their consoles."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.complaints: list[str] = []
        self._contexts = []

    def open(
        self, address: str, width: int = 1280, height: int = 900, scheme: str = "light", motion: str = "no-preference"
    ) -> Page:
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion=motion
        )
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(address)
        return page

    def close(self) -> None:
        while self._contexts:
            self._contexts.pop().close()


@pytest.fixture
def tab(browser) -> Iterator[Tab]:
    tab = Tab(browser)
    yield tab
    tab.close()
    assert tab.complaints == []
