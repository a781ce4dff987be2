"""How the parts of the chain are, asked again and again; whoever joins the stages says how to ask.

Each question has a thread of its own, so a part that hangs does not hide how the others are.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streams.run import Run

ASK_SECONDS = 1.5
STALE_SECONDS = 4.0
"""A part that has not answered for so long is away."""


@dataclass(frozen=True)
class Answer:
    """What a part says of itself.

    Attributes:
        is_up: whether it works.
        says: its state in a few words, like ``running``.
        figures: what it counts, by name: text, ready to be shown.

    """

    is_up: bool
    says: str = ""
    figures: tuple[tuple[str, str], ...] = ()


AskPart = Callable[[Run | None], Answer]
"""Asks a part how it is, and what it has done for a run; it may raise anything, which means: away."""


@dataclass(frozen=True)
class PartHealth:
    """A part as the page shows it.

    Attributes:
        is_up: whether it works; None while it was not asked yet.
        says: its state in a few words.
        figures: as in ``Answer``.
        since: when it came or went last, seconds since the epoch.

    """

    is_up: bool | None = None
    says: str = "being asked"
    figures: tuple[tuple[str, str], ...] = ()
    since: float = 0


class Watch:
    """Asks all parts, each every 1.5 s.

    Args:
        questions: how to ask each part, by the name that the page shows.
        run: the run that is looked at.

    """

    def __init__(self, questions: Mapping[str, AskPart], run: Callable[[], Run | None]) -> None:
        self._run = run
        self._stopped = threading.Event()
        self._known = {part: PartHealth() for part in questions}
        self._heard = {part: time.monotonic() for part in questions}
        self._threads = [
            threading.Thread(target=self._ask, args=each, name=f"ask {each[0]}", daemon=True)
            for each in questions.items()
        ]

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more; an answer that is still to come is not waited for."""
        self._stopped.set()

    def parts(self) -> dict[str, PartHealth]:
        """Return how each part is."""
        return {part: self._present(part, health) for part, health in self._known.items()}

    def _present(self, part: str, health: PartHealth) -> PartHealth:
        silent = time.monotonic() - self._heard[part]
        if silent > STALE_SECONDS and health.is_up is not False:
            return PartHealth(False, f"no answer for {silent:.0f} s", health.figures, time.time() - silent)
        return health

    def _ask(self, part: str, ask: AskPart) -> None:
        while not self._stopped.is_set():
            try:
                answer = ask(self._run())
            except Exception as error:  # whatever a server that is away does to its client
                answer = Answer(False, _shortly(error))
            before = self._known[part]
            since = before.since if before.is_up == answer.is_up else time.time()
            # What a part that is away has counted last stays true.
            figures = answer.figures or (before.figures if not answer.is_up else ())
            self._known[part] = PartHealth(answer.is_up, answer.says, figures, since)
            self._heard[part] = time.monotonic()
            self._stopped.wait(ASK_SECONDS)


def _shortly(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) <= 160 else text[:159] + "…"
