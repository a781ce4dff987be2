"""Which messages of a run are sent again, and when.

The way of a run's messages is first-in first-out: one connection, one subscriber, one queue. So a message that
was sent before one that is confirmed by now, and is not confirmed itself, is lost; it is given a grace, as a part of
the flow may try a batch again, or take the longer way to the dead letters. A pause of the confirmations, however long,
says nothing: a chain that was away goes on where it stopped.

Where nothing is sent behind a lost message, or nothing comes back at all, nothing overtakes it: then one message is
sent again, a probe, after 5 seconds and then ever more rarely. So a chain that stands still for long gathers a few
copies, not all of them over and over. The probe is the message that was sent last: a confirmation does not say which
copy came through, but either copy of this one stands behind all the others.

A message that the broker has not acknowledged is left alone: the MQTT client sends it again by itself when it
connects anew. So at most one copy of each message waits in this process.
"""

from dataclasses import dataclass

from edge_replayer.message import Message

GRACE = 1.0
"""Seconds."""

FIRST_PROBE, LONGEST_PROBE = 5.0, 60.0
"""Seconds without a confirmation: until the first probe, and at most between two."""


@dataclass
class _Sends:
    """The sends of a message, numbered within the run: the first that may still come through, and the last."""

    message: Message
    first: int
    last: int
    is_acknowledged: bool = False


class SendOrder:
    """The unconfirmed messages of a run, in the order of their last send. Times are seconds of one clock."""

    def __init__(self) -> None:
        self.quiet_since = 0.0
        self._sends: dict[tuple[str, int], _Sends] = {}
        self._count = 0
        self._passed = 0  # the send with this number came through, or a later one
        self._overtaken = 0  # what was sent before this number has had its grace
        self._grace: tuple[float, int] | None = None  # when the next value of _overtaken was seen, and the value
        self._probe_at = 0.0
        self._probe_after = FIRST_PROBE

    def __len__(self) -> int:
        return len(self._sends)

    def sent(self, message: Message, now: float) -> None:
        """Take note that a message is sent, for the first time or again."""
        if not self._sends:
            self._progress(now)
        self._count += 1
        before = self._sends.pop(message.key, None)
        self._sends[message.key] = _Sends(message, before.first if before else self._count, self._count)

    def acknowledged(self, message: Message, now: float, *, has_subscriber: bool) -> None:
        """Take note that the broker has what was sent last, and whether it has somebody to give it to."""
        if sends := self._sends.get(message.key):
            sends.is_acknowledged = True
            if not has_subscriber:  # nothing gathers anywhere, so there is no reason to probe rarely
                self._probe_after = FIRST_PROBE
                self._probe_at = min(self._probe_at, now + FIRST_PROBE)

    def confirmed(self, message: Message, now: float) -> None:
        """Take note that rows of a message were confirmed; it leaves when all of them are."""
        if sends := self._sends.get(message.key):
            self._passed = max(self._passed, sends.first)
            self._progress(now)
            if message.is_confirmed:
                del self._sends[message.key]

    def lost(self, now: float) -> list[Message]:
        """Return what is to be sent again now; ``sent`` must be told of each."""
        self._let_grace_pass(now)
        lost = []
        for sends in self._sends.values():
            if sends.last >= self._overtaken:
                break
            if sends.is_acknowledged:
                lost.append(sends.message)
        if not lost and self._sends and now >= self._probe_at:
            newest = next(reversed(self._sends.values()))
            if newest.first < self._overtaken:  # it was taken for lost, and no copy from before has come for so long
                newest.first = newest.last
            self._probe_after = min(2 * self._probe_after, LONGEST_PROBE)
            self._probe_at = now + self._probe_after
            lost = [newest.message] if newest.is_acknowledged else []
        return lost

    def _progress(self, now: float) -> None:
        self.quiet_since = now
        self._probe_after = FIRST_PROBE
        self._probe_at = now + FIRST_PROBE

    def _let_grace_pass(self, now: float) -> None:
        if self._grace and now >= self._grace[0] + GRACE:
            self._overtaken = self._grace[1]
            self._grace = None
        if not self._grace and self._passed > self._overtaken:
            self._grace = (now, self._passed)
