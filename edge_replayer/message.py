"""A message on its way: a batch of rows of one category, until each of them is confirmed."""

from dataclasses import dataclass, field

from streamproof.core.message import END_SEQ


@dataclass
class Message:
    """A batch of rows of one category, or its end mark.

    Attributes:
        first, last: the sequence numbers of its first and last row; both ``END_SEQ`` for the end mark.
        event_time: the least event time of its rows, milliseconds since the epoch.

    """

    category: str
    first: int
    last: int
    event_time: int
    payload: bytes
    _open: list[tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._open = [(self.first, self.last)]

    @property
    def key(self) -> tuple[str, int]:
        """What no other message of the run has."""
        return self.category, self.first

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return 0 if self.first == END_SEQ else self.last - self.first + 1

    @property
    def is_confirmed(self) -> bool:
        """Whether every row of it is confirmed."""
        return not self._open

    @property
    def first_unconfirmed(self) -> int:
        """The least sequence number that is not confirmed."""
        return self._open[0][0]

    def confirm(self, first: int, last: int) -> int:
        """Mark the rows from ``first`` to ``last`` as confirmed; return how many were not confirmed before."""
        still_open, confirmed = [], 0
        for a, b in self._open:
            low, high = max(a, first), min(b, last)
            if low > high:
                still_open.append((a, b))
                continue
            confirmed += high - low + 1
            still_open += [(x, y) for x, y in ((a, low - 1), (high + 1, b)) if x <= y]
        self._open = still_open
        return confirmed
