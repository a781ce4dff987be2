"""The low watermark and the bound, whatever order confirmations come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_replayer.in_flight import InFlight
from edge_replayer.message import Message

sizes = st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 5)), min_size=1, max_size=20)
confirmations = st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 60), st.integers(0, 12)), max_size=60)


def message(category: str, first: int, last: int, event_time: int = 0) -> Message:
    return Message(category, first, last, event_time, b"12345")


@given(sizes, confirmations)
def test_the_low_watermark_lies_below_every_unconfirmed_row(batches, ranges):
    in_flight, open_rows, times, now = InFlight(["A", "B"], 1000), set(), {}, 100
    for category, count in batches:
        first = in_flight.sent[category] + 1
        for seq in range(first, first + count):
            times[category, seq] = now
            now += 7
        open_rows |= {(category, seq) for seq in range(first, first + count)}
        in_flight.add(message(category, first, first + count - 1, times[category, first]))
    for category, first, more in ranges:
        covered = {(category, seq) for seq in range(first, first + more + 1)} & open_rows
        assert in_flight.confirm(category, first, first + more) == len(covered)
        open_rows -= covered
        low_watermark = in_flight.low_watermark(now)
        assert all(low_watermark < times[row] for row in open_rows)
        assert in_flight.confirmed["A"] + in_flight.confirmed["B"] == len(times) - len(open_rows)
        waiting = {(m.category, s) for m in in_flight.unconfirmed() for s in range(m.first, m.last + 1)}
        assert open_rows <= waiting
        if not open_rows:
            assert low_watermark == now - 1
            assert (in_flight.rows, in_flight.size) == (0, 0)


def test_rows_that_are_not_made_yet_hold_the_low_watermark_back():
    in_flight = InFlight(["A"], 10)
    assert in_flight.low_watermark(5_000) == 4_999
    in_flight.add(message("A", 1, 2, 4_000))
    assert in_flight.low_watermark(5_000) == 3_999
    assert in_flight.low_watermark(1_000) == 999


def test_a_doubled_confirmation_counts_once():
    in_flight = InFlight(["A"], 10)
    in_flight.add(message("A", 1, 4))
    assert [in_flight.confirm("A", 1, 4), in_flight.confirm("A", 1, 4)] == [4, 0]


def test_a_message_confirmed_in_part_is_handed_out_again():
    in_flight = InFlight(["A"], 10)
    in_flight.add(message("A", 1, 4))
    in_flight.confirm("A", 2, 3)
    assert [(m.first, m.last) for m in in_flight.unconfirmed()] == [(1, 4)]
    in_flight.confirm("A", 1, 1)
    in_flight.confirm("A", 4, 9)
    assert in_flight.unconfirmed() == []


def test_room_is_bounded_in_rows_and_in_bytes_but_one_message_always_fits():
    in_flight = InFlight(["A"], max_rows=10, max_bytes=20)
    assert in_flight.has_room(500, 10_000)
    in_flight.add(message("A", 1, 8))
    assert in_flight.has_room(2, 15)
    assert not in_flight.has_room(3, 15)
    assert not in_flight.has_room(2, 16)


def test_a_gap_in_the_sequence_is_refused():
    with pytest.raises(ValueError, match="row 2 behind 0"):
        InFlight(["A"], 10).add(message("A", 2, 3))


def test_of_a_run_that_goes_on_only_the_rest_counts_as_under_way():
    in_flight = InFlight(["A"], 10, confirmed_to={"A": 7})
    in_flight.add(message("A", 8, 9, 500))
    assert (in_flight.sent["A"], in_flight.confirmed["A"], in_flight.confirmed_to("A")) == (9, 7, 7)
    assert in_flight.low_watermark(900) == 499
    in_flight.confirm("A", 9, 9)
    assert (in_flight.confirmed["A"], in_flight.confirmed_to("A")) == (8, 7)
    in_flight.confirm("A", 8, 8)
    assert in_flight.confirmed_to("A") == 9


def test_an_end_mark_waits_for_its_confirmation_and_is_no_row():
    in_flight = InFlight(["A"], 10)
    in_flight.add(message("A", 1, 2))
    in_flight.confirm("A", 1, 2)
    in_flight.add(message("A", -1, -1, 300))
    assert (in_flight.rows, in_flight.sent["A"], in_flight.confirmed_to("A")) == (0, 2, 2)
    assert in_flight.low_watermark(900) == 299
    assert in_flight.unconfirmed() != []
    in_flight.confirm("A", -1, -1)
    assert in_flight.unconfirmed() == []
    assert (in_flight.confirmed["A"], in_flight.size) == (2, 0)
