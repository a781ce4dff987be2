"""What is sent again and when, on a clock that the test turns; the chain behind is only played by the test."""

import pytest

from edge_replayer.in_flight import InFlight
from edge_replayer.message import Message


class Edge:
    """One category, one row a message; every send is acknowledged by the broker unless the test says otherwise."""

    def __init__(self) -> None:
        self.now = 0.0
        self.in_flight = InFlight(["A"], 1000, clock=lambda: self.now)
        self.messages: dict[int, Message] = {}

    def send(self, *seqs: int, acknowledged: bool = True) -> None:
        for seq in seqs:
            self.messages[seq] = Message("A", seq, seq, 0, b"x")
            self.in_flight.add(self.messages[seq])
            if acknowledged:
                self.in_flight.acknowledge(self.messages[seq])

    def confirm(self, *seqs: int) -> None:
        for seq in seqs:
            self.in_flight.confirm("A", seq, seq)

    def pass_time(self, seconds: float, *, acknowledged: bool = True) -> list[int]:
        """Look every tenth of a second, as the sender does at least; return what was sent again."""
        found = []
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            for message in self.in_flight.to_send_again():
                found.append(message.first)
                if acknowledged:
                    self.in_flight.acknowledge(message)
        return found


@pytest.fixture
def edge():
    return Edge()


def test_a_message_that_a_later_one_overtook_is_sent_again_after_a_grace_and_once(edge):
    edge.send(1, 2, 3, 4)
    edge.confirm(1, 3)
    assert edge.pass_time(0.8) == []
    assert edge.pass_time(2) == [2]
    assert edge.in_flight.resent["A"] == 1
    edge.confirm(2, 4)
    assert edge.pass_time(100) == []


def test_a_message_on_the_longer_way_that_is_confirmed_within_the_grace_is_not_sent_again(edge):
    edge.send(1, 2)
    edge.confirm(2)
    assert edge.pass_time(0.9) == []
    edge.confirm(1)
    assert edge.pass_time(100) == []


def test_nothing_is_overtaken_while_all_are_only_slow(edge):
    edge.send(*range(1, 101))
    for seq in range(1, 101):
        assert edge.pass_time(3) == []
        edge.confirm(seq)


def test_in_silence_the_newest_message_is_sent_as_a_probe_ever_more_rarely_and_the_others_are_kept(edge):
    edge.send(*range(1, 51))
    assert edge.pass_time(4.8) == []
    assert edge.pass_time(0.5) == [50]
    assert edge.pass_time(9) == []
    assert edge.pass_time(1.5) == [50]
    edge.send(51)
    assert edge.pass_time(300) == [51] * 6
    assert edge.in_flight.rows == 51


def test_when_a_probe_comes_through_alone_all_that_was_sent_before_it_is_sent_again(edge):
    edge.send(*range(1, 51))
    assert edge.pass_time(5.2) == [50]
    edge.confirm(50)
    assert edge.pass_time(1.5) == list(range(1, 50))
    edge.confirm(*range(1, 50))
    assert edge.pass_time(100) == []


def test_after_an_outage_without_loss_the_probes_are_the_only_copies(edge):
    edge.send(*range(1, 51))
    assert edge.pass_time(20) == [50, 50]
    for seq in range(1, 51):
        edge.confirm(seq)
        assert edge.pass_time(4.5) == []


def test_loss_among_what_is_sent_again_is_found_as_well(edge):
    edge.send(*range(1, 11))
    edge.pass_time(5.2)
    edge.confirm(10)
    assert edge.pass_time(1.5) == list(range(1, 10))
    edge.confirm(2, 3, 9)
    assert edge.pass_time(5.2) == [8]
    edge.confirm(8)
    assert edge.pass_time(1.5) == [1, 4, 5, 6, 7]


def test_a_message_that_was_taken_for_lost_and_comes_all_the_same_casts_no_doubt_on_those_under_way(edge):
    edge.send(*range(1, 51))
    edge.confirm(2)
    assert edge.pass_time(1.5) == [1]
    edge.confirm(1)
    for seq in range(3, 51):
        assert edge.pass_time(2) == []
        edge.confirm(seq)


def test_what_the_broker_has_not_acknowledged_is_left_to_the_mqtt_client(edge):
    edge.send(1, acknowledged=False)
    edge.send(2)
    edge.confirm(2)
    assert edge.pass_time(100) == []
    edge.in_flight.acknowledge(edge.messages[1])
    assert edge.pass_time(0.1, acknowledged=False) == [1]
    assert edge.pass_time(100, acknowledged=False) == []


def test_while_nobody_subscribes_the_probes_stay_frequent(edge):
    edge.send(1)
    found = 0
    for _ in range(10):
        found += len(edge.pass_time(6))
        edge.in_flight.acknowledge(edge.messages[1], has_subscriber=False)
    assert found >= 9


def test_the_probe_is_soon_again_after_any_progress(edge):
    edge.send(1, 2)
    assert edge.pass_time(100) == [2, 2, 2, 2]
    edge.confirm(1)
    assert edge.pass_time(5.2) == [2]
