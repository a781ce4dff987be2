"""What the sink tells the edge: the ranges of sequence numbers that Kafka has."""

import json

from hypothesis import given
from hypothesis import strategies as st

from nifi_templates.processors.confirmations import Confirmations

texts = st.text(max_size=5)
rows = st.lists(st.tuples(texts, texts, st.integers(-1, 30)), max_size=40)


def line(run: object, category: object, seq: object, **other: object) -> bytes:
    row = {"run": run, "category": category, "seq": seq, "event_time": 5} | other
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def told(confirmations: Confirmations) -> set[tuple[str, str, int]]:
    found = [json.loads(text) for text in confirmations.lines().splitlines()]
    return {
        (it["run"], it["category"], seq)
        for it in found
        for first, last in it["ranges"]
        for seq in range(first, last + 1)
    }


@given(rows, st.booleans())
def test_each_row_is_confirmed_and_nothing_else_and_heartbeats_are_left_out(found, spaces):
    confirmations = Confirmations()
    for row in found:
        text = line(*row)
        confirmations.add_row(json.dumps(json.loads(text)).encode() if spaces else text)
    assert told(confirmations) == {row for row in found if row[2]}


def test_neighbours_are_one_range_and_a_run_and_category_one_line():
    confirmations = Confirmations()
    for seq in [*range(1, 1001), *range(500, 1200), 0, 3000]:
        confirmations.add_row(line("R", "A", seq))
    confirmations.add_row(line("R", "B", -1))
    assert confirmations.lines().splitlines() == [
        b'{"run":"R","category":"A","ranges":[[1,1199],[3000,3000]]}',
        b'{"run":"R","category":"B","ranges":[[-1,-1]]}',
    ]


def test_a_dead_letter_confirms_the_row_that_it_names_and_otherwise_nothing():
    confirmations = Confirmations()
    for run, category, seq in [("R", "A", 7), (None, "A", 8), ("R", None, 9), ("R", "A", None), ("R", "A", True)]:
        confirmations.add_dead_letter(line(run, category, seq))
    assert told(confirmations) == {("R", "A", 7)}


def test_fields_of_another_kind_or_order_confirm_nothing_wrong():
    confirmations = Confirmations()
    for text in (
        b'{"x":{"seq":5,"run":"R","category":"A"}}',
        b'{"run":1,"category":"A","seq":4,"y":1}',
        b'{"seq":3,"run":"R","category":"A"}',
        b'{"run":"R","category":"A","seq":2}',
    ):
        confirmations.add_row(text)
    assert told(confirmations) == {("R", "A", 3), ("R", "A", 2)}
