"""The command ``demo``, the main job once: servers up, flow and job in place, rows replayed, every answer judged."""

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
from streamproof.chain.found import say_what_was_found
from streamproof.chain.late_rows import late_rows
from streamproof.chain.start_servers import WithOption, extensions_folder, named_sinks, start_servers
from streamproof.core.command import console
from streamproof.core.contract import DEFAULT_STREAM
from streamproof.core.errors import StreamproofError
from streamproof.core.question import load_question
from streamproof.core.run import category_files, new_run_id
from streamproof.core.settings import HomeSettings, KafkaSettings, NifiSettings
from streamproof.generator.declaration import load_generator
from streamproof.generator.make import make
from streamproof.stack.servers import Stack
from validation.answers import in_words
from validation.report import print_verdict, write_report
from validation.verdict import validate

_START = datetime(2024, 1, 1, tzinfo=UTC)
_WAIT_SECONDS = 60


def demo(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STREAM] [CATEGORY=FILE]...",
            help=f"A stream (default: {DEFAULT_STREAM}); files of your own in place of generated ones.",
        ),
    ] = None,
    sinks: WithOption = "",
) -> None:
    """Start the servers, replay a stream's rows through the whole chain, and prove every answer."""
    run_demo(what or [], extensions_folder(), named_sinks(sinks))


def run_demo(what: Sequence[str], extensions: Path, sinks: Sequence[str] = ()) -> None:
    """Replay a stream's generated rows, or files, on the virtual clock, and judge the answers to its questions.

    The servers are left running for a look around; when the demo fails or is interrupted, those that it started are
    stopped.

    Raises:
        StreamproofError: a step fails, or the answers are not proven.

    """
    name, files = (what[0], what[1:]) if what and "=" not in what[0] else (DEFAULT_STREAM, what)
    home, stream, run = HomeSettings(), load_generator(name), new_run_id()
    contract, wanted = stream.contract, stream.generator.demo
    questions = [load_question(str(stream.folder / f"{each}.sql")) for each in wanted.questions]
    made = None if files else make(contract.name, wanted.rows, home.home / "samples" / contract.name)
    sources = category_files(files) if made is None else made.files
    stack = Stack.from_environment()
    with ExitStack() as on_failure:
        _step("1/5 starting Mosquitto, Kafka, NiFi and Flink")
        stopped = [name for name in stack.all_parts if stack.processes.find(name) is None]
        start_servers(stack, extensions, sinks)
        on_failure.callback(stack.down, parts=stopped)

        _step("2/5 deploying the NiFi flow")
        deploy(contract)

        _step("3/5 submitting one job for " + "; ".join(f"{q.name} over {in_words(q.window)}" for q in questions))
        # The run is still to begin, and what earlier runs left in the topic may be much to read.
        job = submit(questions, JobOptions(run=run, contract=contract, start="latest"))
        on_failure.callback(Cluster().cancel, job.job)
        console.print(f"job {job.name}", markup=False, soft_wrap=True)

        if wanted.interval:
            _step("4/5 replaying: one row a second and category, on the virtual clock")
            begin: int | None = int(_START.timestamp() * 1000)
        else:
            _step("4/5 replaying by the file's own time, on the virtual clock")
            begin = None
        manifest = replay(
            ReplayOptions(
                contract=contract,
                files=sources,
                interval=Fraction(wanted.interval) if wanted.interval else None,
                speed=None if wanted.interval else Fraction(1),
                clock="virtual",
                start=begin,
                run=run,
            )
        )

        _step("5/5 computing the answers again from the CSV files alone, and comparing")
        verdict = validate(run, home, KafkaSettings(), wait=_WAIT_SECONDS, late=late_rows, stages=STAGES)
        print_verdict(verdict)
        page = write_report(verdict, home.runs / run)
        if not verdict.proven:
            raise StreamproofError(f"run {run} is not proven")
        on_failure.pop_all()
    if made:
        for line in say_what_was_found(manifest, stream, made.truth, home):
            console.print(line, markup=False, soft_wrap=True)
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


def _command() -> Path:
    """Return how this program is called from here."""
    program = Path(sys.executable).with_name("streamproof")
    return program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program


def _step(text: str) -> None:
    console.rule(text, align="left", style="dim")
