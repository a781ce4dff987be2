"""The commands ``sink lake``, ``lake sql``, ``lake tables``, ``lake check`` and ``lake tidy``."""

import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from streamproof.core.command import console, set_by
from streamproof.core.contract import DEFAULT_STREAM, load_contract
from streamproof.core.duration import parse_duration
from streamproof.core.errors import UsageError
from streamproof.core.run import load_run
from streamproof.core.settings import HomeSettings
from streamproof.sinks.lake.catalogue import LakeSettings, name_of, open_catalogue
from streamproof.sinks.lake.live import LIMITS, store_stream
from streamproof.sinks.sink import Limits

if TYPE_CHECKING:
    from validation.copies import JudgedCopies

At = Annotated[
    int | None, typer.Option(help="A snapshot of one of the tables, as `lake tables` lists it. Default: the newest.")
]
Stream = Annotated[
    str | None, typer.Option(help="The stream whose tables are meant. Default: the only one that the lake holds.")
]

_WIDTH = 120


def sink_lake(
    run: Annotated[
        str | None, typer.Option(help="End when this run is over and all of Kafka is stored; its stream is meant.")
    ] = None,
    stream: Annotated[
        str, typer.Option(help="Without --run: the stream, by its name or its contract file.")
    ] = DEFAULT_STREAM,
    rows: Annotated[int, typer.Option(min=1, help="Commit when so many records were read.")] = LIMITS.rows,
    every: Annotated[str, typer.Option(help="Commit so long after the first of them.")] = f"{LIMITS.seconds:g}s",
) -> None:
    """Keep a stream's records in the lake, as they came, with their types, and as a backup; until Ctrl-C.

    All that Kafka has of the stream is stored, also of other runs. It goes on where the lake ends.
    """
    home = HomeSettings()
    contract = load_run(run, home).contract if run else load_contract(stream)
    limits = Limits(rows, float(parse_duration(every)) / 1000)
    stop = set_by(signal.SIGTERM, signal.SIGINT)

    def is_over() -> bool:
        return run is not None and load_run(run, home).state != "running"

    stored = store_stream(contract, stop, is_over, limits)
    console.print(f"{stored:,} records stored in the lake", highlight=False)


def sql(
    query: Annotated[str, typer.Argument(help='A query, like "SELECT count(*) FROM ratings".', show_default=False)],
    stream: Stream = None,
    at: At = None,
    form: Annotated[
        Literal["table", "csv", "json", "parquet", "xlsx"],
        typer.Option("--format", help="The form; parquet and xlsx need --output."),
    ] = "table",
    output: Annotated[Path | None, typer.Option(help="The file to write. Default: standard output.")] = None,
) -> None:
    """Ask the lake by SQL, at the newest snapshots.

    DuckDB answers. The tables of a stream are `raw`, `processed` and `backup`; its own name is the table in which each
    row stands once. Where the lake holds several streams, write `STREAM.raw`, or name one by `--stream`.
    """
    if form in {"parquet", "xlsx"} and output is None:
        raise UsageError(f"--format {form} needs --output FILE")
    home, settings = HomeSettings(), LakeSettings()
    catalogue = open_catalogue(settings, home)
    from streamproof.sinks.lake.query import create_lake_views, run_query, streams_of
    from validation.export import write_exported
    from validation.verdict import open_database

    streams = streams_of(catalogue)
    meant = stream or (streams[0] if len(streams) == 1 else None)
    if at is not None and not meant:
        raise UsageError(f"--at is a snapshot of one stream: name it by --stream ({', '.join(streams) or 'none'})")
    home.home.mkdir(parents=True, exist_ok=True)
    with open_database(home.home) as db:
        for name in streams:
            if name != meant:
                create_lake_views(db, catalogue, name)
        if meant:
            create_lake_views(db, catalogue, meant, at)
        else:
            db.execute("SET schema = 'main'")
        if form == "table":
            run_query(db, query, lambda answer: answer.show(max_width=None if sys.stdout.isatty() else _WIDTH))
        else:
            run_query(db, query, lambda answer: answer.create("exported"))
            write_exported(db, form, output, home.home)


def tables(
    stream: Stream = None, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False
) -> None:
    """List the lake's tables: rows, files, and the snapshots that are kept, each with what it has of Kafka."""
    home, settings = HomeSettings(), LakeSettings()
    catalogue = open_catalogue(settings, home)
    from streamproof.sinks.lake.listing import list_tables

    listed = [table for table in list_tables(catalogue) if stream in (None, table.stream)]
    if as_json:
        typer.echo(json.dumps({"tables": [table.model_dump(mode="json") for table in listed]}))
        return
    shown = Table(
        "table", *(Column(name, justify="right") for name in ("rows", "files", "bytes")), "snapshot", "made at", "",
        box=SIMPLE,
    )  # fmt: skip
    for table in listed:
        for number, snapshot in enumerate(table.snapshots[:_SHOWN]):
            first = (table.name, f"{table.rows:,}", f"{table.files:,}", f"{table.bytes:,}") if not number else ("",) * 4
            made_at = datetime.fromtimestamp(snapshot.made_at / 1000, UTC).isoformat(timespec="seconds")
            shown.add_row(*first, str(snapshot.id), made_at.removesuffix("+00:00") + "Z", snapshot.operation)
        if not table.snapshots:
            shown.add_row(table.name, "0", "0", "0", "none", "", "")
        if len(table.snapshots) > _SHOWN:
            shown.add_row("", "", "", "", f"and {len(table.snapshots) - _SHOWN} more", "", "")
    Console(width=max(console.width, _WIDTH)).print(shown)


_SHOWN = 3
"""Snapshots of a table that are listed for people: the newest."""


def check(
    run: Annotated[str, typer.Argument(help="The run's id.", show_default=False)],
    at: At = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare each of the lake's copies of a run with the files that were replayed; exit code 0 if all is right.

    Every field of every row is compared, and the three tables with each other.
    """
    home, settings = HomeSettings(), LakeSettings()
    catalogue = open_catalogue(settings, home)
    from streamproof.sinks.lake.check import check_lake

    with console.status("reading the files and the lake"):
        found = check_lake(run, home, catalogue, name_of(settings, home), at)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        print_check(found)
    if not found.is_right:
        raise typer.Exit(1)


def print_check(found: "JudgedCopies") -> None:
    """Print what was found of a run in the lake."""
    counts = ("right", "wrong", "missing", "extra", "doubled")
    shown = Table("copy", *(Column(name, justify="right") for name in counts), box=SIMPLE)
    for name, copy in found.copies.items():
        shown.add_row(name, *(f"{getattr(copy, count):,}" for count in counts))
    out = Console(width=max(console.width, _WIDTH), highlight=False)
    out.print(shown)
    for doubt in found.doubts():
        out.print(doubt, markup=False, soft_wrap=True)
    if found.dead_letters:
        out.print(f"{found.dead_letters:,} dead letters of the run are in backup")
    out.print("RIGHT" if found.is_right else "NOT RIGHT")


def tidy(
    older_than: Annotated[
        str, typer.Option(help="Remove files that no snapshot names when they are older than this.")
    ] = "24h",
) -> None:
    """Rewrite small files of the lake into large ones, let old snapshots go, and remove files that none names.

    A sink does the first two by itself.
    """
    margin = parse_duration(older_than)
    catalogue = open_catalogue(LakeSettings(), HomeSettings())
    from datetime import timedelta

    from streamproof.sinks.lake.copies import Copy
    from streamproof.sinks.lake.query import streams_of
    from streamproof.sinks.lake.tables import TABLES, find_table
    from streamproof.sinks.lake.upkeep import compact, expire_snapshots, remove_lost_files

    for stream in streams_of(catalogue):
        for name in TABLES:
            copy = Copy(find_table(catalogue, stream, name))
            fewer, gone = compact(copy), expire_snapshots(copy)
            removed = remove_lost_files(copy.table, timedelta(milliseconds=float(margin)))
            console.print(
                f"{copy.name}: {fewer:,} files fewer, {gone:,} snapshots gone, {removed:,} lost files removed",
                highlight=False,
            )
