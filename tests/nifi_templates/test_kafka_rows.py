"""How the sink reads a row's key, and tells marks from rows."""

import json

import pytest

from nifi_templates.processors.kafka_rows import is_mark, key_reader

key_of = key_reader("id")


@pytest.mark.parametrize("key", ["0000143502", "", 'x"y', "a\\b", "é", '"seq":0', "\n"])
def test_the_key_is_the_fields_text(key):
    row = {"seq": 1, "id": key, "other": "z"}
    assert key_of(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()) == key.encode()
    assert key_of(json.dumps(row, indent=1).encode()) == key.encode()


@pytest.mark.parametrize(("seq", "mark"), [(-1, True), (0, True), (1, False), (10, False), (120, False)])
def test_a_seq_of_0_or_less_is_a_mark(seq, mark):
    row = {"run": '"seq":0', "seq": seq, "id": "x"}
    assert is_mark(json.dumps(row, separators=(",", ":")).encode()) is mark
    assert is_mark(json.dumps(row).encode()) is mark
