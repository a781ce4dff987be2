"""The seasonal z-score: how far a value lies above what its key had in the same hour of the week before."""

from collections.abc import Mapping, Sequence
from math import sqrt

from streamproof.core.model_rule import SeasonalZScore

_HOUR, _WEEK_HOURS = 3_600_000, 168
_THURSDAY = 72
"""The hour of the week in which the epoch began, from Monday 00:00 UTC."""

_Moments = tuple[int, float, float]
"""Of the values seen: how many, their mean, and the sum of the squares of their distances from it."""


class SeasonalModel:
    """Mean and deviation of each key in each hour of the week, and of all keys together.

    A key that has not been seen often enough in an hour of the week is compared with all keys in that hour.

    Moments are kept as in B. P. Welford, "Note on a method for calculating corrected sums of squares and products",
    Technometrics 4 (1962).

    Args:
        rule: the declaration.

    """

    def __init__(self, rule: SeasonalZScore) -> None:
        self._rule = rule
        self._moments: dict[str, _Moments] = {}
        self._changed: set[str] = set()

    def score(self, key: str, start: int, values: Sequence[float]) -> float | None:
        """Return by how many standard deviations the value lies above the mean; None while too few were seen."""
        own, all_keys = _slots(key, start)
        for slot in (own, all_keys):
            count, mean, squares = self._moments.get(slot, (0, 0.0, 0.0))
            if count >= self._rule.after:
                return (values[0] - mean) / max(sqrt(squares / count), self._rule.least_deviation)
        return None

    def learn(self, key: str, start: int, values: Sequence[float]) -> None:
        """Take a value in."""
        for slot in _slots(key, start):
            count, mean, squares = self._moments.get(slot, (0, 0.0, 0.0))
            count += 1
            off = values[0] - mean
            mean += off / count
            self._moments[slot] = (count, mean, squares + off * (values[0] - mean))
            self._changed.add(slot)

    def changes(self) -> dict[str, object]:
        """Return what has changed of the state since the last call, by its names."""
        changed, self._changed = self._changed, set()
        return {slot: self._moments[slot] for slot in sorted(changed)}

    def state(self) -> dict[str, object]:
        """Return the whole state."""
        return dict(self._moments)

    def restore(self, state: Mapping[str, object]) -> None:
        """Take the state that the changes up to some moment make."""
        self._moments = {slot: tuple(moments) for slot, moments in state.items()}  # type: ignore[arg-type,misc]


def _slots(key: str, start: int) -> tuple[str, str]:
    hour = (start // _HOUR + _THURSDAY) % _WEEK_HOURS
    return f"{hour} {key}", f"{hour}"
