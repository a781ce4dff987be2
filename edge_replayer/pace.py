"""The pace: what decides a row's event time, and on the wall clock the moment at which it is sent.

The formulas are those of ``streamproof.core.run``; all of them are exact (whole numbers and fractions, floored once).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from edge_replayer.csv_rows import CsvRow

DueRow = tuple[int, int, int, str]
"""Event time (milliseconds since the epoch), the category's place, ``seq``, and the JSON of the contract's fields."""


@dataclass(frozen=True)
class IntervalPace:
    """Rows in file order, ``interval`` milliseconds apart from ``start`` on."""

    interval: Fraction
    start: int

    def due(self, rows: Iterable[CsvRow], place: int) -> Iterator[DueRow]:
        """Give each row its sequence number and event time."""
        start, numerator, denominator = self.start, self.interval.numerator, self.interval.denominator
        for seq, (_, _, body) in enumerate(rows, 1):
            yield start + (seq - 1) * numerator // denominator, place, seq, body

    def seconds_from_first(self, event_time: int) -> float:
        """Return how long after the run's first moment a row is sent on the wall clock."""
        return (event_time - self.start) / 1000


@dataclass(frozen=True)
class FilePace:
    """The file's own time, ``speed`` times as fast; ``first`` is the earliest of all categories."""

    speed: Fraction
    first: int
    start: int | None

    def due(self, rows: Iterable[CsvRow], place: int) -> Iterator[DueRow]:
        """Give each row its sequence number and event time; the rows must come ordered by (time, line)."""
        if self.start is None:
            for seq, (_, time, body) in enumerate(rows, 1):
                yield time, place, seq, body
            return
        start, first, numerator, denominator = self.start, self.first, self.speed.numerator, self.speed.denominator
        for seq, (_, time, body) in enumerate(rows, 1):
            yield start + (time - first) * denominator // numerator, place, seq, body

    def seconds_from_first(self, event_time: int) -> float:
        """Return how long after the run's first moment a row is sent on the wall clock."""
        if self.start is None:
            return (event_time - self.first) / float(self.speed) / 1000
        return (event_time - self.start) / 1000
