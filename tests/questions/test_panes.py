"""The panes in which copies are told apart: they divide every slide, so that windows are whole numbers of them."""

from collections import Counter

from hypothesis import assume, given
from hypothesis import strategies as st
from shop_questions import QUESTIONS

from flink_jobs.tables import pane_of
from streamproof.core.window import MOST_WINDOWS, Window

ANY = QUESTIONS[0]
slides = st.one_of(st.integers(1, 100_000), st.integers(1, 86_400).map(lambda seconds: seconds * 1000))
shapes = st.builds(
    lambda slide, count, kind: Window(slide * count, slide, kind),
    slides,
    st.integers(1, 60),
    st.sampled_from(["sliding", "cumulative"]),
)


@given(st.lists(shapes, min_size=1, max_size=4))
def test_a_pane_divides_every_slide_and_is_short_where_that_leaves_a_choice(windows):
    pane = pane_of([ANY.with_window(window) for window in windows])
    assert all(window.slide % pane == 0 and window.size % pane == 0 for window in windows)
    slide = min(window.slide for window in windows)
    whole = all(window.slide % 10_000 == 0 for window in windows)
    assert pane <= (10_000 if whole else slide)


@given(
    st.lists(shapes, min_size=1, max_size=3),
    st.lists(st.integers(-200_000, 200_000), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
def test_copies_in_any_order_are_counted_once_and_in_exactly_their_windows(windows, times, chance):
    """The first copies of each pane, put into windows by the pane's end: the same as the rows by their own times."""
    assume(all(window.windows_a_row <= MOST_WINDOWS for window in windows))
    pane = pane_of([ANY.with_window(window) for window in windows])
    copies = [*enumerate(times), *(chance.choice(list(enumerate(times))) for _ in range(20))]
    chance.shuffle(copies)
    first = {(time // pane, seq): time for seq, time in reversed(copies)}
    assert len(first) == len(times)
    for window in windows:
        by_pane = Counter(end for number, _ in first for end in _ends(number * pane + pane - 1, window))
        assert by_pane == Counter(end for time in times for end in _ends(time, window))


def _ends(time, window):
    newest = time // window.slide * window.slide + window.slide
    last = time // window.size * window.size if window.kind == "cumulative" else newest - window.slide
    return range(newest, last + window.size + 1, window.slide)
