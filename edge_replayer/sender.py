"""The sending of a run's rows: batches, the clock, back-pressure, heartbeats and the end mark."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edge_replayer.edges import Edges
from edge_replayer.in_flight import InFlight
from edge_replayer.message import Message
from edge_replayer.pace import DueRow
from edge_replayer.payload import Payloads
from edge_replayer.publisher import Publisher
from streamproof.core.message import BEFORE_ALL_TIME, END_SEQ, HEARTBEAT_SEQ

MAX_MESSAGE = 256 << 10
"""Bytes of rows after which a message is sent, however few rows it holds."""

_HEARTBEAT = 0.2
_REPEAT_HEARTBEAT = 10.0  # one may be lost, and the next row may be due in an hour
_REPEAT_SAID = 1.0  # to the other edges: their windows wait for it
_PATIENCE_AFTER_STOP = 10.0


@dataclass
class _Batch:
    category: str
    rows: list[tuple[int, int, str]] = field(default_factory=list)
    size: int = 0
    deadline: float = 0.0


@dataclass(kw_only=True)
class Sender:
    """Sends rows in the order of their event times, each when the clock says so.

    Attributes:
        batch_rows, batch_ms: rows of one message, and how long (milliseconds) they may wait for one another.
        moment: the moment (of ``time.monotonic``, in seconds) at which a row with this event time is sent.
        stop: set from outside; no further row is sent then.
        tick: called several times a second.
        before_send: called with each message that holds rows, before it is sent for the first time.
        before_end: called with the last row's event time, before the end marks are sent.
        edges: where several edges send the run, what this one knows of them.
        sent_until: the greatest event time of the rows sent; at first, of a run that goes on, of those confirmed.
        low_watermark: the last one that was computed.

    """

    payloads: Payloads
    publisher: Publisher
    in_flight: InFlight
    batch_rows: int
    batch_ms: int
    moment: Callable[[int], float]
    stop: threading.Event
    tick: Callable[[], None]
    before_send: Callable[[Message], None] = lambda _: None
    before_end: Callable[[int], None] = lambda _: None
    sent_until: int | None = None
    edges: Edges | None = None
    low_watermark: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._batches = [_Batch(category) for category in self.in_flight.sent]
        self._open: OrderedDict[str, _Batch] = OrderedDict()  # those with rows: by event time, and so by deadline
        self._next = 0  # the least event time of the rows that are not in a batch or sent
        self._has_rows = True
        self._is_ended = False
        self._heartbeat: tuple[int | None, float] = (None, 0.0)  # the last one's low watermark and moment
        self._ticked = 0.0
        self._said: tuple[int | None, float] = (None, 0.0)  # the same of what the other edges were told
        self._ahead: deque[tuple[int, int]] = deque()  # the last event time and the rows of messages above the least
        self._rows_ahead = 0

    def send(self, rows: Iterable[DueRow]) -> bool:
        """Send rows that come ordered by event time; return whether all of them are sent (False: stopped)."""
        service_at = 0.0
        event_time = None
        for event_time, place, seq, body in rows:
            self._next = event_time
            now, moment = time.monotonic(), self.moment(event_time)
            if moment > now or now >= service_at:
                if not self._wait_until(moment):
                    return False
                now = time.monotonic()
                service_at = now + min(0.05, self.batch_ms / 1000)
            batch = self._batches[place]
            if not batch.rows:
                batch.deadline = now + self.batch_ms / 1000
                self._open[batch.category] = batch
            batch.rows.append((seq, event_time, body))
            batch.size += len(body)
            if (len(batch.rows) >= self.batch_rows or batch.size >= MAX_MESSAGE) and not self._flush(batch):
                return False
        if event_time is None:
            return not self.stop.is_set()
        self._next = event_time + 1
        return all(self._flush(batch) for batch in list(self._open.values()))

    def finish(self, *, mark_end: bool = True) -> bool:
        """Wait until everything sent is confirmed, then send the end marks, and wait for their confirmation, too.

        After a stop rows that were never sent are forgotten, and it waits as long as confirmations keep coming. Returns
        whether all is done.
        """
        self._has_rows = False
        self._next = self._unsent()  # as long as the end is not marked, `resume` may send what is forgotten here
        for batch in self._open.values():
            batch.rows.clear()
        self._open.clear()
        if self.sent_until is None and not self.edges:
            return True
        if not self._wait_for(self._nothing_waits):
            return False
        if not mark_end:
            return True
        end = self.sent_until
        if self.edges:
            self.edges.finish(end)
            if not self._wait_for_edges(self.edges):
                return False
            end = self.edges.end if self.edges.all_done else None
        if end is None:
            return True
        self.before_end(end)
        self._is_ended = True  # nothing is to come behind the end mark
        for category in self.in_flight.sent:
            payload = self.payloads.mark(category, END_SEQ, end)
            mark = Message(category, END_SEQ, END_SEQ, end + 1, payload)
            self.in_flight.add(mark)
            self.publisher.send(mark)
        return self._wait_for(self._nothing_waits)

    def seconds_late(self) -> float:
        """Return for how long the next row has been due; any thread may ask."""
        return max(0.0, time.monotonic() - self.moment(self._next)) if self._next and self._has_rows else 0.0

    @property
    def _oldest(self) -> _Batch | None:
        return next(iter(self._open.values()), None)

    def _nothing_waits(self) -> bool:
        return not self.in_flight.size

    def _wait_until(self, moment: float) -> bool:
        while not self.stop.is_set():
            now = time.monotonic()
            # Nothing can join a batch whose time is over before the next row is due.
            while (batch := self._oldest) and batch.deadline <= max(now, moment):
                if not self._flush(batch):
                    return False
            self._serve()
            if moment <= (now := time.monotonic()):
                return True
            self.in_flight.wait(min(moment - now, _HEARTBEAT))
        return False

    def _wait_for(self, condition: Callable[[], bool]) -> bool:
        stopped_at = None
        while not condition():
            self._serve()
            if self.stop.is_set():
                stopped_at = stopped_at or time.monotonic()
                if min(time.monotonic() - stopped_at, self.in_flight.quiet_seconds()) >= _PATIENCE_AFTER_STOP:
                    return False
            self.in_flight.wait(0.05)
        return True

    def _wait_for_edges(self, edges: Edges) -> bool:
        """Wait until all edges are done, or until they can know it of one that was given up; False: stopped before."""
        self._said = (None, 0.0)
        while not (edges.all_done or (edges.expelled and edges.is_told)):
            self._serve()
            if self.stop.is_set():
                return False
            self.in_flight.wait(0.05)
        self._say(edges)
        return True

    def _is_too_far(self, rows: list[tuple[int, int, str]]) -> bool:
        """Whether as many rows as may be in flight are sent already above what all edges have confirmed.

        Flink remembers them until the slowest edge is there. The slowest itself never waits: its next row follows.
        """
        if not self.edges:
            return False
        least = self.edges.least(self._low_watermark()) + 1
        while self._ahead and self._ahead[0][0] <= least:
            self._rows_ahead -= self._ahead.popleft()[1]
        return rows[0][1] > least and self._rows_ahead + len(rows) > self.in_flight.max_rows

    def _flush(self, batch: _Batch) -> bool:
        """Send a batch as soon as there is room for it; return False when stopped before."""
        rows = batch.rows
        while not self.stop.is_set() and (not self.in_flight.has_room(len(rows), batch.size) or self._is_too_far(rows)):
            if self.edges and (oldest := self._oldest) and oldest is not batch:  # it may be what all wait for
                self._flush(oldest)
                continue
            self._serve()
            self.in_flight.wait(0.05)
        if self.stop.is_set():
            return False
        payload = self.payloads.rows(batch.category, rows, self._least())
        message = Message(batch.category, rows[0][0], rows[-1][0], rows[0][1], payload)
        self.sent_until = max(rows[-1][1], self.sent_until or rows[-1][1])
        self.in_flight.add(message)
        if self.edges:
            self._ahead.append((rows[-1][1], len(rows)))
            self._rows_ahead += len(rows)
        self.before_send(message)
        batch.rows, batch.size = [], 0
        del self._open[batch.category]
        self.publisher.send(message)
        return True

    def _low_watermark(self) -> int:
        self.low_watermark = self.in_flight.low_watermark(self._unsent())
        return self.low_watermark

    def _unsent(self) -> int:
        return min(self._next, self._oldest.rows[0][1]) if self._oldest else self._next

    def _least(self) -> int:
        """Return the low watermark of the whole run, as far as it is known here."""
        own = self._low_watermark()
        return self.edges.least(own) if self.edges else own

    def _say(self, edges: Edges) -> None:
        own = self._low_watermark()
        self._said = (own, time.monotonic())
        self.publisher.say(edges.say(own))

    def _serve(self) -> None:
        """Do what is to be done beside the rows: errors, lost messages, heartbeats, progress."""
        self.publisher.check()
        for message in self.in_flight.to_send_again():
            self.publisher.send(message)
        now = time.monotonic()
        if self.edges:
            own, (said, said_at) = self._low_watermark(), self._said
            if now >= said_at + (_REPEAT_SAID if own == said else _HEARTBEAT):
                self._say(self.edges)
        low_watermark, (last, sent_at) = self._least(), self._heartbeat
        is_quiet = not self.in_flight.rows and not self._open
        is_due = low_watermark != last and (is_quiet or now >= sent_at + _HEARTBEAT)
        is_due = is_due or now >= sent_at + _REPEAT_HEARTBEAT
        if is_due and not self._is_ended and low_watermark != BEFORE_ALL_TIME:
            # One category's topic is enough: the flow's sink hands it to every partition.
            category = self._batches[0].category
            mark = self.payloads.mark(category, HEARTBEAT_SEQ, low_watermark)
            self.publisher.send_heartbeat(category, mark)
            self._heartbeat = (low_watermark, now)
        if now >= self._ticked + _HEARTBEAT:
            self._ticked = now
            self.tick()
