"""How the window job's speed, CPU time, memory and state grow: with keys, windows a row, categories, and rows.

Each is the project's job on a full topic, proven. Two categories of 200 keys, 100 rows a second each, windows of
30 s / 5 s, if nothing else is said.
"""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from streamproof.bench.measure import Benchmark, Once
from streamproof.bench.side_by_side.own_job import from_full_topic
from streamproof.core.window import Window

ROWS = 200_000
_SLIDE = 5_000
_INTERVAL, _SHORT = Fraction(10), Fraction(1)
"""Milliseconds between two rows of a category. At the short one a window holds 30,000 rows of a category, and so a
large part of the keys, however many there are."""

Run = Callable[[int], Once]


def _keys(keys: int) -> Run:
    return lambda rows: from_full_topic(rows, interval=_SHORT, keys=keys)


def _window(slides: int) -> Run:
    return lambda rows: from_full_topic(rows, interval=_INTERVAL, window=Window(slides * _SLIDE, _SLIDE))


def _categories(count: int) -> Run:
    names = [f"Category_{number}" for number in range(1, count + 1)]
    return lambda rows: from_full_topic(rows, interval=_INTERVAL, categories=names)


def _length(times: int) -> Run:
    def once(rows: int) -> Once:
        found = from_full_topic(times * rows, interval=_INTERVAL)
        return replace(found, parts=found.parts | {"rows in all": times * rows})

    return once


_CURVES: tuple[tuple[str, Callable[[int], Run], tuple[int, ...], str], ...] = (
    ("keys", _keys, (1_000, 10_000, 100_000, 1_000_000), "{:,} keys a category, 1,000 rows/s each"),
    ("window", _window, (1, 6, 20, 60), "windows {} times as long as their slide of 5 s"),
    ("categories", _categories, (1, 5, 20, 50), "categories: {}"),
    ("length", _length, (1, 2, 4, 8), "{} times the rows"),
)

GROWTH = {
    f"grow.{curve}.{size}": Benchmark("rows/s", run(size), ROWS, f"the job on a full topic, {about.format(size)}")
    for curve, run, sizes, about in _CURVES
    for size in sizes
}
"""Every benchmark of this file by its name. They run only when they are named: all of them take long."""
