"""Which rows came past: what the sinks tell the edge that Kafka has, and the source's ledger of what it received."""

import json

from hypothesis import given
from hypothesis import strategies as st

from nifi_templates.processors.row_ranges import Ledger, RowRanges

texts = st.text(max_size=5)
rows = st.lists(st.tuples(texts, texts, st.integers(-1, 30)), max_size=40)


def line(run: object, category: object, seq: object, **other: object) -> bytes:
    row = {"run": run, "category": category, "seq": seq, "event_time": 5} | other
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def told(confirmations: RowRanges) -> set[tuple[str, str, int]]:
    found = [json.loads(text) for text in confirmations.confirmations().splitlines()]
    return {
        (it["run"], it["category"], seq)
        for it in found
        for first, last in it["ranges"]
        for seq in range(first, last + 1)
    }


@given(rows, st.booleans())
def test_each_row_is_confirmed_and_nothing_else_and_heartbeats_are_left_out(found, spaces):
    confirmations = RowRanges()
    for row in found:
        text = line(*row)
        confirmations.add_row(json.dumps(json.loads(text)).encode() if spaces else text)
    assert told(confirmations) == {row for row in found if row[2]}


def test_neighbours_are_one_range_and_a_run_and_category_one_line():
    confirmations = RowRanges()
    for seq in [*range(1, 1001), *range(500, 1200), 0, 3000]:
        confirmations.add_row(line("R", "A", seq))
    confirmations.add_row(line("R", "B", -1))
    assert confirmations.confirmations().splitlines() == [
        b'{"run":"R","category":"A","ranges":[[1,1199],[3000,3000]]}',
        b'{"run":"R","category":"B","ranges":[[-1,-1]]}',
    ]


def test_a_dead_letter_confirms_the_row_that_it_names_and_otherwise_nothing():
    confirmations = RowRanges()
    for run, category, seq in [("R", "A", 7), (None, "A", 8), ("R", None, 9), ("R", "A", None), ("R", "A", True)]:
        confirmations.add_dead_letter(line(run, category, seq))
    assert told(confirmations) == {("R", "A", 7)}


def test_fields_of_another_kind_or_order_confirm_nothing_wrong():
    confirmations = RowRanges()
    for text in (
        b'{"x":{"seq":5,"run":"R","category":"A"}}',
        b'{"run":1,"category":"A","seq":4,"y":1}',
        b'{"seq":3,"run":"R","category":"A"}',
        b'{"run":"R","category":"A","seq":2}',
    ):
        confirmations.add_row(text)
    assert told(confirmations) == {("R", "A", 3), ("R", "A", 2)}


def received(*messages: list[bytes]) -> RowRanges:
    ranges = RowRanges()
    for lines in filter(None, messages):
        ranges.add_message(b"\n".join(lines))
    return ranges


@given(st.lists(st.tuples(texts, texts, st.integers(1, 900), st.integers(1, 9)), max_size=20))
def test_messages_of_neighbouring_rows_are_counted_as_row_by_row(found):
    whole, row_by_row = RowRanges(), RowRanges()
    for run, category, first, count in found:
        lines = [line(run, category, seq) for seq in range(first, first + count)]
        whole.add_message(b"\n".join(lines))
        for text in lines:
            row_by_row.add_row(text)
    assert (whole.rows(), whole.merged()) == (row_by_row.rows(), row_by_row.merged())


@given(st.lists(st.tuples(texts, texts, st.integers(1, 30), st.integers(1, 9)), min_size=1, max_size=20), st.booleans())
def test_published_rows_are_confirmed_as_row_by_row(found, spaces):
    lines = [line(run, category, seq) for run, category, first, count in found for seq in range(first, first + count)]
    if spaces:
        lines = [json.dumps(json.loads(text)).encode() if at % 3 else text for at, text in enumerate(lines)]
    at_once, row_by_row = RowRanges(), RowRanges()
    at_once.add_rows(lines, [json.loads(text)["seq"] for text in lines])
    for text in lines:
        row_by_row.add_row(text)
    assert at_once.confirmations() == row_by_row.confirmations()


def test_the_ledger_counts_each_copy_knows_which_rows_came_and_leaves_out_marks():
    ledger = Ledger({})
    first = received([line("R", "A", n) for n in (1, 2, 3)], [line("R", "A", 0)], [line("R", "A", -1)])
    again = received([line("R", "A", n) for n in (3, 4)], [line("R", "A", 6), line("R", "A", 9)], [line("R", "B", 1)])
    assert ledger.add([first, again], at=5)
    assert not ledger.add([received([line("R", "A", 0)])], at=6)
    assert ledger.rows == {"R": {"A": (7, [[1, 4], [6, 6], [9, 9]]), "B": (1, [[1, 1]])}}
    assert Ledger(ledger.texts).rows == ledger.rows


def test_the_ledger_keeps_the_newest_runs_also_when_it_is_read_again():
    ledger = Ledger({})
    for at in range(Ledger.RUNS + 5):
        ledger.add([received([line(f"R{at}", "A", 1)])], at)
    ledger.add([received([line("R5", "A", 2)])], Ledger.RUNS + 5)
    ledger = Ledger(dict(reversed(ledger.texts.items())))
    ledger.add([received([line("new", "A", 1)])], Ledger.RUNS + 6)
    assert set(ledger.rows) == set(ledger.texts) == {"new", "R5", *(f"R{n}" for n in range(7, Ledger.RUNS + 5))}


def test_a_run_with_too_many_gaps_is_unknown_and_the_others_are_not():
    ledger = Ledger({})
    ledger.add([received(*([line("gaps", "A", n)] for n in range(1, 20_000, 2)), [line("R", "A", 1)])], at=1)
    ledger.add([received([line("gaps", "A", 2)])], at=2)
    assert ledger.rows == {"gaps": None, "R": {"A": (1, [[1, 1]])}}
    assert Ledger(ledger.texts).rows == ledger.rows


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
strange = st.fixed_dictionaries({}, optional=dict.fromkeys(("run", "category", "seq", "x"), json_values))


@given(st.lists(st.lists(strange, max_size=4), max_size=4), st.dictionaries(texts, texts, max_size=2))
def test_whatever_comes_or_stands_in_the_state_the_ledger_stays_one_that_the_state_can_hold(messages, state):
    ledger = Ledger(state | {"odd": '{"at": 1, "rows": [3]}'})
    ledger.add([received(*([json.dumps(row).encode() for row in message] for message in messages))], at=1)
    assert all(run.isascii() and len(run) <= 64 for run in ledger.texts)
    assert Ledger(ledger.texts).rows == ledger.rows
