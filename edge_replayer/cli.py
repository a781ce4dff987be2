"""The command line of the replayer."""

import re
import sys
from datetime import datetime
from fractions import Fraction
from typing import Annotated, Literal

import msgspec
import typer

from edge_replayer.options import ReplayOptions
from edge_replayer.replay import replay as run_replay
from edge_replayer.replay import resume as run_resume
from streamproof.core.command import INTERRUPTED, console, new_app
from streamproof.core.contract import load_contract
from streamproof.core.duration import parse_duration
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.run import Run, category_files, some_of

Clock = Literal["wall", "virtual"]


def replay(
    stream: Annotated[str | None, typer.Argument(help="A stream's name, or the path of a contract (.toml).")] = None,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="CATEGORY=FILE…", help="A .csv or .csv.gz for each category.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="N|max",
            help="Rows a second of each category [the default pace: 1]. max: virtual clock, rows due 1 ms apart.",
        ),
    ] = None,
    interval: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Time between two rows of a category, like 1.003s.")
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(metavar="X", help="Replay by the file's own time, X times as fast, ordered by (time, line)."),
    ] = None,
    clock: Annotated[
        Clock | None,
        typer.Option(help="wall: send each row when due [default]. virtual: as fast as the chain takes it."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="ISO-8601",
            help="Event time of the first row, with a zone [default: now; with --speed the file's own time]. "
            "The wall clock waits for a start ahead; one in the past only shifts the event times.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Rows of each category, at most; with --speed the earliest ones.")
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Begin the files anew for ever, or until --limit. Not with --speed.")
    ] = False,
    batch_rows: Annotated[int, typer.Option(help="Rows of one message, at most.")] = 500,
    batch_ms: Annotated[int, typer.Option(help="Milliseconds that a row may wait for others.")] = 100,
    in_flight: Annotated[int, typer.Option(help="Unconfirmed rows, at most; then the replay waits.")] = 50_000,
    confirm: Annotated[
        Literal["kafka", "broker"] | None,
        typer.Option(
            help="Who says that a row has arrived. kafka: the flow, when Kafka has it [default]. "
            "broker: the MQTT broker, as most publishers have it; what is lost behind it is lost.",
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(help="The run's id [default: the UTC time].")] = None,
    edge: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where several edges send the run: which this one is. Also with --resume."),
    ] = None,
    edges: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,…",
            help="The edges that send the run, each with categories of its own; the same for all of them.",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run whose replayer was killed, from what is confirmed. All else is known from the run; "
            "a file that has moved is named again, CATEGORY=FILE.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS:]PORT",
            help="Serve the run's counts for Prometheus while it lasts; address [default: 127.0.0.1].",
        ),
    ] = None,
    to: Annotated[
        Literal["mqtt", "stdout"],
        typer.Option(help="stdout: print the messages; no broker, no manifest, no reject files."),
    ] = "mqtt",
    strict: Annotated[
        bool, typer.Option("--strict", help="End with an error at the first row that does not fit the contract.")
    ] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Let a category have no row that fits the contract.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Replay CSV files over MQTT as if devices were sending them."""
    if resume is not None:
        named = [argument for argument in (stream, *(files or [])) if argument is not None]
        others = (run, rate, interval, speed, clock, start, limit, loop, strict, allow_empty, confirm, edges)
        if any(others) or any("=" not in argument for argument in named):
            raise UsageError(
                "--resume RUN takes files and pace from the run: beside it only --edge, --in-flight, --metrics, "
                "--json, and CATEGORY=FILE for a file that has moved"
            )
        moved = category_files(named)
        resumed = run_resume(resume, in_flight=in_flight, metrics=_address(metrics), files=moved, edge=edge)
        _end(resumed, as_json=json)
        return
    if stream is None or not files:
        raise UsageError("name a stream and at least one CATEGORY=FILE, or --resume RUN")
    if json and to == "stdout":
        raise UsageError("--json and --to stdout both want standard output: choose one")
    if sum(pace is not None for pace in (rate, interval, speed)) > 1:
        raise UsageError("one pace only: --rate, --interval or --speed")
    if rate == "max" and clock == "wall":
        raise UsageError(
            "--rate max runs on the virtual clock: leave --clock wall out, or name a number of rows a second"
        )
    if speed is not None:
        every = None
    elif interval is not None:
        every = parse_duration(interval)
    else:
        every = Fraction(1) if rate == "max" else 1000 / _positive("--rate", rate or "1")
    options = ReplayOptions(
        contract=load_contract(stream),
        files=category_files(files),
        interval=every,
        speed=None if speed is None else _positive("--speed", speed),
        clock=clock or ("virtual" if rate == "max" else "wall"),
        start=None if start is None else _start(start),
        limit=limit,
        loop=loop,
        batch_rows=batch_rows,
        batch_ms=batch_ms,
        in_flight=in_flight,
        confirm=confirm or "kafka",
        run=run,
        edge=edge,
        edges=tuple(edges.split(",")) if edges else (),
        to=to,
        strict=strict,
        allow_empty=allow_empty,
        metrics=_address(metrics),
    )
    try:
        result = run_replay(options)
    except BrokenPipeError:
        # The reader of --to stdout (head, less) has seen enough.
        sys.stderr.close()
        raise typer.Exit from None
    _end(result, as_json=json)


def expel(
    run: Annotated[str, typer.Argument(help="The id of a run that several edges send.")],
    edge: Annotated[str, typer.Argument(help="The edge that is given up. Its process must have ended for ever.")],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="CATEGORY=FILE…", help="Files of the edge that have moved.")
    ] = None,
) -> None:
    """Give up an edge of a run: the rows that it has sent count, no other follows, and the other edges go on.

    Needs the edge's folder as the edge left it, HOME/runs/RUN/edges/EDGE, and its files. Waits until each row that was
    sent is confirmed.
    """
    expelled = run_resume(run, edge=edge, files=category_files(files or []), expelled=True)
    if expelled.state == "stopped":
        console.print(f"stopped before all was confirmed: `streamproof expel {run} {edge}` goes on", markup=False)
        raise typer.Exit(INTERRUPTED)
    rows = sum(counts.sent for counts in expelled.rows.values())
    console.print(f"run {run}: the edge {edge} is expelled, and its {rows:,} rows are confirmed", markup=False)


def _end(result: Run, *, as_json: bool) -> None:
    if as_json:
        rows = {category: counts.model_dump() for category, counts in result.rows.items()}
        document = {"run": result.run, "state": result.state, "rows": rows}
        print(msgspec.json.format(msgspec.json.encode(document)).decode())
    console.print(f"run {result.run} {result.state}", markup=False)
    if result.state == "stopped":
        raise typer.Exit(INTERRUPTED)
    if not result.allow_empty and (empty := [category for category, rows in result.rows.items() if not rows.sent]):
        raise StreamproofError(
            f"of {some_of(empty)} no row fits the contract: nothing was sent (see the rejects). "
            "Where that is as it should be, begin anew with --allow-empty"
        )


def _positive(option: str, text: str) -> Fraction:
    number = Fraction(text) if re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,9})?", text) else Fraction(0)
    if number <= 0:
        or_max = ", or max" if option == "--rate" else ""
        raise UsageError(f"{option} {text}: expected a number above 0, with 9 decimals at most{or_max}")
    return number


def _address(metrics: str | None) -> tuple[str, int] | None:
    if metrics is None:
        return None
    address, colon, port = metrics.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16 or (colon and not address):
        raise UsageError(f"--metrics {metrics}: expected a port, or an address and a port like 127.0.0.1:28060")
    return address.strip("[]") or "127.0.0.1", int(port)


def _start(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--start {text}: expected a time like 2024-01-01T00:00:00Z") from error
    if moment.tzinfo is None:
        raise UsageError(f"--start {text}: the zone is missing; write {text}Z for UTC, or {text}+02:00")
    epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return (moment - epoch) // (datetime.resolution * 1000)


app = new_app("Replay CSV files over MQTT.")
app.command()(replay)
