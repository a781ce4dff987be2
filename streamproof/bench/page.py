"""The live page at full speed, over very many keys, in a browser: does it keep up, and does anything grow.

    python -m streamproof.bench.page [--rows 2000000] [--keys 1000000]

It uses this home's stack, starts what is not running, and needs Chromium. Proven, and exit code 0: the page itself says
in the end that the run is proven.
"""

import shutil
import signal
import subprocess
import sys
import time
from typing import Annotated

import psutil
import typer
from playwright.sync_api import Error, Page, sync_playwright
from rich import box
from rich.console import Console
from rich.table import Column, Table
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from streamproof.bench.ground import START, prepare, replay_command, sample_files, window_job
from streamproof.core.command import console, new_app, run_app
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.run import load_run, new_run_id
from streamproof.core.settings import HomeSettings

_PORT = 24_699
_MEGABYTE = 1_000_000
_LOOK = 5.0  # seconds
_PATIENCE = 900.0

app = new_app("How the live page keeps up.")


@app.command()
def page(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the run.")] = 2_000_000,
    keys: Annotated[int, typer.Option(min=1, help="Keys of each of the two categories.")] = 1_000_000,
) -> None:
    """Replay as fast as the chain takes it while a browser shows the page; print what both held meanwhile."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise UsageError("this needs Chromium: apt-get install chromium")
    prepare()
    run, files = new_run_id(), sample_files(rows, keys)
    table = Table("at", *(Column(name, justify="right") for name in _NAMES), box=box.SIMPLE_HEAD)
    serve = [sys.executable, "-m", "streamproof", "dashboard", "--port", str(_PORT)]
    with (
        window_job(run, start="latest"),
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]) as browser,
        psutil.Popen(serve, stderr=subprocess.DEVNULL) as server,
        subprocess.Popen(
            replay_command(files, "--run", run, "--rate", "max", "--start", START), stderr=subprocess.DEVNULL
        ) as replaying,
    ):
        try:
            shown = browser.new_page()
            _open(shown)
            began, ended = time.monotonic(), 0.0
            while time.monotonic() < began + _PATIENCE:
                shown.wait_for_timeout(1000 * _LOOK)
                verdict = shown.locator("#verdict strong").inner_text()
                if not ended and replaying.poll() is not None:
                    ended = time.monotonic()
                moment = f"{time.monotonic() - began:.0f} s, {verdict}"
                table.add_row(moment, *(f"{figure:,.0f}" for figure in _figures(run, shown, server)))
                console.print(moment, markup=False)
                if ended and verdict in {"PROVEN", "NOT PROVEN"}:
                    break
            said = shown.locator("#verdict").inner_text()
        finally:
            for process in (replaying, server):
                process.send_signal(signal.SIGINT)
    Console(width=120).print(table)
    print(f"{time.monotonic() - ended:.0f} s after the replay's end: {' '.join(said.split())}")
    if verdict != "PROVEN":
        raise StreamproofError("the page did not say that the run is proven")


_NAMES = ("rows sent", "page's process, MB", "browser's heap, MB", "elements", "longest answer, ms", "largest, kB")


def _figures(run: str, shown: Page, server: psutil.Process) -> tuple[float, ...]:
    sent = sum(counts.sent for counts in load_run(run, HomeSettings()).rows.values())
    heap, elements, slowest, largest = shown.evaluate(
        """() => {
            const answers = performance.getEntriesByType('resource').filter(e => e.name.includes('_dash-update'));
            performance.clearResourceTimings();
            return [performance.memory.usedJSHeapSize, document.querySelectorAll('*').length,
                    Math.max(0, ...answers.map(e => e.duration)), Math.max(0, ...answers.map(e => e.decodedBodySize))];
        }"""
    )
    return sent, server.memory_info().rss / _MEGABYTE, heap / _MEGABYTE, elements, slowest, largest / 1000


@retry(retry=retry_if_exception_type(Error), stop=stop_after_delay(60), wait=wait_fixed(0.5), reraise=True)
def _open(shown: Page) -> None:
    shown.goto(f"http://127.0.0.1:{_PORT}/")
    shown.locator("#verdict strong").wait_for(timeout=30_000)


if __name__ == "__main__":
    run_app(app)
