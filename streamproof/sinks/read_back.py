"""The databases that keep a run, read back for the verdict."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from streamproof.core.question import Question
from streamproof.core.run import Run
from streamproof.sinks.kept import LIVE, Kept, databases_of
from streamproof.sinks.tables import Catalogue, alerts_table, answers_table
from validation.stages import LAST


@dataclass(frozen=True)
class ReadBack:
    """A database, read back for the verdict.

    Attributes:
        kept: where it is.

    """

    kept: Kept

    @property
    def name(self) -> str:
        """What people call it."""
        return self.kept.where

    def done_to(self, run: Run, question: Question, *, are_alerts: bool) -> int | None:  # noqa: ARG002
        """Return that it has to have all."""
        return LAST

    def read(
        self, run: Run, question: Question, job: str, columns: Sequence[str], *, are_alerts: bool
    ) -> Iterator[list[tuple[str | None, ...]]]:
        """Yield what it has of a run, as the verdict asks for it."""
        table = (alerts_table if are_alerts else answers_table)(question, run.contract)
        with closing(self.kept.open(LIVE, Catalogue(None))) as database:
            yield from database.read(table, columns, run.run, job)


def read_back(run: Run) -> list[ReadBack]:
    """Return the databases where a run is kept, for the verdict."""
    return [ReadBack(kept) for kept in databases_of(run)]
