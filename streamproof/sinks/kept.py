"""Where a run is kept, so that the verdict can read it back from there: noted in the run's folder by the sinks.

The sinks that are kept running beside the servers hold every run.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ValidationError

from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.run import Run, manifest_path, manifests
from streamproof.core.settings import HomeSettings, PostgresSettings
from streamproof.core.whole_file import write_whole
from streamproof.stack.live_sinks import LAKE, live_sinks

if TYPE_CHECKING:
    from streamproof.sinks.database import Database
    from streamproof.sinks.tables import Catalogue

LIVE = "live"
"""Under which name a sink notes its offsets that follows no run."""


class Kept(BaseModel):
    """Where something is kept.

    Attributes:
        kind: what it is.
        file: of SQLite, its file.
        rows: whether rows and dead letters are kept too.

    """

    kind: Literal["postgres", "sqlite", "lake"]
    file: Path | None = None
    rows: bool = False

    @property
    def where(self) -> str:
        """What people call it."""
        return f"SQLite in {self.file}" if self.kind == "sqlite" else "PostgreSQL"

    def open(self, sink: str, catalogue: "Catalogue", note: Callable[[str], None] = lambda _: None) -> "Database":  # type: ignore[type-arg]
        """Open the database.

        Args:
            sink: under which name offsets are noted.
            catalogue: tells which table a record belongs to.
            note: is told of each run that the database holds results of, once.

        Raises:
            UsageError: it cannot be used, or its driver is not installed.
            TargetAwayError: nobody answers there.

        """
        if self.kind == "sqlite":
            from streamproof.sinks.sqlite import Sqlite

            return Sqlite(self.file or Path(), sink, catalogue, note)
        try:
            from streamproof.sinks.postgres import Postgres
        except ImportError:
            raise UsageError("psycopg is not installed: pip install 'streamproof[sinks]'") from None
        return Postgres(PostgresSettings().connection(HomeSettings()), sink, catalogue, note)

    def note(self, run: str) -> None:
        """Note that a run is kept there, where this machine knows the run."""
        try:
            is_here = manifests(run, HomeSettings())
        except UsageError:  # a foreign record's run may be called anything
            return
        if is_here:
            name = f"{self.kind}-{sha256(str(self.file).encode()).hexdigest()[:8]}" if self.file else self.kind
            (folder := manifest_path(run, HomeSettings()).parent / "kept").mkdir(exist_ok=True)
            write_whole(folder / f"{name}.json", self.model_dump_json())


def databases_of(run: Run) -> list[Kept]:
    """Return the databases where a run is kept."""
    return [kept for kept in kept_of(run) if kept.kind != LAKE]


def kept_of(run: Run) -> list[Kept]:
    """Return where a run is kept.

    Raises:
        StreamproofError: a note of it is damaged.

    """
    home = HomeSettings()
    notes = sorted((manifest_path(run.run, home).parent / "kept").glob("*.json"))
    found = {path.stem: _read(path) for path in notes}
    return [*({name: Kept(kind=name) for name in live_sinks()} | found).values()]  # type: ignore[arg-type]


def _read(path: Path) -> Kept:
    try:
        return Kept.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StreamproofError(f"{path}: damaged ({error}): remove it, or store the run again") from error
