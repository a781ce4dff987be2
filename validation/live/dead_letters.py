"""The newest dead letters, and how many there are of each reason."""

from collections import Counter, deque
from dataclasses import dataclass

import msgspec

KEPT = 100
"""Letters that can be opened; each holds up to 128 KiB of what came."""

_REASONS = 100
_OTHER = "other reasons"


class Letter(msgspec.Struct, kw_only=True):
    """A dead letter as the flow writes it (docs/bad-input.md); ``place`` is its partition and offset in Kafka."""

    reason: str = ""
    stage: str = ""
    mqtt_topic: str = ""
    received_at: int = 0
    run: str | None = None
    category: str | None = None
    seq: int | None = None
    payload: str | None = None
    payload_base64: str | None = None
    place: str = ""


@dataclass(frozen=True)
class DeadLetters:
    """What is known of the dead letters.

    Attributes:
        newest: the newest first, ``KEPT`` at most.
        of_run: how many name the run.
        without_run: how many came since the run began and name none.
        reasons: how many there are of each reason, the most frequent first; beyond a hundred reasons they are counted
            together.

    """

    newest: tuple[Letter, ...] = ()
    of_run: int = 0
    without_run: int = 0
    reasons: tuple[tuple[str, int], ...] = ()


class LetterBox:
    """Collects dead letters as they come."""

    def __init__(self) -> None:
        self._newest: deque[Letter] = deque(maxlen=KEPT)
        self._reasons: Counter[str] = Counter()
        self._of_run = 0
        self._without_run = 0

    def add(self, letter: Letter) -> None:
        """Take in a letter of the run, or of none."""
        self._newest.append(letter)
        self._of_run += letter.run is not None
        self._without_run += letter.run is None
        is_known = letter.reason in self._reasons or len(self._reasons) < _REASONS
        self._reasons[letter.reason if is_known else _OTHER] += 1

    def content(self) -> DeadLetters:
        """Return what was collected so far."""
        newest = sorted(self._newest, key=lambda letter: -letter.received_at)
        return DeadLetters(tuple(newest), self._of_run, self._without_run, tuple(self._reasons.most_common()))
