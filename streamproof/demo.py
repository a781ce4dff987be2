"""The command ``demo``, the main job once: servers up, flow and job in place, ratings replayed, every window judged."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from edge_replayer.options import ReplayOptions
from edge_replayer.replay import replay
from flink_jobs.cluster import Cluster
from flink_jobs.submission import JobOptions, submit
from nifi_templates.deployment import deploy
from streamproof.chain.ask_stages import STAGES
from streamproof.chain.late_rows import late_rows
from streamproof.chain.sample_ratings import write_sample
from streamproof.chain.start_servers import extensions_folder, start_servers
from streamproof.core.command import console
from streamproof.core.contract import load_contract
from streamproof.core.errors import StreamproofError
from streamproof.core.question import load_question
from streamproof.core.run import category_files, new_run_id
from streamproof.core.settings import HomeSettings, KafkaSettings, NifiSettings
from streamproof.stack.servers import Stack
from validation.report import print_verdict, write_report
from validation.verdict import validate

SAMPLES = {"Movies_and_TV": 20_000, "Home_and_Kitchen": 20_000}
"""The generated categories, and how many ratings each has."""

_QUESTION = load_question("rating_averages")
_ONE_SECOND = Fraction(1000)
_START = datetime(2024, 1, 1, tzinfo=UTC)
_WAIT_SECONDS = 60


def demo(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CATEGORY=FILE]...", help="Your own ratings; without any, two generated categories."),
    ] = None,
) -> None:
    """Start the servers, replay ratings through the whole chain, and prove every window."""
    run_demo(files or [], extensions_folder())


def run_demo(files: Sequence[str], extensions: Path) -> None:
    """Replay ``CATEGORY=FILE …`` (or generated ratings), one row a second on the virtual clock, and judge the windows.

    The servers are left running for a look around; when the demo fails or is interrupted, those that it started are
    stopped.

    Raises:
        StreamproofError: a step fails, or the windows are not proven.

    """
    home, contract, run = HomeSettings(), load_contract("ratings"), new_run_id()
    sources = category_files(files) if files else _samples(home)
    stack = Stack.from_environment()
    with ExitStack() as on_failure:
        _step("1/5 starting Mosquitto, Kafka, NiFi and Flink")
        stopped = [part.name for part in stack.status() if part.pid is None]
        start_servers(stack, extensions)
        on_failure.callback(stack.down, parts=stopped)

        _step("2/5 deploying the NiFi flow")
        deploy(contract)

        _step(f"3/5 submitting the window job: averages over {_QUESTION.window}")
        # The run is still to begin, and what earlier runs left in the topic may be much to read.
        job = submit([_QUESTION], JobOptions(run=run, start="latest"))
        on_failure.callback(Cluster().cancel, job.job)
        console.print(f"job {job.name}", markup=False, soft_wrap=True)

        _step("4/5 replaying: one row a second and category, on the virtual clock")
        replay(
            ReplayOptions(
                contract=contract,
                files=sources,
                interval=_ONE_SECOND,
                clock="virtual",
                start=int(_START.timestamp() * 1000),
                run=run,
            )
        )

        _step("5/5 computing the windows again from the CSV files alone, and comparing")
        verdict = validate(run, home, KafkaSettings(), wait=_WAIT_SECONDS, late=late_rows, stages=STAGES)
        print_verdict(verdict)
        page = write_report(verdict, home.runs / run)
        if not verdict.proven:
            raise StreamproofError(f"run {run} is not proven")
        on_failure.pop_all()
    nifi = NifiSettings().api_endpoint.removesuffix("-api")
    console.print(
        f"\nNiFi's canvas   {nifi}/\n"
        f"Flink's page    {job.page.replace('/running/', '/completed/')}\n"
        f"the report      {page}\n"
        f"the live page   {_command()} dashboard --run {run}\n"
        f"The servers are still running. Stop them: {_command()} down",
        markup=False,
        soft_wrap=True,
    )


def _samples(home: HomeSettings) -> dict[str, Path]:
    files = {category: home.home / "samples" / f"{category}.csv" for category in SAMPLES}
    for category, file in files.items():
        write_sample(file, SAMPLES[category], seed=category)
    return files


def _command() -> Path:
    """Return how this program is called from here."""
    program = Path(sys.executable).with_name("streamproof")
    return program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program


def _step(text: str) -> None:
    console.rule(text, align="left", style="dim")
