"""The rows of one file, block after block; what a block holds hangs on nothing but seed, category and its number."""

from collections.abc import Iterator
from itertools import count

import numpy as np

from streamproof.generator.chance import Chance, Integers, below
from streamproof.generator.clock import Times
from streamproof.generator.declaration import Anomaly, Clock, Generator
from streamproof.generator.draws import Drawn
from streamproof.generator.rows import Rows
from streamproof.generator.sessions import SessionMaker

_ROWS, _SESSIONS = 50_000, 20_000
"""Of a block. Another number would make other files."""


def blocks(generator: Generator, draws: dict[str, Drawn], chance: Chance) -> Iterator[Rows]:
    """Yield rows for ever, in the order of time where there is a clock."""
    if generator.sessions is not None:
        yield from _of_sessions(generator, draws, chance)
    for block in count():
        numbers = np.arange(block * _ROWS, (block + 1) * _ROWS)
        codes = {name: drawn.codes(chance.raw(name, block, _ROWS)) for name, drawn in draws.items()}
        if generator.clock is None:
            yield Rows.plain(np.zeros(_ROWS, np.int64), codes)
            continue
        times = Times(generator.clock)
        rows = Rows.plain(times.of(numbers, chance.raw("time", block, _ROWS)), codes)
        # What lies between the first moments of this block and the next belongs to it, whoever puts it in.
        begin, end = times.of(np.array([block * _ROWS, (block + 1) * _ROWS])).tolist()
        added = []
        for kind, anomaly in enumerate(generator.anomalies):
            for case, since in _happening(anomaly, kind, generator.clock, (begin, end), chance):
                if anomaly.rate:
                    added.append(_added(anomaly, kind, case, since, (begin, end), draws, chance))
                else:
                    inside = (rows.time >= since) & (rows.time < since + anomaly.lasts)
                    others = {
                        name: draws[name].codes(chance.raw(name, block, _ROWS), weights)
                        for name, weights in anomaly.draw.items()
                    }
                    rows = rows.changed(inside, others, kind, case)
        yield Rows.joined([rows, *added]).in_order()


def _of_sessions(generator: Generator, draws: dict[str, Drawn], chance: Chance) -> Iterator[Rows]:
    assert generator.sessions is not None  # noqa: S101 - the caller has looked
    assert generator.clock is not None  # noqa: S101 - the declaration is refused without one
    maker, times = SessionMaker(generator.sessions, draws, generator.kinds, chance), Times(generator.clock)
    waiting: list[Rows] = []
    for block in count():
        first = block * _SESSIONS
        begins = times.of(np.arange(first, first + _SESSIONS), chance.raw("time", block, _SESSIONS))
        rows = Rows.joined([*waiting, maker.rows(block, first, begins)]).in_order()
        # No later session begins before this moment.
        (end,) = times.of(np.array([first + _SESSIONS])).tolist()
        done = int(np.searchsorted(rows.time, end))
        waiting = [rows.of(slice(done, None))]
        yield rows.of(slice(0, done))


def _happening(
    anomaly: Anomaly, kind: int, clock: Clock, bounds: tuple[int, int], chance: Chance
) -> Iterator[tuple[int, int]]:
    """Yield the number and the first moment of each that has a part between the bounds."""
    begin, end = bounds
    room = (anomaly.every - anomaly.lasts) // anomaly.align + 1
    for case in range(
        max(0, (begin - clock.begin_ms) // anomaly.every - 1), (end - clock.begin_ms) // anomaly.every + 1
    ):
        steps = int(below(chance.raw(f"anomaly {kind}", case, 1), room)[0])
        since = clock.begin_ms + case * anomaly.every + anomaly.align * steps
        if since < end and since + anomaly.lasts > begin:
            yield case, since


def _added(  # noqa: PLR0917 - all that there is of an anomaly
    anomaly: Anomaly,
    kind: int,
    case: int,
    since: int,
    bounds: tuple[int, int],
    draws: dict[str, Drawn],
    chance: Chance,
) -> Rows:
    assert anomaly.rate is not None  # noqa: S101 - the caller has looked
    about, size = f"anomaly {kind}", anomaly.rate * anomaly.lasts // 1000
    time = np.sort(since + below(chance.raw(f"{about} time", case, size), anomaly.lasts))
    here = (time >= bounds[0]) & (time < bounds[1])

    def codes(name: str, drawn: Drawn) -> Integers:
        if name in anomaly.fix:
            return np.repeat(drawn.codes(chance.raw(f"{about} {name}", case, 1)), int(here.sum()))
        return drawn.codes(chance.raw(f"{about} {name}", case, size), anomaly.draw.get(name))[here]

    return Rows.plain(time[here], {name: codes(name, drawn) for name, drawn in draws.items()}, kind, case)
