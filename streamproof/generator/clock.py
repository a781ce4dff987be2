"""When the rows of a file happen: the moment of each follows from its number."""

import numpy as np

from streamproof.generator.chance import Integers, Raw
from streamproof.generator.declaration import Clock

_HOUR = 3_600_000
_WEEK = 168
_FIRST_MONDAY = 4 * 24 * _HOUR
"""5 January 1970, in milliseconds since the epoch."""

_PARTS = 2**16


class Times:
    """The moments of rows 0, 1, 2 …, which never go back.

    A week has so many rows, and each hour of it a share by its weight. Row n lies within the nth of as many equal parts
    of the weights, and chance decides where. It is multiplied and divided only: IEEE 754 rounds that in one way.
    """

    def __init__(self, clock: Clock) -> None:
        self._begin, self._rows = clock.begin_ms, 7 * clock.a_day
        first = (clock.begin_ms - _FIRST_MONDAY) // _HOUR % _WEEK
        week = [hour * day for day in clock.weekdays for hour in clock.hours]
        self._weights = np.array(week[first:] + week[:first], np.float64)
        self._sums = np.cumsum(self._weights)

    def of(self, numbers: Integers, raw: Raw | None = None) -> Integers:
        """Return moments in milliseconds since the epoch; without chance, the earliest of each row's part."""
        week, number = np.divmod(numbers, self._rows)
        part = 0 if raw is None else (raw >> np.uint64(48)).astype(np.int64)
        place = (number * _PARTS + part).astype(np.float64) / (float(self._rows) * _PARTS) * self._sums[-1]
        hour = np.minimum(np.searchsorted(self._sums, place, side="right"), _WEEK - 1)
        within = (place - (self._sums - self._weights)[hour]) / self._weights[hour] * _HOUR
        within = np.clip(np.floor(within), 0, _HOUR - 1).astype(np.int64)
        moments: Integers = self._begin + (week * _WEEK + hour) * _HOUR + within
        return moments
