"""Exact windows whatever happens between edges and Kafka: the edges' own bookkeeping against an adversary.

The chain is played in plain Python: messages and confirmations are dropped, doubled, delayed and reordered at will;
Kafka is a list for each partition; Flink reads the partitions in any interleaving, takes its watermark as the least
of the partitions' low watermarks, keeps the first copy of each row within a pane, and drops what comes too late.
One edge sends the run, or several do. What edges say to each other may be heard never, at any time and any number of
times, as from a broker that forgets a retained message, or goes back to an older one. Edges are killed and go on, or
are expelled.
"""

import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass

import pytest
from hunting import cases
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from true_windows import true_windows

from edge_replayer.edges import Edges
from edge_replayer.in_flight import InFlight
from edge_replayer.message import Message
from edge_replayer.payload import Payloads
from streamproof.core.contract import load_contract

PARTITIONS, SLIDE, SIZE = 3, 5, 15
CATEGORIES = ["A", "B"]
"""Of each edge; the second edge's are called A1 and B1."""
NAMES = ["edge0", "edge1", "edge2"]
CONTRACT = load_contract("ratings")
LONG = pytest.mark.long


class WrongWindowError(Exception):
    """The windows are not those of the rows that were sent."""


class TooHigh(InFlight):
    """Forgets the oldest unconfirmed message: its low watermark is one row too high."""

    def low_watermark(self, next_event_time: int) -> int:
        waiting = sorted(message.event_time for message in self.unconfirmed())
        return min([next_event_time, *waiting[1:]]) - 1


class OneTooHigh(Edges):
    """Takes the others' low watermarks for the first event time that is not confirmed."""

    def least(self, own: int) -> int:
        return min(super().least(10**9) + 1, own)


class EndsAlone(Edges):
    """Marks the end of the run as soon as its own rows are confirmed."""

    @property
    def all_done(self) -> bool:
        return self._done is not None


class DoesNotWaitForTheIdle(Edges):
    """Leaves out whoever has not been heard of since the last stamp."""

    quiet = 0

    def least(self, own: int) -> int:
        self.quiet += 1
        return own if self.quiet > 1 else super().least(own)

    def hear(self, payload: bytes) -> None:
        self.quiet = 0
        super().hear(payload)


class JoinsAtAnyTime(Edges):
    """Takes itself for a member of the run without the others' word."""

    joined = property(lambda _: True, lambda _, _value: None)


class BelievesAnEarlierRun(Edges):
    """Believes whoever bears the right name."""

    members = property(lambda _: "all", lambda _, _value: None)


class Flink:
    """Panes as long as the slide, first copies, sliding windows on top; closed by the watermark."""

    def __init__(self) -> None:
        self.watermarks = [-1] * PARTITIONS
        self.panes: dict[int, set[tuple[str, int, int]]] = defaultdict(set)
        self.late = 0

    def read(self, partition: int, row: dict) -> None:
        if row["seq"] > 0:
            pane = row["event_time"] // SLIDE * SLIDE
            if min(self.watermarks) >= pane + SLIDE - 1:
                self.late += 1
            else:
                self.panes[pane].add((row["category"], row["seq"], row["event_time"]))
        low_watermark = row["event_time"] + SIZE if row["seq"] == -1 else row["low_watermark"]
        self.watermarks[partition] = max(self.watermarks[partition], low_watermark)

    def windows(self) -> Counter:
        return windows(row for pane in self.panes.values() for row in pane)


def windows(rows) -> Counter:
    """How many rows each window holds, by category and start, and their seqs added up."""
    timed = ((category, "", event_time, seq) for category, seq, event_time in rows)
    found: Counter = Counter()
    for window, seqs in true_windows(timed, SIZE, SLIDE).items():
        found[window.category, window.start] = len(seqs)
        found[window.category, window.start, "sum"] = sum(seqs)
    return found


@dataclass(frozen=True)
class Kinds:
    """What the edges are made of, and who takes part."""

    in_flight: type[InFlight] = InFlight
    edges: type[Edges] = Edges
    has_earlier_run: bool = False
    late_joiner: type[Edges] | None = None
    begun: bool = False  # the members know of each other when the adversary begins
    expels_at_confirmed: bool = False  # an expelled edge has only its confirmed rows, and not all that were sent


class Edge:
    """One edge (real), with the rows that it is to send; what it has saved outlives it."""

    def __init__(
        self, world: "World", kind: type[Edges], name: str, names: list[str], rows: list[tuple[str, int, int]]
    ) -> None:
        self.world, self.kind, self.name, self.names, self.rows = world, kind, name, names, rows
        self.categories = sorted({f"{c}{NAMES.index(name)}" for c in CATEGORIES})
        self.payloads = Payloads("R", CONTRACT, self.categories)
        self.saved: dict = {}
        self.confirmed_to: dict[str, int] = {}
        self.until = max((time for *_, time in rows), default=None)
        self.start()

    def start(self) -> None:
        """A process begins, or goes on with what another one has saved."""
        self.in_flight = self.world.kinds.in_flight(self.categories, 1000, confirmed_to=self.confirmed_to)
        self.edges = self.kind(self.name, self.names, "plan", self.categories, **self.saved)
        self.save()
        self.to_send = [row for row in self.rows if row[1] > self.confirmed_to.get(row[0], 0)]

    def save(self) -> None:
        self.confirmed_to = {category: self.in_flight.confirmed_to(category) for category in self.categories}
        edges = self.edges
        self.saved |= {"incarnation": edges.incarnation, "members": edges.members, "joined": edges.joined}

    def expel(self) -> None:
        """Give it up: of its rows those are left that were sent."""
        waiting = self.in_flight.unconfirmed() if self.world.kinds.expels_at_confirmed else []
        self.rows = [
            row
            for row in self.rows
            if row in self.world.rows and not any(m.category == row[0] and m.first <= row[1] for m in waiting)
        ]
        self.until = max((time for *_, time in self.rows), default=None)
        self.saved["expelled"] = True
        self.start()

    def low_watermark(self) -> int:
        return self.in_flight.low_watermark(self.to_send[0][2] if self.to_send else (self.until or 0) + 1)

    def send(self, most: int) -> None:
        """A batch of the category that is next by event time, of at most so many rows."""
        if not self.to_send or not self.edges.joined:
            return
        self.save()
        category = self.to_send[0][0]
        batch = []
        low_watermark = self.edges.least(self.low_watermark())
        while self.to_send and self.to_send[0][0] == category and len(batch) < most:
            _, seq, event_time = self.to_send.pop(0)
            product = f"P{seq * 7 % 5}"
            batch.append((seq, event_time, f'"user_id":"u","product_id":"{product}","rating":1.0,"timestamp":0}}'))
            self.world.rows.add((category, seq, event_time))
        payload = self.payloads.rows(category, batch, low_watermark)
        message = Message(category, batch[0][0], batch[-1][0], batch[0][1], payload)
        self.in_flight.add(message)
        self.world.network.append(payload)

    def heartbeat(self) -> None:
        if self.edges.joined:
            mark = self.payloads.mark(self.categories[0], 0, self.edges.least(self.low_watermark()))
            self.world.network.append(mark)

    def end(self) -> None:
        """Be done, if all is confirmed, and mark the end, if all are done."""
        if self.edges.joined and not self.to_send and not self.in_flight.unconfirmed():
            self.edges.finish(self.until)
        if self.edges.all_done and self.edges.end is not None:
            self.world.network += [self.payloads.mark(category, -1, self.edges.end) for category in self.categories]


class World:
    """What lies between the edges and the windows (played)."""

    def __init__(self, kinds: Kinds, rows: dict[str, list[tuple[str, int, int]]]) -> None:
        self.choose = lambda _: 0
        self.kinds = kinds
        self.rows: set[tuple[str, int, int]] = set()
        self.network: list[bytes] = []
        self.confirmations: list[tuple[str, int, int]] = []
        self.kafka: list[list[dict]] = [[] for _ in range(PARTITIONS)]
        self.offsets = [0] * PARTITIONS
        self.flink = Flink()
        self.said: list[bytes] = []
        late = [name for name in rows if name == NAMES[2] and kinds.late_joiner]
        members = [name for name in rows if name not in late]
        if kinds.has_earlier_run:
            self.said = _said_in_an_earlier_run(kinds, members)
        self.members = [Edge(self, kinds.edges, name, members, rows[name]) for name in members]
        self.edges = self.members + [Edge(self, kinds.late_joiner, name, NAMES, rows[name]) for name in late]
        for _ in range(3 if kinds.begun else 0):
            self.hear_all()

    def edge(self) -> Edge:
        return self.edges[self.choose(len(self.edges))]

    def send_again(self) -> None:
        if waiting := self.edge().in_flight.unconfirmed():
            self.network.append(waiting[self.choose(len(waiting))].payload)

    def say(self) -> None:
        edge = self.edge()
        edge.save()  # who the members are is on disk before anybody hears it
        self.said.append(edge.edges.say(edge.low_watermark()))

    def hear(self) -> None:
        """An edge hears anything that anybody ever said."""
        if self.said:
            self.edge().edges.hear(self.said[self.choose(len(self.said))])

    def deliver(self, *, keep: bool) -> None:
        """Any message under way reaches Kafka, and may stay under way as well; its confirmations set out."""
        if not self.network:
            return
        place = self.choose(len(self.network))
        payload = self.network[place] if keep else self.network.pop(place)
        for row in map(json.loads, payload.split(b"\n")):
            mark = row["seq"] <= 0
            for partition in range(PARTITIONS) if mark else [int(row["product_id"][1:]) % PARTITIONS]:
                self.kafka[partition].append(row)
            self.confirmations.append((row["category"], row["seq"], row["seq"]))

    def drop(self) -> None:
        if self.network:
            self.network.pop(self.choose(len(self.network)))

    def confirm(self, *, keep: bool) -> None:
        if self.confirmations:
            place = self.choose(len(self.confirmations))
            category, first, last = self.confirmations[place] if keep else self.confirmations.pop(place)
            for edge in self.edges:
                if category in edge.categories:
                    edge.in_flight.confirm(category, first, last)

    def drop_confirmation(self) -> None:
        if self.confirmations:
            self.confirmations.pop(self.choose(len(self.confirmations)))

    def read(self) -> None:
        partition = self.choose(PARTITIONS)
        if self.offsets[partition] < len(self.kafka[partition]):
            self.flink.read(partition, self.kafka[partition][self.offsets[partition]])
            self.offsets[partition] += 1

    def finish(self) -> None:
        """From now on everything comes through in the end, and edges hear of each other."""
        for _ in range(6):  # to meet, to know the members, to join, to be done, to know that all are
            for edge in self.edges:
                while edge.to_send and edge.edges.joined:
                    edge.send(3)
                while edge.in_flight.unconfirmed():
                    self.network += [message.payload for message in edge.in_flight.unconfirmed()]
                    self.deliver_all()
                edge.end()
                self.deliver_all()
                if self.choose(2):
                    self.read_all()
            self.hear_all()
        assert all(edge.edges.all_done for edge in self.members)
        self.read_all()

    def hear_all(self) -> None:
        for edge in self.edges:
            edge.save()
            self.said.append(edge.edges.say(edge.low_watermark()))
            for other in self.edges:
                other.edges.hear(self.said[-1])

    def read_all(self) -> None:
        while any(at < len(log) for at, log in zip(self.offsets, self.kafka, strict=True)):
            self.read()

    def deliver_all(self) -> None:
        while self.network:
            self.deliver(keep=False)
        while self.confirmations:
            self.confirm(keep=False)


def _said_in_an_earlier_run(kinds: Kinds, names: list[str]) -> list[bytes]:
    edges = [kinds.edges(name, names, "plan", []) for name in names]
    for _ in range(3):
        said = [edge.say(0) for edge in edges]
        for edge in edges:
            for each in said:
                edge.hear(each)
        assert said
    said += [edge.say(20) for edge in edges]
    for edge in edges:
        edge.finish(30)
    return said + [edge.say(30) for edge in edges]


STEPS = {
    "send": lambda world: world.edge().send(world.choose(3) + 1),
    "send again": World.send_again,
    "heartbeat": lambda world: world.edge().heartbeat(),
    "say": World.say,
    "hear": World.hear,
    "be killed and go on": lambda world: world.edge().start(),
    "be expelled": lambda world: world.edge().expel(),
    "end": lambda world: world.edge().end(),
    "deliver": lambda world: world.deliver(keep=False),
    "double": lambda world: world.deliver(keep=True),
    "drop": World.drop,
    "confirm": lambda world: world.confirm(keep=False),
    "confirm twice": lambda world: world.confirm(keep=True),
    "drop confirmation": World.drop_confirmation,
    "read": World.read,
}
rows = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(CATEGORIES), st.integers(0, 7)), min_size=1, max_size=12)
steps = st.lists(st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 300)), max_size=120)
seeds = st.integers(0, 1000)


def run(kinds: Kinds, edges: int, found: list[tuple[int, str, int]], moves: list[tuple[str, int]], seed: int) -> None:
    now, of_edges, seqs = 0, {name: [] for name in NAMES[:edges]}, Counter()
    for place, letter, gap in found:
        now += gap
        category = f"{letter}{place % edges}"
        seqs[category] += 1
        of_edges[NAMES[place % edges]].append((category, seqs[category], now))
    world = World(kinds, of_edges)
    for move, number in moves:
        chance = random.Random(number)
        world.choose = chance.randrange
        STEPS[move](world)
    world.choose = random.Random(seed).randrange
    world.finish()
    if world.flink.windows() != windows(world.rows):
        raise WrongWindowError


kinds = st.builds(Kinds, has_earlier_run=st.booleans(), late_joiner=st.sampled_from([None, Edges]), begun=st.booleans())


@settings(max_examples=cases(150))
@given(kinds, st.integers(1, 3), rows, steps, seeds)
def test_windows_are_exact_whatever_is_lost_doubled_delayed_or_reordered(kinds, edges, found, moves, seed):
    run(kinds, edges, found, moves, seed)


@pytest.mark.parametrize(
    ("kinds", "edges"),
    [
        pytest.param(Kinds(in_flight=TooHigh), 1, id="low watermark one row too high"),
        pytest.param(
            Kinds(edges=OneTooHigh, begun=True),
            2,
            id="another edge's low watermark one too high",
            marks=LONG,
        ),
        pytest.param(Kinds(edges=EndsAlone, begun=True), 2, id="an edge's own end mark too early"),
        pytest.param(Kinds(edges=DoesNotWaitForTheIdle, begun=True), 2, id="no waiting for an idle edge", marks=LONG),
        pytest.param(
            Kinds(expels_at_confirmed=True, begun=True),
            2,
            id="an expelled edge's unconfirmed rows forgotten",
            marks=LONG,
        ),
        pytest.param(Kinds(late_joiner=JoinsAtAnyTime, begun=True), 3, id="an edge that joins late"),
        pytest.param(
            Kinds(edges=BelievesAnEarlierRun, has_earlier_run=True),
            2,
            id="a run's id used again",
            marks=LONG,
        ),
    ],
)
def test_with_one_rule_left_out_the_adversary_finds_a_wrong_window(kinds, edges):
    @settings(max_examples=5000, database=None, derandomize=True, phases=[Phase.generate])
    @given(rows, steps, seeds)
    def attack(found, moves, seed):
        run(kinds, edges, found, moves, seed)

    with pytest.raises(WrongWindowError):
        attack()
