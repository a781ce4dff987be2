"""The oracle itself, against the drawings in it."""

import pytest
from true_windows import true_windows

SECOND = 1000


def bounds(seconds, size, slide, **shape):
    found = true_windows([("Books", "A", int(seconds * SECOND), 5)], size * SECOND, slide * SECOND, **shape)
    return sorted((window.start / SECOND, window.end / SECOND) for window in found)


def test_a_row_is_in_each_sliding_window_that_begins_at_or_before_it_and_ends_behind_it():
    assert bounds(34, 30, 10) == [(10, 40), (20, 50), (30, 60)]


@pytest.mark.parametrize(("seconds", "window"), [(30, (30, 60)), (59.999, (30, 60)), (60, (60, 90)), (-1, (-30, 0))])
def test_a_row_on_an_edge_is_in_the_tumbling_window_that_begins_there(seconds, window):
    assert bounds(seconds, 30, 30) == [window]


def test_a_row_is_in_the_cumulative_windows_of_its_period_that_end_behind_it():
    assert bounds(34, 30, 10, cumulative=True) == [(30, 40), (30, 50), (30, 60)]
    assert bounds(40, 30, 10, cumulative=True) == [(30, 50), (30, 60)]
    assert bounds(59, 30, 10, cumulative=True) == [(30, 60)]


def test_windows_hold_the_values_of_their_category_and_key_in_the_order_of_the_rows():
    rows = [("Books", "A", 1, 5), ("Music", "A", 2, 3), ("Books", "B", 3, 2), ("Books", "A", 4, 1)]
    assert {tuple(window): values for window, values in true_windows(rows, 10, 10).items()} == {
        ("Books", "A", 0, 10): [5, 1], ("Music", "A", 0, 10): [3], ("Books", "B", 0, 10): [2]
    }  # fmt: skip
