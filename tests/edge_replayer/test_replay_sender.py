"""Batches, clocks, back-pressure, heartbeats and the end mark, with a chain that confirms when the test says so."""

import json
import threading
import time
from dataclasses import dataclass, field

import pytest
from waiting import PATIENCE, until

from edge_replayer.in_flight import InFlight
from edge_replayer.message import Message
from edge_replayer.payload import Payloads
from edge_replayer.sender import Sender
from streamproof.core.errors import StreamproofError

BODY = '"user_id":"u","product_id":"B","rating":5.0,"timestamp":0}'


@dataclass
class Chain:
    """A scripted stand-in for broker and flow: keeps what is sent; confirms at once, or not."""

    in_flight: InFlight
    confirms: bool = True
    messages: list[list[dict]] = field(default_factory=list)
    failure: str = ""

    def send(self, message: Message) -> None:
        self.messages.append([json.loads(line) for line in message.payload.split(b"\n")])
        self.in_flight.acknowledge(message)
        if self.confirms:
            self.in_flight.confirm(message.category, message.first, message.last)

    def send_heartbeat(self, category: str, payload: bytes) -> None:
        self.messages.append([json.loads(payload)])
        assert self.messages[-1][0]["category"] == category

    def check(self) -> None:
        if self.failure:
            raise StreamproofError(self.failure)

    def close(self) -> None:
        pass

    def rows(self) -> list[dict]:
        return [row for message in self.messages for row in message if row["seq"] > 0]

    def batches(self) -> list[int]:
        return [len(message) for message in self.messages if message[0]["seq"] > 0]


@pytest.fixture
def make(ratings):
    def build(categories="A", *, confirms=True, max_rows=1000, **options):
        in_flight = InFlight(list(categories), max_rows)
        chain = Chain(in_flight, confirms)
        sender = Sender(
            payloads=Payloads("R", ratings, list(categories)),
            publisher=chain,
            in_flight=in_flight,
            stop=threading.Event(),
            tick=lambda: None,
            **{"batch_rows": 3, "batch_ms": 100, "moment": lambda _: 0.0} | options,
        )
        return sender, chain

    return build


def due(*event_times: int, place: int = 0):
    return [(event_time, place, seq, BODY) for seq, event_time in enumerate(event_times, 1)]


def test_a_row_has_its_envelope_first_and_then_the_contracts_fields(make):
    sender, chain = make()
    assert sender.send(due(5000))
    assert list(chain.rows()[0].items()) == [
        ("run", "R"),
        ("category", "A"),
        ("seq", 1),
        ("event_time", 5000),
        ("low_watermark", 4999),
        ("user_id", "u"),
        ("product_id", "B"),
        ("rating", 5.0),
        ("timestamp", 0),
    ]


def test_rows_fill_batches_and_the_last_one_is_sent_as_it_is(make):
    sender, chain = make(batch_rows=3)
    sender.send(due(*range(8)))
    assert chain.batches() == [3, 3, 2]
    assert [row["seq"] for row in chain.rows()] == list(range(1, 9))


def test_the_end_mark_of_each_category_carries_the_runs_last_event_time(make):
    sender, chain = make("AB")
    sender.send([(10, 0, 1, BODY), (20, 1, 1, BODY), (30, 0, 2, BODY)])
    assert sender.finish()
    ends = [m[0] for m in chain.messages if m[0]["seq"] == -1]
    assert [(e["category"], e["event_time"], e["low_watermark"]) for e in ends] == [("A", 30, 30), ("B", 30, 30)]
    assert chain.messages[-1][0]["seq"] == -1
    assert (ends[0]["user_id"], ends[0]["rating"], ends[0]["timestamp"]) == ("", 0.0, 0)


def test_no_message_claims_more_than_is_confirmed_and_made(make):
    sender, chain = make("AB", batch_rows=2)
    sender.send([(time, seq % 2, seq // 2 + 1, BODY) for seq, time in enumerate(range(100, 120))])
    seen: set[int] = set()
    for message in chain.messages:
        seen |= {row["event_time"] for row in message if row["seq"] > 0}
        missing = [t for t in range(100, 120) if t not in seen]
        assert all(row["low_watermark"] < min(missing, default=999) for row in message)


def test_a_stuck_chain_holds_the_rows_back_and_the_low_watermark_down(make):
    sender, chain = make(confirms=False, max_rows=6, batch_rows=3)
    replaying = threading.Thread(target=sender.send, args=(due(*range(100, 130)),))
    replaying.start()
    until(lambda: len(chain.batches()) == 2, look=0.01)
    replaying.join(0.3)
    assert chain.batches() == [3, 3]
    assert {row["low_watermark"] for message in chain.messages for row in message} == {99}
    chain.confirms = True
    chain.in_flight.confirm("A", 1, 6)
    replaying.join(PATIENCE)
    assert len(chain.rows()) == 30


def test_on_the_wall_clock_rows_go_when_due_and_a_heartbeat_follows_at_once(make):
    began = time.monotonic()
    sender, chain = make(moment=lambda event_time: began + event_time / 1000)
    arrivals = []
    original = chain.send

    def send(message: Message) -> None:
        arrivals.append(time.monotonic() - began)
        original(message)

    chain.send = send
    sender.send(due(0, 1000, 2000))
    assert chain.batches() == [1, 1, 1]  # each is gone a second later, even on a slow machine
    assert all(arrived >= event_time for arrived, event_time in zip(arrivals, [0, 1, 2], strict=True))
    heartbeats = [m[0]["low_watermark"] for m in chain.messages if m[0]["seq"] == 0]
    assert heartbeats == [-1, 999, 1999]


def test_rows_that_are_due_within_the_batch_time_travel_together(make):
    began = time.monotonic()
    sender, chain = make(moment=lambda event_time: began + event_time / 1000, batch_rows=500, batch_ms=1200)
    sender.send(due(0, 20, 40, 2500, 2520))
    assert chain.batches() == [3, 2]


def test_a_stop_ends_the_rows_and_still_marks_the_end(make):
    sender, chain = make(batch_rows=1)

    def rows():
        for row in due(*range(1000)):
            if row[2] == 6:
                sender.stop.set()
            yield row

    assert not sender.send(rows())
    assert 1 <= len(chain.rows()) <= 6
    assert sender.finish()
    last = chain.rows()[-1]["event_time"]
    assert chain.messages[-1][0]["seq"] == -1
    assert chain.messages[-1][0]["low_watermark"] == last


def test_after_a_stop_nothing_is_promised_that_is_not_confirmed(make, monkeypatch):
    monkeypatch.setattr("edge_replayer.sender._PATIENCE_AFTER_STOP", 0.1)
    sender, chain = make(confirms=False)
    sender.send(due(1, 2, 3))
    sender.stop.set()
    assert not sender.finish()
    assert all(message[0]["seq"] != -1 for message in chain.messages)


def test_an_error_in_the_background_ends_the_sending(make):
    sender, chain = make()
    chain.failure = "the broker refuses"
    with pytest.raises(StreamproofError, match="the broker refuses"):
        sender.send(due(1, 2, 3))


def test_the_end_mark_is_sent_again_until_it_is_confirmed_and_nothing_comes_behind_it(make, monkeypatch):
    monkeypatch.setattr("edge_replayer.send_order.FIRST_PROBE", 0.05)
    monkeypatch.setattr("edge_replayer.sender._REPEAT_HEARTBEAT", 0.01)
    sender, chain = make()
    sender.send(due(1, 2, 3))
    sender.before_end = lambda _: setattr(chain, "confirms", False)
    finished: list[bool] = []
    finishing = threading.Thread(target=lambda: finished.append(sender.finish()))
    finishing.start()
    until(lambda: sum(m[0]["seq"] == -1 for m in chain.messages) >= 3, look=0.01)
    assert not finished
    assert chain.in_flight.confirm("A", -1, -1) == 0
    finishing.join(PATIENCE)
    assert finished == [True]
    ends = [m[0]["seq"] for m in chain.messages]
    assert set(ends[ends.index(-1) :]) == {-1}
    assert (chain.in_flight.confirmed["A"], chain.in_flight.resent["A"]) == (3, 0)


def test_a_run_that_goes_on_with_all_rows_confirmed_only_marks_its_end(make):
    sender, chain = make(sent_until=777)
    assert sender.send([])
    assert sender.finish()
    assert [(m[0]["seq"], m[0]["low_watermark"]) for m in chain.messages][-1] == (-1, 777)
    assert chain.rows() == []


def test_a_heartbeat_is_repeated_as_one_may_be_lost(make, monkeypatch):
    monkeypatch.setattr("edge_replayer.sender._REPEAT_HEARTBEAT", 0.05)
    began = time.monotonic()
    sender, chain = make(moment=lambda event_time: began + event_time / 1000)
    sender.send(due(0, 1000))
    assert [m[0]["low_watermark"] for m in chain.messages if m[0]["seq"] == 0].count(999) > 2
