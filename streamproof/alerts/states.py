"""The states of alerts: a pure function of the answers of one question, window after window in event time.

A window is given when it is complete. Of a key that was never seen, or that is neither pending nor firing, nothing
need be kept, so what is kept grows with the alerts and not with the keys (``absent = "breach"`` keeps every key: each
that falls silent is an alert). Windows that a key has no answer in are not gone through one by one: of each key it is
known in which window the next thing would happen if it stayed silent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from streamproof.core.alert_rule import AlertRule, State

Key = tuple[bytes, ...]
"""The values of a question's key, as JSON."""


class Answer(NamedTuple):
    """What counts of an answer: whether it breaches, whether it clears, and the place in Kafka that it came from."""

    breach: bool
    clear: bool
    place: str


class Event(NamedTuple):
    """Something that an alert's receiver is told.

    Attributes:
        key: whose alert.
        state: what happened.
        end: the end of the window in which it did, milliseconds since the epoch.
        begin: the end of the window with which the breach began, milliseconds since the epoch.
        number: of a repetition: 1, 2, 3 …; else 0.
        places: where the answers came from that decided it.

    """

    key: Key
    state: State
    end: int
    begin: int
    number: int
    places: tuple[str, ...]


@dataclass(slots=True)
class _Watched:
    """A key that something may happen to: how far it was followed, and which windows in a row breach or clear."""

    window: int
    breaches: int = 0
    clears: int = 0
    begin: int = 0
    fired: int | None = None
    repeats: int = 0
    version: int = 0
    places: list[str] = field(default_factory=list)

    @property
    def is_idle(self) -> bool:
        return self.fired is None and not self.breaches


class AlertStates:
    """The alerts of one question of one run.

    Args:
        rule: the question's.
        step: from the end of a window to that of the next, milliseconds.

    """

    def __init__(self, rule: AlertRule, step: int) -> None:
        self._rule, self._step = rule, step
        self._absent = Answer(rule.absent == "breach", rule.absent == "clear", "")
        self._watched: dict[Key, _Watched] = {}
        self._due: list[tuple[int, Key, int]] = []

    def window(self, end: int, answers: Mapping[Key, Answer]) -> list[Event]:
        """Take in a window that is complete, and return what happens up to its end, in the order of event time.

        Args:
            end: the window's, milliseconds since the epoch; later than that of the window before. Windows in between
                have no answers.
            answers: all of its answers.

        """
        number = end // self._step
        events: list[Event] = []
        while self._due and self._due[0][0] <= number:
            due, key, version = heappop(self._due)
            watched = self._watched.get(key)
            if watched is None or watched.version != version or (due == number and key in answers):
                continue
            self._pass_over(watched, due - 1)
            events += self._count(key, watched, due, None)
            self._watch(key, watched)
        all_matter = self._rule.absent == "breach"
        for key in sorted(k for k, answer in answers.items() if all_matter or answer.breach or k in self._watched):
            answer = answers[key]
            watched = self._watched.get(key)
            if watched is None:
                watched = self._watched[key] = _Watched(number - 1)
            self._pass_over(watched, number - 1)
            events += self._count(key, watched, number, answer)
            self._watch(key, watched)
        return events

    def _watch(self, key: Key, watched: _Watched) -> None:
        """Note when the next thing happens to a key if it stays silent, or forget it."""
        if watched.is_idle and self._rule.absent != "breach":
            del self._watched[key]
            return
        watched.version += 1
        due = []
        if watched.fired is not None:
            if self._rule.repeat:
                due.append(self._next_repeat(watched))
            if self._rule.absent == "clear":
                due.append(watched.window + self._rule.clear_for - watched.clears)
        elif self._rule.absent == "clear" or (self._rule.absent == "breach" and not watched.breaches):
            due.append(watched.window + 1)
        elif self._rule.absent == "breach":
            due.append(watched.window + self._rule.for_windows - watched.breaches)
        if due:
            heappush(self._due, (min(due), key, watched.version))

    def _pass_over(self, watched: _Watched, to: int) -> None:
        """Count windows without an answer up to this one, in which nothing happens."""
        windows, watched.window = to - watched.window, to
        if windows > 0 and self._rule.absent != "keep":
            if self._absent.clear and not watched.clears:
                watched.places = []
            watched.breaches = watched.breaches + windows if self._absent.breach else 0
            watched.clears = watched.clears + windows if self._absent.clear else 0

    def _count(self, key: Key, watched: _Watched, number: int, answer: Answer | None) -> Iterator[Event]:
        """Count a window, and tell what happens in it."""
        watched.window = number
        is_kept = answer is None and self._rule.absent == "keep"
        if not is_kept:
            yield from self._decide(key, watched, number, answer or self._absent)
        if watched.fired is not None and self._rule.repeat and number >= self._next_repeat(watched):
            watched.repeats += 1
            yield self._event(key, watched, "repeated", number, _place(answer))

    def _decide(self, key: Key, watched: _Watched, number: int, answer: Answer) -> Iterator[Event]:
        rule = self._rule
        is_clear = answer.clear and not answer.breach
        if (answer.breach and not watched.breaches) or (is_clear and not watched.clears):
            watched.places = []
        if answer.place and (is_clear if watched.fired is not None else answer.breach):
            watched.places.append(answer.place)
        if answer.breach:
            watched.breaches, watched.clears = watched.breaches + 1, 0
            if watched.fired is not None:
                return
            if watched.breaches == 1:
                watched.begin = number
            if watched.breaches >= rule.for_windows:
                watched.fired, watched.repeats = number, 0
                yield self._event(key, watched, "firing", number)
            elif watched.breaches == 1:
                yield self._event(key, watched, "pending", number)
            return
        if watched.breaches and watched.fired is None:
            yield self._event(key, watched, "withdrawn", number, _place(answer))
        watched.breaches, watched.clears = 0, watched.clears + 1 if is_clear else 0
        if watched.fired is not None and watched.clears >= rule.clear_for:
            watched.fired = None
            yield self._event(key, watched, "resolved", number)

    def _next_repeat(self, watched: _Watched) -> int:
        after = (watched.repeats + 1) * (self._rule.repeat or 0)
        return -(-((watched.fired or 0) * self._step + after) // self._step)

    def _event(
        self, key: Key, watched: _Watched, state: State, number: int, places: tuple[str, ...] | None = None
    ) -> Event:
        of_repeat = watched.repeats if state == "repeated" else 0
        told = tuple(watched.places) if places is None else places
        return Event(key, state, number * self._step, watched.begin * self._step, of_repeat, told)


def _place(answer: Answer | None) -> tuple[str, ...]:
    return (answer.place,) if answer and answer.place else ()
