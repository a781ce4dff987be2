"""What is under way: the messages that are sent and not yet confirmed, and the low watermark that follows.

Delivery: at least once. A message stays here until all of its rows are confirmed, which means that Kafka has them,
and until then ``to_send_again`` hands it out when it seems lost. It is sent again byte for byte: the low watermark
that it carries lies below its own rows and below everything that was unconfirmed when it was made, and what is
confirmed stays so. An old low watermark is therefore never wrong, only low (docs/delivery.md has the argument).
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from heapq import heappop, heappush

from edge_replayer.message import Message
from edge_replayer.send_order import SendOrder


class InFlight:
    """The unconfirmed messages of a run, bounded in rows and bytes. Safe to use from several threads.

    Attributes:
        sent: the greatest sequence number of each category that was added.
        confirmed: the rows of each category that are confirmed.
        resent: the rows of each category that were sent again, each time counted.
        max_rows: the bound in rows.
        rows, size: the rows and bytes of the messages that are not wholly confirmed.

    Args:
        confirmed_to: of a run that goes on, the sequence number of each category up to which all is confirmed.
        clock: seconds that only rise.

    """

    def __init__(
        self,
        categories: list[str],
        max_rows: int,
        max_bytes: int = 32 << 20,
        *,
        confirmed_to: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sent = {category: (confirmed_to or {}).get(category, 0) for category in categories}
        self.confirmed = dict(self.sent)
        self.resent = dict.fromkeys(categories, 0)
        self.rows = 0
        self.size = 0
        self.max_rows = max_rows
        self._max_bytes = max_bytes
        self._clock = clock
        # A dict would look for its oldest entry among all that were removed before it.
        self._messages: dict[str, OrderedDict[int, Message]] = {category: OrderedDict() for category in categories}
        self._by_time: list[tuple[int, int, Message]] = []  # a heap; what is confirmed leaves it at its top
        self._added = 0
        self._order = SendOrder()
        self._changed = threading.Condition()

    def has_room(self, rows: int, size: int) -> bool:
        """Whether a message of so many rows and bytes may be added; one alone always may."""
        return not self.rows or (self.rows + rows <= self.max_rows and self.size + size <= self._max_bytes)

    def add(self, message: Message) -> None:
        """Take a message that is about to be sent.

        Raises:
            ValueError: it does not follow the category's last message: its event times could lie below the
                low watermark.

        """
        with self._changed:
            if message.rows:
                if message.first != self.sent[message.category] + 1:
                    raise ValueError(f"{message.category}: row {message.first} behind {self.sent[message.category]}")
                self.sent[message.category] = message.last
            self._messages[message.category][message.first] = message
            self._added += 1
            heappush(self._by_time, (message.event_time, self._added, message))
            self._order.sent(message, self._clock())
            self.rows += message.rows
            self.size += len(message.payload)

    def acknowledge(self, message: Message, *, has_subscriber: bool = True) -> None:
        """Take the broker's acknowledgement of what was sent last: from now on it can be lost."""
        with self._changed:
            self._order.acknowledged(message, self._clock(), has_subscriber=has_subscriber)

    def confirm(self, category: str, first: int, last: int) -> int:
        """Take a confirmation of the rows ``first`` to ``last``, in any order, overlapping or repeated.

        Returns how many rows were not confirmed before.
        """
        with self._changed:
            messages, now = self._messages[category], self._clock()
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
            rows = 0
            for message in touched:
                confirmed = message.confirm(first, last)
                if not confirmed:
                    continue
                self._order.confirmed(message, now)
                rows += min(confirmed, message.rows)
                if message.is_confirmed:
                    del messages[message.first]
                    self.rows -= message.rows
                    self.size -= len(message.payload)
            self.confirmed[category] += rows
            self._changed.notify_all()
            return rows

    def unconfirmed(self) -> list[Message]:
        """Return the messages that are not wholly confirmed, in each category by sequence number."""
        with self._changed:
            return [message for messages in self._messages.values() for message in messages.values()]

    def to_send_again(self) -> list[Message]:
        """Return the messages that are to be sent again now (``edge_replayer.send_order`` says which)."""
        with self._changed:
            now = self._clock()
            found = self._order.lost(now)
            for message in found:
                self._order.sent(message, now)
                self.resent[message.category] += message.rows
            return found

    def confirmed_to(self, category: str) -> int:
        """Return the sequence number up to which every row of a category is confirmed."""
        with self._changed:
            oldest = next((m for m in self._messages[category].values() if m.rows), None)
            return oldest.first_unconfirmed - 1 if oldest else self.sent[category]

    def quiet_seconds(self) -> float:
        """Return for how long no confirmation came; 0 when none is waited for."""
        with self._changed:
            return self._clock() - self._order.quiet_since if len(self._order) else 0.0

    def low_watermark(self, next_event_time: int) -> int:
        """Return the event time up to which every row of the run is confirmed.

        Args:
            next_event_time: the least event time of the rows that were not added yet.

        """
        with self._changed:
            while self._by_time and self._by_time[0][2].is_confirmed:
                heappop(self._by_time)
            return min(next_event_time, self._by_time[0][0] if self._by_time else next_event_time) - 1

    def wait(self, seconds: float) -> None:
        """Wait until something was confirmed, or so many seconds."""
        with self._changed:
            self._changed.wait(seconds)
