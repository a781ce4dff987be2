"""What a replay can be told, and what is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from streamproof.core.contract import Contract
from streamproof.core.errors import UsageError

MAX_IN_FLIGHT = 60_000
"""MQTT has 65,535 message ids, and a message may hold a single row."""

_MAX_CATEGORY = 100


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """What is replayed, and how.

    Attributes:
        contract: what the stream is.
        files: the CSV file of each category.
        interval: milliseconds between two rows of a category; or
        speed: how many times faster than the file's own time. Exactly one of the two.
        clock: ``wall`` sends each row when it is due, ``virtual`` as fast as the chain takes it.
        start: event time of the first row, milliseconds since the epoch. None: now, or with ``speed`` the file's
            own time. On the wall clock a start that lies ahead is waited for; one that has passed only shifts the
            event times: the first row goes at once, the others at their distance from it.
        limit: the greatest number of rows of each category; with ``speed`` the earliest ones.
        loop: begin the files anew for ever, or until ``limit`` (with ``interval`` only).
        batch_rows, batch_ms: rows of one message, and the time (milliseconds) they may wait for one another.
        in_flight: the greatest number of unconfirmed rows.
        confirm: who says that a row has arrived: ``kafka``, by the flow, or ``broker``, as most publishers have it;
            a row that is lost behind the broker is then lost.
        run: the run's id; None makes one.
        edge, edges: where several edges send the run: which this one is, and the names of all.
        strict: end with an error at the first row that does not fit the contract.
        allow_empty: whether a category may have no row that fits.
        metrics: the address and port where Prometheus may read the run's counts; None serves none.
        to: ``stdout`` prints the messages, needs no broker, and writes neither manifest nor reject files.

    Raises:
        UsageError: the options do not go together.

    """

    contract: Contract
    files: Mapping[str, Path]
    interval: Fraction | None = None
    speed: Fraction | None = None
    clock: Literal["wall", "virtual"] = "wall"
    start: int | None = None
    limit: int | None = None
    loop: bool = False
    batch_rows: int = 500
    batch_ms: int = 100
    in_flight: int = 50_000
    confirm: Literal["kafka", "broker"] = "kafka"
    run: str | None = None
    edge: str | None = None
    edges: tuple[str, ...] = ()
    strict: bool = False
    allow_empty: bool = False
    to: Literal["mqtt", "stdout"] = "mqtt"
    metrics: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        if (self.interval is None) == (self.speed is None):
            raise UsageError("one pace is needed, and only one: --rate, --interval or --speed")
        if (self.interval or self.speed or 0) <= 0:
            raise UsageError("the pace must be above 0")
        if self.speed is not None and self.contract.event_time is None:
            raise UsageError(
                f"--speed goes by the file's own time, and the contract {self.contract.name} names none: "
                "set event_time to a time field in it, or take --rate or --interval"
            )
        if self.loop and self.speed is not None:
            raise UsageError("--loop goes with --rate or --interval only: the file's own time cannot begin anew")
        if self.start is not None and self.start < 0:
            raise UsageError("--start lies before 1970")
        for name, value, least in (
            ("limit", self.limit, 1),
            ("batch-rows", self.batch_rows, 1),
            ("batch-ms", self.batch_ms, 0),
            ("in-flight", self.in_flight, 1),
        ):
            if value is not None and value < least:
                raise UsageError(f"--{name} must be at least {least}")
        if self.in_flight > MAX_IN_FLIGHT:
            raise UsageError(f"--in-flight can be {MAX_IN_FLIGHT} at most")
        if self.edge is not None or self.edges:
            self._refuse_edges()
        if not self.files:
            raise UsageError("nothing to replay: name at least one CATEGORY=FILE")
        for category in self.files:
            _check_category(category)

    @property
    def plan(self) -> str:
        """What all edges of a run must have been told alike."""
        contract = self.contract.model_dump_json()
        return repr((contract, self.interval, self.speed, self.clock, self.start, self.limit, self.loop))

    def _refuse_edges(self) -> None:
        """Refuse what does not go with several edges: they have no common now, and no common first row."""
        if self.edge is None or not self.edges:
            raise UsageError("--edge NAME and --edges NAME,NAME,… go together: which edge this is, and all of them")
        if len(set(self.edges)) < max(2, len(self.edges)):
            raise UsageError("--edges: name two edges or more, each once; one edge alone needs neither option")
        if self.edge not in self.edges:
            raise UsageError(
                f"the edge {self.edge!r} is none of --edges {','.join(self.edges)}: the edges of a run are declared "
                "when it begins, and none joins later"
            )
        if self.run is None:
            raise UsageError("several edges send one run under one id: give each of them the same --run")
        if self.confirm == "broker" or self.to == "stdout":
            what = "--confirm broker" if self.confirm == "broker" else "--to stdout"
            raise UsageError(
                f"{what} does not go with --edges: an edge may only say that its rows are confirmed when Kafka has them"
            )
        if self.interval is not None and self.start is None:
            raise UsageError("several edges have no common now: give each of them the same --start")
        if self.speed is not None and self.start is not None:
            raise UsageError(
                "--start with --speed counts from the earliest row of all files, which no edge of several knows: leave "
                "--start out, and the files' own times are taken"
            )
        if self.loop and self.limit is None:
            raise UsageError("--loop without --limit never ends, and a run of several edges ends when all have")


def _check_category(category: str) -> None:
    if not category or not category.isprintable() or set(category) & set("/+#"):
        raise UsageError(
            f"the category {category!r} cannot be part of an MQTT topic: "
            "it must not be empty nor hold / + # or control characters"
        )
    if len(category.encode()) > _MAX_CATEGORY:
        raise UsageError(f"the category {category[:20]!r}… is longer than {_MAX_CATEGORY} bytes")
