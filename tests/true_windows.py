"""The one oracle of the tests: which rows are in which window, by definition and in plain Python.

A window holds the rows whose event time is at or after its start and before its end. Starts are multiples of the
slide, counted from the epoch. A sliding window of 30 s every 10 s, and a row ``x`` at 34 s::

    event time    0 s       10 s      20 s      30 s      40 s      50 s      60 s      70 s
                  |         |         |         |   x     |         |         |         |
                  [-----------------------------)                                              not in it
                            [-----------------------x-----)                                    in it
                                      [-------------x---------------)                          in it
                                                [---x-------------------------)                in it
                                                          [-----------------------------)      not in it

A window that slides by its whole size is tumbling, and each row is in one. A cumulative window begins at a multiple of
its size and grows by its slide; the same row in cumulative windows of 30 s every 10 s::

    event time    0 s       10 s      20 s      30 s      40 s      50 s      60 s
                  |         |         |         |   x     |         |         |
                                                [---x-----)                                    in it
                                                [---x---------------)                          in it
                                                [---x-------------------------)                in it
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

Value = TypeVar("Value")


class TrueWindow(NamedTuple):
    """What names a window; start and end are in milliseconds since the epoch."""

    category: str
    key: str
    start: int
    end: int


def true_windows(
    rows: Iterable[tuple[str, str, int, Value]], size: int, slide: int, *, cumulative: bool = False
) -> dict[TrueWindow, list[Value]]:
    """Return the values in each window that holds a row of (category, key, event time, value); times in ms."""
    found: dict[TrueWindow, list[Value]] = {}
    for category, key, time, value in rows:
        for start, end in _holding(time, size, slide, cumulative=cumulative):
            assert start <= time < end
            found.setdefault(TrueWindow(category, key, start, end), []).append(value)
    return found


def _holding(time: int, size: int, slide: int, *, cumulative: bool) -> list[tuple[int, int]]:
    newest = time // slide * slide
    if not cumulative:
        return [(start, start + size) for start in range(newest, time - size, -slide)]
    begin = time // size * size
    return [(begin, end) for end in range(newest + slide, begin + size + 1, slide)]
