"""Many edges in one run, simulated: how late their windows close, and how many messages the broker carries for it.

    python -m streamproof.bench.low_watermarks

Each edge says its own low watermark once a period. What each edge writes on its rows is the least of its own and of
what it last heard of the others; Flink's watermark is the greatest that any edge writes. With a conductor the edges
speak to it alone, and it says the least. Nothing is measured here: no server takes part, and a step is 25 ms.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

Times = NDArray[np.int32]
"""Milliseconds since the simulation began."""

STEP = 25
CONFIRMED_AFTER = 255
"""Milliseconds from a row's due time until its edge counts it as confirmed: measured was the p99 until Kafka has it."""

_NOTHING_HEARD = -1_000_000
_WINDOW = 1000  # a window ends each second


@dataclass(frozen=True)
class Edges:
    """The edges of a run and what is between them.

    Attributes:
        count: how many.
        period: milliseconds between two times that an edge says its low watermark.
        delay: milliseconds until another edge hears it, on average; each time differs, exponentially distributed.
        lost: the share of what is said that a listener does not hear, each by itself.
        dead: milliseconds since the beginning, from and to, while one edge neither sends nor speaks.
        conductor: whether the edges speak to one that says the least to all.

    """

    count: int
    period: int = 200
    delay: int = 20
    lost: float = 0.0
    dead: tuple[int, int] = (0, 0)
    conductor: bool = False


class Moment(NamedTuple):
    """One step: the time, each edge's own low watermark, what each writes on its rows, messages and deliveries."""

    now: int
    own: Times
    written: Times
    messages: int
    deliveries: int


class _Heard:
    """What listeners last heard of speakers. What comes late, or in another order, never lowers it."""

    def __init__(self, listeners: int, speakers: int, edges: Edges, chance: np.random.Generator) -> None:
        self.values: Times = np.full((listeners, speakers), _NOTHING_HEARD, np.int32)
        self.messages = self.deliveries = 0
        self._edges, self._chance = edges, chance
        self._phases = chance.integers(0, edges.period, speakers)
        self._under_way: dict[int, list[tuple[Times, Times, Times]]] = defaultdict(list)

    def step(self, now: int, values: Times, speaks: NDArray[np.bool_]) -> None:
        for listeners, speakers, said in self._under_way.pop(now, ()):
            np.maximum.at(self.values, (listeners, speakers), said)
        (due,) = np.nonzero(speaks & ((now + self._phases) % self._edges.period < STEP))
        way = len(due), len(self.values)
        self.messages, self.deliveries = len(due), len(due) * len(self.values)
        arrivals = now + STEP * np.ceil(self._chance.exponential(self._edges.delay, way) / STEP).astype(np.int32)
        arrivals[self._chance.random(way) < self._edges.lost] = 0
        for arrival in np.unique(arrivals[arrivals > 0]):
            which, listeners = np.nonzero(arrivals == arrival)
            self._under_way[int(arrival)].append((listeners, due[which], values[due[which]]))


def simulate(edges: Edges, seconds: int, seed: int = 1) -> Iterator[Moment]:
    """Yield what is true and what is written, each 25 ms, until the time is over."""
    chance = np.random.default_rng(seed)
    own: Times = np.full(edges.count, _NOTHING_HEARD, np.int32)
    to = _Heard(1 if edges.conductor else edges.count, edges.count, edges, chance)
    back = _Heard(edges.count, 1, edges, chance) if edges.conductor else None
    parts = (to, back) if back else (to,)
    for now in range(STEP, seconds * 1000 + STEP, STEP):
        alive = np.ones(edges.count, np.bool_)
        alive[0] = not edges.dead[0] <= now < edges.dead[1]
        own = np.where(alive, np.int32(now - CONFIRMED_AFTER), own)
        to.step(now, own, alive)
        if back is None:
            np.fill_diagonal(to.values, own)
            written = to.values.min(axis=1)
        else:
            back.step(now, to.values.min(axis=1), np.ones(1, np.bool_))
            written = np.minimum(own, back.values[:, 0])
        messages, deliveries = sum(part.messages for part in parts), sum(part.deliveries for part in parts)
        yield Moment(now, own, written, messages, deliveries)


class Outcome(NamedTuple):
    """Milliseconds from a window's end until it can close, in order; messages and deliveries a second."""

    waits: list[int]
    messages: float
    deliveries: float


def outcome(edges: Edges, seconds: int, seed: int = 1) -> Outcome:
    """Simulate, and tell what it came to. The first period does not count: nobody has heard of anybody yet."""
    first = edges.period * (2 if edges.conductor else 1) // _WINDOW + 2
    waits: list[int] = []
    messages = deliveries = 0
    for moment in simulate(edges, seconds, seed):
        messages, deliveries = messages + moment.messages, deliveries + moment.deliveries
        while (end := (first + len(waits)) * _WINDOW) <= moment.written.max():
            waits.append(moment.now - end)
    return Outcome(sorted(waits), messages / seconds, deliveries / seconds)


_SCENES = {
    "1 edge": Edges(1),
    "3 edges": Edges(3),
    "10 edges": Edges(10),
    "100 edges": Edges(100),
    "100 edges, each 200 ms away": Edges(100, delay=200),
    "100 edges, a tenth lost": Edges(100, lost=0.1),
    "100 edges, one dead for 30 s": Edges(100, dead=(20_000, 50_000)),
    "100 edges, a period of 1 s": Edges(100, period=1000),
    "1,000 edges": Edges(1000),
    "1,000 edges, a period of 1 s": Edges(1000, period=1000),
    "1,000 edges, a period of 10 s": Edges(1000, period=10_000),
    "1,000 edges, a conductor": Edges(1000, conductor=True),
    "1,000 edges, a conductor, a tenth lost": Edges(1000, conductor=True, lost=0.1),
}


def main(seconds: int = 60) -> None:
    """Print a line for each scene."""
    table = Table("", box=box.HORIZONTALS)
    for column in ("windows wait, median s", "longest s", "messages/s", "deliveries/s"):
        table.add_column(column, justify="right")
    for name, edges in _SCENES.items():
        found = outcome(edges, seconds)
        middle, longest = found.waits[len(found.waits) // 2] / 1000, found.waits[-1] / 1000
        table.add_row(name, f"{middle:.2f}", f"{longest:.2f}", f"{found.messages:,.0f}", f"{found.deliveries:,.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
