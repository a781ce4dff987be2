"""How the parts of the chain are, asked again and again; whoever joins the stages says how to ask.

Each question has a thread of its own, so a part that hangs does not hide how the others are.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from streamproof.core.run import Run

_ASK_SECONDS = 1.0
_STALE_SECONDS = 3.5
"""A part that has not told whether it works for so long is away."""

_DETAILS_SECONDS, _DETAILS_STALE_SECONDS = 2.0, 15.0

Figures = tuple[tuple[str, str], ...]
"""What a part counts, by name: text, ready to be shown."""


@dataclass(frozen=True)
class Answer:
    """What a part says of itself.

    Attributes:
        is_up: whether it works.
        says: its state in a few words.
        figures: what it counts.
        lacks: what it lacks to do its work, where it answers and does not work, like ``no job``.

    """

    is_up: bool
    says: str = ""
    figures: Figures = ()
    lacks: str = ""


AskPart = Callable[[Run | None], Answer]
"""Asks a part how it is, and what it has done for a run; it may raise anything, which means: away."""


@dataclass(frozen=True)
class Questions:
    """How to ask a part.

    Attributes:
        works: whether it works; quickly answered.
        details: its state and what it counts for the run, which may take some seconds.

    """

    works: AskPart
    details: AskPart | None = None


@dataclass(frozen=True)
class PartHealth:
    """A part as the page shows it.

    Attributes:
        is_up: whether it works; None while it has not been asked.
        says: its state in a few words.
        figures: what it counts; of a part that is away, what it counted last.
        lacks: what it lacks to do its work; empty for a part that works or is away.
        since: when it came or went last, seconds since the epoch.

    """

    is_up: bool | None = None
    says: str = ""
    figures: Figures = ()
    lacks: str = ""
    since: float = 0


class _Asked:
    """One question, its newest answer, and when it came."""

    def __init__(self, ask: AskPart, every: float, stale_seconds: float) -> None:
        self._ask, self.every, self._stale = ask, every, stale_seconds
        self._answer: Answer | None = None
        self._heard = time.monotonic()

    def again(self, run: Run | None) -> None:
        try:
            answer = self._ask(run)
        except Exception as error:  # whatever a server that is away does to its client
            answer = Answer(is_up=False, says=_shortly(error))
        if not answer.figures and self._answer:
            answer = replace(answer, figures=self._answer.figures)  # what was counted last stays true
        self._answer, self._heard = answer, time.monotonic()

    def answer(self) -> Answer | None:
        silent = time.monotonic() - self._heard
        if silent > self._stale:
            return Answer(False, f"no answer for {silent:.0f} s", self._answer.figures if self._answer else ())
        return self._answer


class Watch:
    """Asks all parts, each every second, and every other second for its details.

    Args:
        questions: how to ask each part, by the name that the page shows.
        run: the run that is looked at.

    """

    def __init__(self, questions: Mapping[str, Questions], run: Callable[[], Run | None]) -> None:
        self._run = run
        self._stopped = threading.Event()
        self._asked = {
            part: [
                _Asked(asked.works, _ASK_SECONDS, _STALE_SECONDS),
                *([_Asked(asked.details, _DETAILS_SECONDS, _DETAILS_STALE_SECONDS)] if asked.details else []),
            ]
            for part, asked in questions.items()
        }
        self._changed: dict[str, tuple[bool, float]] = {}

    def start(self) -> None:
        """Begin to ask."""
        for part, questions in self._asked.items():
            for asked in questions:
                threading.Thread(target=self._repeat, args=(asked,), name=f"ask {part}", daemon=True).start()

    def stop(self) -> None:
        """Ask no more; an answer that is still to come is not waited for."""
        self._stopped.set()

    def parts(self) -> dict[str, PartHealth]:
        """Return how each part is."""
        return {part: self._present(part, [each.answer() for each in asked]) for part, asked in self._asked.items()}

    def _present(self, part: str, answers: list[Answer | None]) -> PartHealth:
        known = [answer for answer in answers if answer]
        if not known or answers[0] is None:
            return PartHealth()
        # The first that is away speaks, else the one that says most.
        speaker = next((answer for answer in known if not answer.is_up), known[-1])
        before, since = self._changed.get(part, (None, time.time()))
        if before != speaker.is_up:
            since = time.time()
            self._changed[part] = (speaker.is_up, since)
        figures = tuple(figure for answer in reversed(known) for figure in answer.figures)
        return PartHealth(speaker.is_up, speaker.says, figures, speaker.lacks, since)

    def _repeat(self, asked: _Asked) -> None:
        while not self._stopped.is_set():
            asked.again(self._run())
            self._stopped.wait(asked.every)


def _shortly(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) <= 160 else text[:159] + "…"  # noqa: PLR2004 - two lines or so
