"""The commands ``submit``, ``list``, ``cancel`` and ``savepoint``."""

import json
import logging
import signal
import sys
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, cast

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from flink_jobs.cluster import Cluster
from flink_jobs.records import JobOptions, Start
from streamproof.core.command import console, new_app
from streamproof.core.contract import load_contract
from streamproof.core.duration import parse_whole_milliseconds
from streamproof.core.errors import UsageError
from streamproof.core.question import Question, load_question
from streamproof.core.settings import FlinkSettings
from streamproof.core.window import Window

_TERMINATED = 128 + signal.SIGTERM
"""The exit code after SIGTERM, as shells have it."""

JobManager = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Flink's JobManager (default: STREAMPROOF_FLINK_JOBMANAGER).")
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job, as `list` shows it, or Flink's id of it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


_WIDTH = 190
"""Columns that the table takes even where the terminal, or a pipe, says it has fewer: cut ids say nothing."""


def submit(
    questions: Annotated[
        list[str],
        typer.Argument(
            metavar="QUESTION...",
            help="Names of questions (`question list` shows them) or files (.sql), of one stream.",
        ),
    ],
    size: Annotated[
        str | None, typer.Option(help="Window size, like 30s or 10min (default: that of each question).")
    ] = None,
    slide: Annotated[
        str | None,
        typer.Option(help="Window slide; it divides the size (default: that of each question, or else tumbling)."),
    ] = None,
    cumulative: Annotated[
        bool, typer.Option("--cumulative", help="Windows that grow by the slide up to the size, then begin anew.")
    ] = False,
    parallelism: Annotated[int, typer.Option(min=1, help="How many slots of the cluster the job takes.")] = 2,
    run: Annotated[
        str | None, typer.Option(help="Follow this run, whose clock may lie anywhere (default: the live stream).")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="earliest|latest|TIME",
            help="Where to begin; TIME is when Kafka got the row (default: earliest with --run, else latest).",
        ),
    ] = None,
    stream: Annotated[
        str | None, typer.Option(help="The stream's name or contract file (default: the one the questions name).")
    ] = None,
    checkpoint_interval: Annotated[
        str, typer.Option(help="How often windows are committed and so become visible.")
    ] = "1s",
    from_savepoint: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Let the job of this savepoint or checkpoint go on, with the same run and window."
        ),
    ] = None,
    jobmanager: JobManager = "",
    as_json: Json = False,
) -> None:
    """Submit one job that answers questions of a stream; returns as soon as the job runs."""
    # PyFlink is slow to import and the other commands do without it.
    from flink_jobs.submission import submit as submit_job

    options = JobOptions(
        parallelism=parallelism,
        run=run,
        start=_start(start),
        checkpoint_interval=parse_whole_milliseconds(checkpoint_interval),
        contract=load_contract(stream) if stream else None,
        savepoint=from_savepoint,
    )
    asked = [_with_window(load_question(each), size, slide, cumulative=cumulative) for each in questions]
    with console.status(f"submitting {', '.join(each.name for each in asked)}"):
        # Py4J logs, with a traceback, whatever it raises or is interrupted at.
        logging.disable()
        # As Ctrl-C does: what was begun is taken back. By itself the signal would leave Flink's client behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
        submitted = submit_job(asked, options, _flink(jobmanager))
    if as_json:
        typer.echo(json.dumps(asdict(submitted)))
    else:
        typer.echo(submitted.job)
        console.print(f"{submitted.name} runs: {submitted.page}", markup=False, soft_wrap=True)
        for note in submitted.notes:
            console.print(f"note: {note}", markup=False, soft_wrap=True)


def list_jobs(jobmanager: JobManager = "", as_json: Json = False) -> None:
    """Show the cluster's jobs: state, rows dropped as late, last checkpoint, restarts."""
    jobs = Cluster(_flink(jobmanager)).list()
    if as_json:
        typer.echo(json.dumps({"jobs": [asdict(job) for job in jobs]}, default=datetime.isoformat))
        return
    table = Table(
        Column("job", no_wrap=True),
        "name",
        "state",
        "since",
        "late rows",
        "unreadable",
        "last checkpoint",
        "restarts",
        box=SIMPLE,
    )
    for job in jobs:
        times = [f"{t:%Y-%m-%d %H:%M:%S}Z" if t else "-" for t in (job.since, job.last_checkpoint)]
        late, unreadable, restarts = (
            "-" if n is None else str(n) for n in (job.late_rows, job.unreadable, job.restarts)
        )
        names = job.label if job.label == job.id else f"{job.label}\nas {job.id}"
        table.add_row(names, job.name, job.state, times[0], late, unreadable, times[1], restarts)
    out = Console()
    out.width = max(out.width, _WIDTH)
    out.print(table if jobs else "no jobs")
    for job in jobs:
        if job.reason:
            out.print(Text(f"{job.label} has failed: {job.reason}"), soft_wrap=True)


def cancel(job: JobId, jobmanager: JobManager = "") -> None:
    """Cancel a job; its checkpoints and the windows it has committed stay."""
    Cluster(_flink(jobmanager)).cancel(job)
    console.print(f"cancelled {job}")


def savepoint(
    job: JobId,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the job once the savepoint is written.")] = False,
    jobmanager: JobManager = "",
) -> None:
    """Write a savepoint, from which `submit --from-savepoint` goes on, and print its path."""
    with console.status("writing the savepoint"):
        path = Cluster(_flink(jobmanager)).savepoint(job, stop=stop)
    typer.echo(path)


def _flink(jobmanager: str) -> FlinkSettings:
    host, _, port = jobmanager.rpartition(":")
    if jobmanager and not (host and port.isdecimal()):
        raise UsageError(f"--jobmanager {jobmanager!r}: write it as host:port, like 127.0.0.1:8081")
    return FlinkSettings(jobmanager=jobmanager) if jobmanager else FlinkSettings()


def _with_window(question: Question, size: str | None, slide: str | None, *, cumulative: bool) -> Question:
    if size is None and slide is None and not cumulative:
        return question
    size_ms = parse_whole_milliseconds(size) if size else question.window.size
    slide_ms = parse_whole_milliseconds(slide) if slide else min(question.window.slide, size_ms)
    return question.with_window(Window(size_ms, slide_ms, "cumulative" if cumulative else "sliding"))


def _start(text: str | None) -> Start | None:
    if text is None or text in {"earliest", "latest"}:
        return cast("Start | None", text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise UsageError(f"--from {text!r}: write earliest, latest, or a time with a zone like 2024-01-01T00:00:00Z")
    return int(time.timestamp() * 1000)


app = new_app("Submit Flink jobs, and look after them.")
app.command()(submit)
app.command("list")(list_jobs)
app.command()(cancel)
app.command()(savepoint)
