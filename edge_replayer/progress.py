"""The progress of a run on standard error: a bar for each category, or a line now and then without a terminal.

Many categories are shown as one.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from streamproof.core.command import console
from streamproof.core.run import RowCounts

_LINE_EVERY = 10.0
_MOST_SHOWN = 20


class RunProgress:
    """Shows rows, rows a second, confirmed and rejected rows of each category.

    Args:
        done: the share (0 to 1) of each category's file that is read; None where there is no end.

    """

    def __init__(self, done: Mapping[str, Callable[[], float | None]]) -> None:
        self._done = done
        if len(done) > _MOST_SHOWN:
            self._done = {f"{len(done):,} categories": lambda: _mean([share() for share in done.values()])}
        self._began: float | None = None  # sorting comes before the first row
        self._said = time.monotonic()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[counts]}", markup=False),
            )
            self._bars = Progress(*columns, TimeElapsedColumn(), console=console)
            self._tasks = {c: self._bars.add_task(c, total=None, counts="") for c in self._done}

    def __enter__(self) -> "RunProgress":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def show(self, rows: Mapping[str, RowCounts], *, is_last: bool = False) -> None:
        """Show the counts as they are now."""
        now = time.monotonic()
        self._began = self._began or now
        if not self._bars and not is_last and now < self._said + _LINE_EVERY:
            return
        self._said = now
        if len(rows) > _MOST_SHOWN:
            rows = dict.fromkeys(self._done, _total(rows.values()))
        for category, counts in rows.items():
            rate = counts.sent / max(now - self._began, 0.001)
            text = f"{counts.sent:,} rows, {rate:,.0f}/s, {counts.confirmed:,} confirmed, {counts.rejected:,} rejected"
            if self._bars:
                share = self._done[category]()
                total = None if share is None else 1.0
                self._bars.update(self._tasks[category], total=total, completed=share or 0.0, counts=text)
            else:
                console.print(f"{category}: {text}", markup=False, soft_wrap=True)


def _total(rows: Iterable[RowCounts]) -> RowCounts:
    total = RowCounts()
    for each in rows:
        total.sent += each.sent
        total.confirmed += each.confirmed
        total.rejected += each.rejected
    return total


def _mean(shares: Collection[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None
