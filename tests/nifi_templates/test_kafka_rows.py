"""How the sink reads the rows' keys and numbers, and tells marks from rows."""

import json

import pytest

from nifi_templates.processors.kafka_rows import is_mark, key_reader, row_numbers

keys_of = key_reader("id")


def compact(row):
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("key", ["0000143502", "", 'x"y', "a\\b", "é", '"seq":0', '"id":"x"', "\n", None])
def test_the_keys_are_the_fields_texts(key):
    row = {"seq": 1, "id": key, "other": '"id":"z"'}
    expected = None if key is None else key.encode()
    for lines in ([compact(row)], [compact(row | {"id": "a"}), compact(row)], [json.dumps(row).encode()]):
        assert keys_of(b"\n".join(lines) + b"\n", lines)[-1] == expected
    assert key_reader("")(b"", [b"{}"]) == [None]


@pytest.mark.parametrize(
    ("rows", "numbers"),
    [
        ([{"seq": 1, "id": '"seq":7,'}, {"id": "x", "seq": 30}], [1, 30]),
        ([{"seq": 1}, {"seq": 0}], []),
        ([{"seq": -1}], []),
        ([], []),
    ],
)
def test_the_numbers_of_rows_are_found_where_no_mark_is_among_them(rows, numbers):
    lines = [compact(row) for row in rows]
    assert row_numbers(b"\n".join(lines), lines) == numbers
    assert row_numbers(b"", [json.dumps({"seq": 1}).encode()]) == []


@pytest.mark.parametrize(("seq", "mark"), [(-1, True), (0, True), (1, False), (10, False), (120, False)])
def test_a_seq_of_0_or_less_is_a_mark(seq, mark):
    row = {"run": '"seq":0', "seq": seq, "id": "x"}
    assert is_mark(json.dumps(row, separators=(",", ":")).encode()) is mark
    assert is_mark(json.dumps(row).encode()) is mark
