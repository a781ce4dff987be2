"""The rows of a run in the order in which they are due, with their sequence numbers and event times.

Everything follows from the files, the options and the run's start: a run that goes on after a crash gets the same
rows with the same numbers and times, and only leaves out the first ones.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from heapq import merge
from itertools import chain, islice
from pathlib import Path

from edge_replayer.csv_rows import CsvRow, CsvRows, Reject
from edge_replayer.options import ReplayOptions
from edge_replayer.pace import DueRow, FilePace, IntervalPace
from streamproof.core.command import console


class Schedule:
    """The rows of all categories, ordered by event time.

    Args:
        options: which rows, at what pace.
        start: the event time of the first row; None is the file's own time.
        files, rejects: of each category.
        stop: ends the sorting early.
        folder: where sorted rows wait.

    """

    def __init__(  # noqa: PLR0917 - what the rows follow from
        self,
        options: ReplayOptions,
        start: int | None,
        files: Mapping[str, CsvRows],
        rejects: Mapping[str, Reject],
        stop: threading.Event,
        folder: Path,
    ) -> None:
        self._options, self._files, self._rejects, self._stop, self._folder = options, files, rejects, stop, folder
        self._pace: IntervalPace | FilePace
        if options.interval is not None:
            self._ordered = [self._file_order(category) for category in files]
            self._pace = IntervalPace(options.interval, start or 0)
        else:
            ordered = self._sorted()
            heads = [next(rows, None) for rows in ordered]
            first = min((head[1] for head in heads if head), default=0)
            self._ordered = [chain((head,), rows) if head else rows for head, rows in zip(heads, ordered, strict=True)]
            self._pace = FilePace(options.speed or 1, first, start)  # type: ignore[arg-type]

    def rows(
        self, confirmed_to: Mapping[str, int], up_to: Mapping[str, int] | None = None
    ) -> tuple[Iterator[DueRow], int | None]:
        """Return the rows behind those that are confirmed, and the greatest event time of those (None: no row).

        Args:
            confirmed_to: the sequence number of each category up to which all is confirmed.
            up_to: the greatest one of each category; None where all rows are due.

        """
        due, until = [], None
        for place, (category, rows) in enumerate(zip(self._files, self._ordered, strict=True)):
            mine = self._pace.due(rows, place)
            mine = islice(mine, up_to[category]) if up_to else mine
            for event_time, *_ in islice(mine, confirmed_to[category]):
                until = max(event_time, until or event_time)
                if self._stop.is_set():
                    break
            due.append(mine)
        return merge(*due), until

    def moments(self, began: int) -> Callable[[int], float]:
        """Return what tells the moment (of ``time.monotonic``) at which the row with an event time is sent.

        Args:
            began: when the run's first row was due by the clock on the wall, milliseconds since the epoch.

        """
        if self._options.clock == "virtual":
            return lambda _: 0.0
        zero = time.monotonic() + (began - now_ms()) / 1000
        return lambda event_time: zero + self._pace.seconds_from_first(event_time)

    def _file_order(self, category: str) -> Iterator[CsvRow]:
        rows: Iterator[CsvRow] = self._files[category].rows(self._rejects[category])
        if self._options.loop:
            rows = _endless(rows, self._files[category])
        return islice(rows, self._options.limit)

    def _sorted(self) -> list[Iterator[CsvRow]]:
        from edge_replayer.time_order import sorted_by_time  # with DuckDB, which no other pace needs

        console.print("sorting by the file's own time …")
        return [
            sorted_by_time(
                self._until_stopped(file.rows(self._rejects[category])), self._options.limit, self._folder, str(place)
            )
            for place, (category, file) in enumerate(self._files.items())
        ]

    def _until_stopped(self, rows: Iterator[CsvRow]) -> Iterator[CsvRow]:
        for row in rows:
            if self._stop.is_set():
                return
            yield row


def now_ms() -> int:
    """Return the clock on the wall, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def _endless(first_pass: Iterator[CsvRow], file: CsvRows) -> Iterator[CsvRow]:
    row = None
    for row in first_pass:
        yield row
    while row is not None:
        # The first pass has reported what does not fit.
        yield from file.rows(lambda *_: None)
