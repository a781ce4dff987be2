"""The commands ``sink postgres`` and ``sink sqlite``."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.records import asked_by
from streamproof.alerts.open_jobs import open_jobs
from streamproof.core.command import console, set_by
from streamproof.core.errors import UsageError
from streamproof.core.run import load_run
from streamproof.core.settings import HomeSettings
from streamproof.sinks.kept import Kept
from streamproof.sinks.store import store

RunOption = Annotated[
    str | None,
    typer.Option(help="Only this run, until its jobs have ended and all is stored. Default: all runs, until Ctrl-C."),
]
RowsOption = Annotated[bool, typer.Option("--rows", help="Store the rows and the dead letters, too.")]


def postgres(run: RunOption = None, rows: RowsOption = False) -> None:
    """Store results and alerts in PostgreSQL, each exactly once: a table for each question.

    The database is that of `up --with postgres`, or the one that STREAMPROOF_POSTGRES_DSN names.
    """
    _sink(Kept(kind="postgres", rows=rows), run)


def sqlite(
    file: Annotated[Path, typer.Argument(help="The file of the database; it is made where there is none.")],
    run: RunOption = None,
    rows: RowsOption = False,
) -> None:
    """Store results and alerts in a file of SQLite, each exactly once: a table for each question."""
    _sink(Kept(kind="sqlite", file=file.absolute(), rows=rows), run)


def _sink(kept: Kept, run: str | None) -> None:
    stop = set_by(signal.SIGTERM, signal.SIGINT)
    manifest = load_run(run, HomeSettings()) if run else None
    if manifest and not asked_by(manifest.run, manifest.contract.name):
        raise UsageError(f"no job was asked anything of run {run}: `streamproof submit QUESTION --run {run}` asks")

    def is_over() -> bool:
        """Whether the jobs that follow the run have ended, and all of their alerts are written."""
        if manifest is None:
            return False
        of_run = [r for r in asked_by(manifest.run, manifest.contract.name) if r.options.run]
        are_running = any(record.state == "running" for record in of_run)
        return not are_running and not any(record.options.run == run for record, _ in open_jobs())

    stored = store(kept, manifest, stop, is_over)
    console.print(f"stored {stored:,} records" + ("; stopped" if stop.is_set() and not is_over() else ""))
