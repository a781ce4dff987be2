import pytest
from checkout import CHECKOUT
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproof.bench.low_watermarks import CONFIRMED_AFTER, STEP, Edges, main, outcome, simulate

EDGES = st.builds(
    Edges,
    count=st.integers(1, 6),
    period=st.sampled_from([25, 100, 1000, 2500]),
    delay=st.sampled_from([1, 20, 1500]),
    lost=st.sampled_from([0.0, 0.1, 0.9]),
    dead=st.tuples(st.integers(0, 4000), st.integers(0, 8000)),
    conductor=st.booleans(),
)


@settings(max_examples=25)
@given(edges=EDGES, seed=st.integers(0, 2**32))
def test_no_edge_writes_more_than_what_is_true_of_each_edge(edges, seed):
    for moment in simulate(edges, 8, seed):
        assert moment.written.max() <= moment.own.min()


@pytest.mark.parametrize("conductor", [False, True])
def test_where_nothing_is_lost_a_window_waits_for_one_period_at_most_and_for_two_with_a_conductor(conductor):
    found = outcome(Edges(10, period=500, delay=1, conductor=conductor), 20)
    assert len(found.waits) >= 15
    assert found.waits[-1] <= CONFIRMED_AFTER + (2 if conductor else 1) * (500 + 2 * STEP)


def test_windows_wait_for_a_dead_edge_and_then_close():
    found = outcome(Edges(3, dead=(5000, 12_000)), 20)
    assert found.waits[-1] >= 12_000 - 6000
    assert len(found.waits) >= 15


@pytest.mark.long
def test_the_documents_table_is_what_the_simulation_prints(capsys):
    main()
    printed = [line.strip() for line in capsys.readouterr().out.splitlines() if "edge" in line]
    assert len(printed) > 10
    shown = [line.strip() for line in (CHECKOUT / "docs" / "scale.md").read_text().splitlines()]
    assert [line for line in printed if line not in shown] == []
