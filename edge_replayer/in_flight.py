"""What is under way: the messages that are sent and not yet confirmed, and the low watermark that follows.

Delivery: at least once. A message stays here until all of its rows are confirmed, and what ``unconfirmed``
returns can be sent again at any time.
"""

import threading
from dataclasses import dataclass, field


@dataclass
class Message:
    """A batch of rows of one category.

    Attributes:
        first, last: the sequence numbers of its first and last row.
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
    def rows(self) -> int:
        """How many rows it holds."""
        return self.last - self.first + 1

    @property
    def is_confirmed(self) -> bool:
        """Whether every row of it is confirmed."""
        return not self._open

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


class InFlight:
    """The unconfirmed messages of a run, bounded in rows and bytes. Safe to use from several threads.

    Attributes:
        sent, confirmed: the rows of each category that were added, and those of them that are confirmed.
        rows, size: the rows and bytes of the messages that are not wholly confirmed.

    """

    def __init__(self, categories: list[str], max_rows: int, max_bytes: int = 32 << 20) -> None:
        self.sent = dict.fromkeys(categories, 0)
        self.confirmed = dict.fromkeys(categories, 0)
        self.rows = 0
        self.size = 0
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._messages: dict[str, dict[int, Message]] = {category: {} for category in categories}
        self._changed = threading.Condition()

    def has_room(self, rows: int, size: int) -> bool:
        """Whether a message of so many rows and bytes may be added; one alone always may."""
        return not self.rows or (self.rows + rows <= self._max_rows and self.size + size <= self._max_bytes)

    def add(self, message: Message) -> None:
        """Take a message that is about to be sent.

        Raises:
            ValueError: it does not follow the category's last message: its event times could lie below the
                low watermark.

        """
        with self._changed:
            if message.first != self.sent[message.category] + 1:
                raise ValueError(f"{message.category}: row {message.first} behind {self.sent[message.category]}")
            self._messages[message.category][message.first] = message
            self.sent[message.category] = message.last
            self.rows += message.rows
            self.size += len(message.payload)

    def confirm(self, category: str, first: int, last: int) -> int:
        """Take a confirmation of the rows ``first`` to ``last``, in any order, overlapping or repeated.

        Returns how many rows were not confirmed before.
        """
        with self._changed:
            messages = self._messages[category]
            exact = messages.get(first)
            if exact and exact.last == last:
                touched = [exact]
            else:
                touched = []
                for message in messages.values():
                    if message.first > last:
                        break
                    if message.last >= first:
                        touched.append(message)
            confirmed = sum(message.confirm(first, last) for message in touched)
            for message in touched:
                if message.is_confirmed:
                    del messages[message.first]
                    self.rows -= message.rows
                    self.size -= len(message.payload)
            self.confirmed[category] += confirmed
            self._changed.notify_all()
            return confirmed

    def unconfirmed(self) -> list[Message]:
        """Return the messages that are not wholly confirmed, in each category by sequence number."""
        with self._changed:
            return [message for messages in self._messages.values() for message in messages.values()]

    def low_watermark(self, next_event_time: int) -> int:
        """Return the event time up to which every row of the run is confirmed.

        Args:
            next_event_time: the least event time of the rows that were not added yet.

        """
        with self._changed:
            # A category's rows come in the order of event time: its oldest message holds its least.
            oldest = (next(iter(messages.values())) for messages in self._messages.values() if messages)
            return min([next_event_time, *(message.event_time for message in oldest)]) - 1

    def wait(self, seconds: float) -> None:
        """Wait until something was confirmed, or so many seconds."""
        with self._changed:
            self._changed.wait(seconds)
