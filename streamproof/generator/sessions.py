"""Sessions: each goes from state to state, and is in each for a row or several."""

from collections.abc import Mapping

import numpy as np

from streamproof.generator.chance import Chance, Integers, below, choose, cumulative
from streamproof.generator.declaration import END, Sessions
from streamproof.generator.draws import Drawn
from streamproof.generator.rows import Rows

_LONGEST = 10_000
"""Rows of a session, at most."""


class SessionMaker:
    """Makes the rows of blocks of sessions.

    Args:
        sessions: what the declaration says.
        draws: what is drawn of each session.
        kinds: the kinds of what is noted.
        chance: of the file.

    """

    def __init__(self, sessions: Sessions, draws: Mapping[str, Drawn], kinds: list[str], chance: Chance) -> None:
        self.names = list(sessions.states)
        self._states = list(sessions.states.values())
        self._draws, self._chance = draws, chance
        self._kinds = np.array([kinds.index(s.truth) if s.truth else -1 for s in self._states], np.int64)
        ends = [*self.names, END]
        self._rows = np.array([state.rows for state in self._states])
        self._pauses = np.array([state.pause for state in self._states])
        self._again = {name: np.array([name in state.again for state in self._states]) for name in draws}
        self._start = cumulative(sessions.start.get(name, 0) for name in self.names)
        self._next = [cumulative(state.next.get(name, 0) for name in ends) for state in self._states]

    def rows(self, block: int, first: int, begins: Integers) -> Rows:
        """Return all rows of the sessions ``first``, ``first`` + 1, … that begin at these moments, step by step."""
        size, chance = len(begins), self._chance
        who, time = np.arange(size), begins
        state = choose(chance.raw("start", block, size), self._start)
        codes = {name: drawn.codes(chance.raw(name, block, size)) for name, drawn in self._draws.items()}
        left = self._between(self._rows, "rows 0", block, state) - 1
        steps: list[Rows] = []
        for step in range(1, _LONGEST + 1):
            kind = self._kinds[state]
            steps.append(Rows(time, codes, kind, np.where(kind < 0, -1, first + who), first + who, state))
            raw = chance.raw(f"step {step}", block, len(who))
            after = np.full(len(who), len(self._states))
            for number, sums in enumerate(self._next):
                here = state == number
                after[here] = choose(raw[here], sums)
            after = np.where(left > 0, state, after)
            goes_on = after < len(self._states)
            if not goes_on.any():
                break
            left = np.where(left > 0, left - 1, -1)[goes_on]
            who, time, state = who[goes_on], time[goes_on], after[goes_on]
            left = np.where(left < 0, self._between(self._rows, f"rows {step}", block, state) - 1, left)
            codes = {name: each[goes_on] for name, each in codes.items()}
            time += self._between(self._pauses, f"pause {step}", block, state)
            codes = {
                name: self._drawn_again(name, each, f"{name} {step}", block, state) for name, each in codes.items()
            }
        return Rows.joined(steps)

    def _between(self, bounds: Integers, what: str, block: int, state: Integers) -> Integers:
        least, greatest = bounds[state].T
        found: Integers = least + below(self._chance.raw(what, block, len(state)), greatest - least + 1)
        return found

    def _drawn_again(self, name: str, codes: Integers, what: str, block: int, state: Integers) -> Integers:
        anew = self._again[name][state]
        if not anew.any():
            return codes
        codes = codes.copy()
        codes[anew] = self._draws[name].codes(self._chance.raw(what, block, len(codes))[anew])
        return codes
