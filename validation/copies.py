"""The copies of a run's rows that a lake keeps, and what was found of them."""

from collections.abc import Callable, Iterator

import duckdb
from pydantic import BaseModel

from streamproof.core.run import Run


class CopyCounts(BaseModel):
    """What a copy has of the rows that were sent: each is right, wrong or missing; what was never sent is extra.

    Attributes:
        doubled: records beyond the first of each row, as Kafka has them; they are no fault.
        first_missing: the first of the missing rows, as category and [first, last] of ``seq``.

    """

    right: int
    wrong: int
    missing: int
    extra: int
    doubled: int
    first_missing: list[tuple[str, int, int]]


class JudgedCopies(BaseModel):
    """What was found of a run in the lake.

    Attributes:
        name: what people call the lake.
        copies: by the tables' names.
        differing: rows of which the copies do not have equally many records, or not the same bytes.
        dead_letters: of the run, in the backup.
        problem: why it could not be read; None where it could.

    """

    name: str
    copies: dict[str, CopyCounts] = {}
    differing: int = 0
    dead_letters: int = 0
    problem: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether each copy has every row that was sent and no other, and they agree."""
        return not list(self.doubts())

    def doubts(self) -> Iterator[str]:
        """Say what speaks against the copies."""
        if self.problem:
            yield f"{self.name}: cannot be read: {self.problem}"
        for copy, counts in self.copies.items():
            for how in ("wrong", "missing", "extra"):
                if count := getattr(counts, how):
                    where = "".join(f", {category} {a} to {b}" for category, a, b in counts.first_missing)
                    yield f"{self.name}: {copy}: {count} rows are {how}{where if how == 'missing' else ''}"
        if self.differing:
            yield f"{self.name}: {self.differing} rows differ between the copies"


AskCopies = Callable[[duckdb.DuckDBPyConnection, Run], JudgedCopies | None]
"""Judges the copies of a run by the table ``sent``; None where no lake has noted that it keeps the run."""
