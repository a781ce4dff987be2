"""Event times and moments, row by row."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_replayer.pace import FilePace, IntervalPace

START = 1_704_067_200_000


def rows(*times: int) -> list[tuple[int, int, str]]:
    return [(line, time, f"row {line}") for line, time in enumerate(times, 1)]


def test_a_row_every_interval_from_the_start_on():
    due = IntervalPace(Fraction(1003), START).due(rows(9, 9, 9), 4)
    assert list(due) == [(START, 4, 1, "row 1"), (START + 1003, 4, 2, "row 2"), (START + 2006, 4, 3, "row 3")]


@given(st.fractions(min_value="1/1000", max_value=10**9, max_denominator=10**6))
def test_intervals_never_accumulate_an_error(interval: Fraction):
    pace = IntervalPace(interval, START)
    stream = pace.due(iter(rows(*[0] * 20)), 0)
    for event_time, _, n, _ in stream:
        assert event_time == START + (n - 1) * interval // 1


def test_three_rows_a_second_are_floored_and_do_not_drift():
    times = [t for t, *_ in IntervalPace(Fraction(1000, 3), 0).due(rows(*[0] * 7), 0)]
    assert times == [0, 333, 666, 1000, 1333, 1666, 2000]


def test_without_a_start_the_event_time_is_the_files_own():
    pace = FilePace(Fraction(60), first=5_000, start=None)
    assert [t for t, *_ in pace.due(rows(5_000, 65_000), 0)] == [5_000, 65_000]


def test_with_a_start_the_files_time_is_moved_and_scaled():
    pace = FilePace(Fraction("1.5"), first=5_000, start=START)
    assert [t for t, *_ in pace.due(rows(5_000, 6_000, 8_000), 0)] == [START, START + 666, START + 2000]


@pytest.mark.parametrize(("start", "second"), [(None, 65_000), (START, START + 1_000)])
def test_on_the_wall_clock_a_minute_at_speed_60_takes_a_second(start: int | None, second: int):
    assert FilePace(Fraction(60), 5_000, start).seconds_from_first(second) == pytest.approx(1.0)
