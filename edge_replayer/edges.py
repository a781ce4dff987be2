"""The edges of a run that several of them send: what each says of its low watermark, and the least of all.

Delivery: whatever is lost, late, doubled, reordered or reverted of what the edges say to each other, ``least`` is never
above what is true of each of them (docs/delivery.md has the argument). Who is not heard of only holds the others back.
"""

import hashlib
import threading
import time
from collections.abc import Collection
from uuid import uuid4

import msgspec

from streamproof.core.message import BEFORE_ALL_TIME

_DIGEST = 32  # hexadecimal digits


class _Said(msgspec.Struct, omit_defaults=True):
    """What an edge says, in JSON, retained by the broker and repeated.

    Attributes:
        plan: the digest of what all edges of the run must have been told alike.
        incarnation: made up by chance when the edge began the run, and kept when it goes on.
        members: the digest of the plan and of all edges' incarnations; empty until all are known.
        low_watermark: milliseconds since the epoch: every row of the edge up to there is confirmed.
        done: every row of the edge is confirmed, and no other comes.
        expelled: the edge was given up: no process may go on with it.
        end: with ``done``, the greatest event time of its rows; None where it has none.
        categories: whose rows it sends.

    """

    edge: str
    plan: str
    incarnation: str
    members: str = ""
    low_watermark: int = BEFORE_ALL_TIME
    done: bool = False
    expelled: bool = False
    end: int | None = None
    categories: list[str] = []


class Edges:
    """What one edge knows of all edges of its run. Safe to use from several threads.

    A value counts only when it bears the same ``members`` as this edge's own, which nobody can say who has not heard
    this very incarnation of every edge. So what an earlier run of the same id left behind counts for nothing, and an
    edge that was not declared never gets to send a row.

    Attributes:
        name: this edge.
        incarnation, members: as ``_Said`` has them.
        plan: the digest of what all of them must have been told alike, their names as well.
        joined: whether each edge has said the same members; from then on they stay, and rows may be sent.
        expelled: whether this process only ends an edge that was given up.
        is_told: whether the broker has passed on that this edge is done.
        refusal: why this edge cannot be one of the run's; empty where nothing speaks against it.

    Args:
        name: this edge.
        names: all edges of the run, this one as well.
        plan: what all of them must have been told alike.
        categories: whose rows this edge sends.
        incarnation, members, joined, expelled: of an edge that goes on.

    """

    def __init__(
        self,
        name: str,
        names: Collection[str],
        plan: str,
        categories: Collection[str],
        *,
        incarnation: str = "",
        members: str = "",
        joined: bool = False,
        expelled: bool = False,
    ) -> None:
        self.name, self.incarnation, self.members = name, incarnation or uuid4().hex, members
        self.expelled, self.is_told = expelled, False
        self.refusal = ""
        self.plan = _digest(plan, *sorted(names))
        self._categories = sorted(categories)
        self._others = sorted(set(names) - {name})
        self.joined = joined or not self._others
        self._incarnations: dict[str, str] = {}
        self._heard: dict[str, _Said] = {}
        self._heard_at: dict[str, float] = {}  # only to name who is silent
        self._began = time.monotonic()
        self._done: tuple[int | None] | None = None
        self._lock = threading.Lock()
        self._decoder = msgspec.json.Decoder(_Said)

    @property
    def waits_for(self) -> list[str]:
        """The edges that were not heard of; if there are none, those that have not said the members."""
        with self._lock:
            not_met = [edge for edge in self._others if edge not in self._incarnations and edge not in self._heard]
            return not_met or [edge for edge in self._others if edge not in self._heard]

    @property
    def not_done(self) -> list[str]:
        """The other edges that are not known to be done."""
        with self._lock:
            return [edge for edge in self._others if edge not in self._heard or not self._heard[edge].done]

    @property
    def all_done(self) -> bool:
        """Whether no row of any edge is to come: only now may the run's end be marked."""
        return self._done is not None and not self.not_done

    @property
    def end(self) -> int | None:
        """The greatest event time of the rows of all edges, once all are done; None where there is no row."""
        with self._lock:
            ends = [*(self._done or ()), *(said.end for said in self._heard.values())]
            return max((end for end in ends if end is not None), default=None)

    def least(self, own: int) -> int:
        """Return the event time up to which every row of the run is confirmed, as far as this edge knows.

        Args:
            own: this edge's own low watermark, milliseconds since the epoch.

        """
        with self._lock:
            heard = [self._heard.get(edge) for edge in self._others]
            values = [said.low_watermark if said else BEFORE_ALL_TIME for said in heard if not (said and said.done)]
        if not self._done or not values:
            values.append(own)
        return min(values)

    def silent(self, seconds: float) -> list[str]:
        """Return the other edges that are not done and have said nothing for so long."""
        since = time.monotonic() - seconds
        return [edge for edge in self.not_done if self._heard_at.get(edge, self._began) < since]

    def finish(self, end: int | None) -> None:
        """Take note that every row of this edge is confirmed, and none is to come; ``end`` is the last event time."""
        self._done = (end,)

    def say(self, own: int) -> bytes:
        """Return what this edge is to say now, its own low watermark being ``own``."""
        with self._lock:
            names = (self.name, self.plan, self.incarnation, self.members)
            said = _Said(*names, low_watermark=own, expelled=self.expelled, categories=self._categories)
            if self._done:
                said.done, said.end = True, self._done[0]
        return msgspec.json.encode(said)

    def hear(self, payload: bytes | bytearray) -> None:
        """Take what an edge has said, at whatever time; what is none of that is left alone."""
        try:
            said = self._decoder.decode(payload)
        except msgspec.DecodeError:
            return
        with self._lock:
            if said.edge == self.name:
                self._hear_of_myself(said)
                return
            if not self.joined:
                self._meet(said)
            if said.edge in self._others and said.members and said.members == self.members:
                self._believe(said)

    def _believe(self, said: _Said) -> None:
        # It may have come late: what is true of an edge stays true, so the greatest value counts.
        before = self._heard.get(said.edge)
        self._heard_at[said.edge] = time.monotonic()
        if not before or (said.done, said.low_watermark) > (before.done, before.low_watermark):
            self._heard[said.edge] = said
        self.joined = self.joined or len(self._heard) == len(self._others)

    def _meet(self, said: _Said) -> None:
        """Learn the incarnation of another edge, and from the last one who the members are."""
        if said.plan != self.plan or said.edge not in self._others:
            self.refusal = (
                f"the edge {said.edge} sends this run too, and was told other edges, another pace, start or contract "
                "than this one: give each edge of a run the same --edges, pace, --start and contract, or take another "
                "run id"
            )
            return
        if shared := sorted(set(said.categories) & set(self._categories)):
            self.refusal = f"the category {shared[0]} is sent by the edge {said.edge} as well: a category has one edge"
            return
        self._incarnations[said.edge] = said.incarnation
        if len(self._incarnations) == len(self._others):
            all_ = self._incarnations | {self.name: self.incarnation}
            members = _digest(self.plan, *(part for edge in sorted(all_) for part in (edge, all_[edge])))
            if members != self.members:
                self.members = members
                self._heard.clear()

    def _hear_of_myself(self, said: _Said) -> None:
        if said.incarnation == self.incarnation:
            self.is_told = self.is_told or (said.done and self._done is not None)
            if said.expelled and not self.expelled:
                self.refusal = f"the edge {self.name} was expelled from the run: no row of it may follow"
        elif not self.joined:
            self.refusal = (
                f"an edge {self.name} has sent a run of this id before: choose another id, or go on with that one "
                "(--resume)"
            )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_DIGEST]
