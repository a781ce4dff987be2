"""A run's manifest: all that is needed, beside the CSV files, to say what the windows must be.

A run lives in a folder of its own, ``HOME/runs/RUN/``: ``manifest.json``, and ``rejects-CATEGORY.csv``. Where several
edges send the run, each has such a folder, ``HOME/runs/RUN/edges/EDGE/``, and the run is what their manifests say.

The event time of the row with sequence number ``seq`` (1, 2, 3 …) is, in milliseconds since the epoch:

- pace ``interval``: ``start + floor((seq - 1) * interval)``, rows in file order;
- pace ``file``, no start: the file's own time ``t``, rows ordered by (time, line);
- pace ``file`` with a start: ``start + floor((t - t_first) / speed)``, ``t_first`` the earliest of all categories.

With ``loop``, row ``seq`` is the file's accepted row ``(seq - 1) % rows + 1`` (pace ``interval`` only).
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from itertools import combinations, islice
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from streamproof.core.contract import Contract
from streamproof.core.errors import UsageError
from streamproof.core.settings import HomeSettings
from streamproof.core.whole_file import write_whole

MANIFEST = "manifest.json"
"""The manifest's name in the run's folder."""

_EDGES = "edges"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

ExactNumber = Annotated[Fraction, BeforeValidator(Fraction), PlainSerializer(str)]
"""A fraction, kept in JSON as text like ``1003`` or ``1000/3``."""


class Source(BaseModel):
    """One category's file: its absolute path, SHA-256 (hexadecimal) and size in bytes."""

    model_config = ConfigDict(frozen=True)

    file: Path
    sha256: str
    size: int


def source_of(path: Path) -> Source:
    """Return a file's place, digest and size."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(file=path.resolve(), sha256=digest, size=path.stat().st_size)


class RowCounts(BaseModel):
    """What became of a category's rows.

    Attributes:
        sent: rows handed to the broker at least once; their ``seq`` are 1 to ``sent``.
        confirmed: rows of those that were confirmed: Kafka has them, among the rows or the dead letters.
        confirmed_to: the ``seq`` up to which all rows are confirmed; from there a killed run goes on.
        rejected: lines of the file that did not fit the contract.
        resent: rows sent again, each time counted.

    """

    sent: int = 0
    confirmed: int = 0
    confirmed_to: int = 0
    rejected: int = 0
    resent: int = 0


class Run(BaseModel):
    """A run's manifest.

    Attributes:
        run: the run's id.
        contract: the contract as it was when the run began.
        clock: ``wall`` sends each row when it is due, ``virtual`` as fast as the chain takes it.
        pace: what decides a row's due time (see the module).
        interval: milliseconds between two rows of a category (pace ``interval``).
        speed: how many times faster than the file's own time (pace ``file``).
        start: milliseconds since the epoch, or None for the file's own time.
        began: when the first row was due by the clock on the wall, milliseconds since the epoch; None before that.
        end: the last row's event time, milliseconds since the epoch, once the end of the run is marked: no row may
            follow, as the mark closes the last windows.
        sources: the file of each category.
        rows: the counts of each category.
        allow_empty: whether a category may have no row that fits.
        confirm: who says that a row has arrived: ``kafka``, by the flow, or the ``broker``, which may lose it still.
        strict: whether the first row that does not fit ends the run.
        state: ``running`` until the replayer ends; ``stopped`` when it ended before the files did, or before all of
            their rows were confirmed. Of an expelled edge ``finished`` means that the others need not wait for it.
        edges: the names of all edges, where several send the run.
        edge: of one edge's manifest, which it is; None where it speaks of the whole run.
        incarnation, members, joined: of one edge's manifest, as ``edge_replayer.edges.Edges`` has them.
        expelled: of one edge's manifest, whether it was given up: no row follows those that it had sent.
        absent: of a whole run, the edges whose manifests are not here.

    """

    run: str
    contract: Contract
    clock: Literal["wall", "virtual"]
    pace: Literal["interval", "file"]
    interval: ExactNumber | None = None
    speed: ExactNumber | None = None
    start: int | None = None
    began: int | None = None
    limit: int | None = None
    loop: bool = False
    strict: bool = False
    allow_empty: bool = False
    confirm: Literal["kafka", "broker"] = "kafka"
    batch_rows: int
    batch_ms: int
    sources: dict[str, Source]
    rows: dict[str, RowCounts]
    state: Literal["running", "finished", "stopped"] = "running"
    end: int | None = None
    created: datetime
    edges: tuple[str, ...] = ()
    edge: str | None = None
    incarnation: str = ""
    members: str = ""
    joined: bool = False
    expelled: bool = False
    absent: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the end of the run is marked."""
        return self.end is not None

    @property
    def resumption(self) -> str:
        """The command with which it goes on after its replayer has ended."""
        edge = f" --edge {self.edge or 'EDGE'}" if self.edges else ""
        return f"streamproof replay --resume {self.run}{edge}"

    def with_files(self, files: Mapping[str, Path]) -> Self:
        """Return the manifest with new places of some categories' files; they must still hold the same bytes.

        Raises:
            UsageError: the run has no such category, or there is no such file.

        """
        sources = dict(self.sources)
        for category, file in files.items():
            if category not in sources:
                raise UsageError(f"the run {self.run!r} has no category {category!r}: it has {some_of(sources)}")
            if not file.is_file():
                raise UsageError(f"{file}: there is no such file")
            sources[category] = sources[category].model_copy(update={"file": file.resolve()})
        return self.model_copy(update={"sources": sources})

    def save(self, home: HomeSettings) -> None:
        """Write the manifest; a reader sees the old one or the new one, never a half."""
        path = manifest_path(self.run, home, self.edge)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.model_dump_json(indent=2) + "\n")


def category_files(arguments: Iterable[str]) -> dict[str, Path]:
    """Return the file of each category from ``CATEGORY=FILE`` arguments.

    Raises:
        UsageError: an argument is not of that form, or a category is named twice.

    """
    files: dict[str, Path] = {}
    for argument in arguments:
        category, equals, file = argument.partition("=")
        if not equals or not file:
            raise UsageError(f"{argument!r}: write CATEGORY=FILE")
        if category in files:
            raise UsageError(f"the category {category!r} is named twice: a category has one file")
        files[category] = Path(file)
    return files


def some_of(names: Collection[str], most: int = 5) -> str:
    """Name the first of some names, and say how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(islice(names, most)) + more


def manifest_path(run: str, home: HomeSettings, edge: str | None = None) -> Path:
    """Return where the manifest of a run lies, or of one edge of several that send it.

    Raises:
        UsageError: the id has characters that a run's id cannot have, or the edge's name has.

    """
    for name, what in ((run, "a run's id"), (edge, "an edge's name")):
        if name is not None and not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} cannot be {what}: use up to 64 letters, digits, and . _ -")
    return home.runs / run / (MANIFEST if edge is None else f"{_EDGES}/{edge}/{MANIFEST}")


def manifests(run: str, home: HomeSettings) -> list[Path]:
    """Return the manifests of a run: one, or of several edges those that are here; none where there is no such run.

    Raises:
        UsageError: the id has characters that a run's id cannot have.

    """
    return _manifests_in(manifest_path(run, home).parent)


def runs_here(home: HomeSettings) -> list[str]:
    """Return the ids of the runs that have a manifest here, those last whose manifests were written last."""
    written = {
        folder.name: max(manifest.stat().st_mtime for manifest in found)
        for folder in home.runs.glob("*")
        if _NAME.fullmatch(folder.name) and (found := _manifests_in(folder))
    }
    return sorted(written, key=lambda run: written[run])


def _manifests_in(folder: Path) -> list[Path]:
    path = folder / MANIFEST
    return [path] if path.is_file() else sorted(folder.glob(f"{_EDGES}/*/{MANIFEST}"))


def load_run(run: str, home: HomeSettings, edge: str | None = None) -> Run:
    """Read a run's manifest: the whole run's, or of one edge of several.

    Raises:
        UsageError: there is no such run, its manifest is damaged, or manifests of different runs lie together.

    """
    path = manifest_path(run, home, edge)
    paths = [path] if edge else manifests(run, home)
    if not paths or not paths[0].is_file():
        raise UsageError(
            f"there is no run {run!r}{f' of an edge {edge!r}' if edge else ''} in {home.runs}; "
            f"the newest: {', '.join(runs_here(home)[-5:]) or 'none'}"
        )
    found = []
    for each in paths:
        try:
            found.append(Run.model_validate_json(each.read_bytes()))
        except ValidationError as error:
            raise UsageError(f"{each}: damaged: {error}") from error
    return found[0] if paths[0] == path else _together(found, path.parent / _EDGES)


def _together(found: list[Run], folder: Path) -> Run:
    """Return the run that several edges' manifests tell of."""
    for one, other in combinations(found, 2):
        if one.joined and other.joined and one.members != other.members:
            raise UsageError(
                f"{folder}: the manifests of the edges {one.edge} and {other.edge} are of different runs of one id"
            )
        if shared := one.sources.keys() & other.sources.keys():
            raise UsageError(f"{folder}: the edges {one.edge} and {other.edge} both have a category {min(shared)!r}")
    absent = sorted(set(found[0].edges) - {each.edge for each in found})
    states = {"stopped" if each.expelled and each.state == "finished" else each.state for each in found}
    states |= {"running" for _ in absent}
    return found[0].model_copy(
        update={
            "edge": None,
            "sources": {category: source for each in found for category, source in each.sources.items()},
            "rows": {category: rows for each in found for category, rows in each.rows.items()},
            "state": next(state for state in ("running", "stopped", "finished") if state in states),
            # Whoever has marked the end has known that all are done.
            "end": max((each.end for each in found if each.end is not None), default=None),
            "began": min((each.began for each in found if each.began is not None), default=None),
            "created": min(each.created for each in found),
            "allow_empty": all(each.allow_empty for each in found),
            "absent": tuple(absent),
        }
    )


def new_run_id() -> str:
    """Return an id for a run that begins now: its UTC time, to the millisecond."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
