"""What the MQTT source lets pass, and the reason it gives for the rest."""

import json

import pytest

from nifi_templates.processors.received_lines import LONGEST_LINE, check_message, why_bad

GOOD = b'{"run":"r","seq":1}'


def test_good_lines_come_through_beside_a_bad_one_in_the_same_message():
    good, bad = check_message(GOOD + b"\n{broken\r\n\n" + GOOD + b"\n")
    assert good == [GOOD, GOOD]
    assert [line for line, _ in bad] == [b"{broken\r"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"abc", "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":-Infinity}', "not JSON"),
        (b'{"a":1e400}', "not JSON"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b'{"a":1} {"b":2}', "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"\xff":1}', "not UTF-8"),
        (b"[1]", "not a JSON object but an array"),
        (b"5", "not a JSON object but a number"),
        (b"true", "not a JSON object but true or false"),
        (b"null", "not a JSON object but null"),
        (b'"text"', "not a JSON object but a text"),
        (b'{"a":1,"a":2}', "the field 'a' is there twice"),
        (b'{"a":{"b":1,"b":2}}', "the field 'b' is there twice"),
        (b'{"a":' + b"9" * 5000 + b"}", "more than 300 digits"),
        (b'{"a":' + b"[" * 150 + b"]" * 150 + b"}", "nested deeper than 100 levels"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "not JSON"),
        (b'{"a":"' + b"x" * LONGEST_LINE + b'"}', f"more than {LONGEST_LINE}"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(line, reason):
    assert reason in (why_bad(line) or "")


@pytest.mark.parametrize("text", ['a:b "quoted": x', "é\u2028", "\x00", "x" * 1000])
def test_any_text_in_a_good_line_is_good(text):
    assert why_bad(json.dumps({"a": text}).encode()) is None
    assert why_bad(json.dumps({"a": text}, ensure_ascii=False).encode()) is None


@pytest.mark.parametrize("payload", [b"", b"\n", b" \r\n\t\n"])
def test_an_empty_message_does_not_vanish(payload):
    assert check_message(payload) == ([], [(payload, "the message is empty")])


def test_a_carriage_return_between_fields_cannot_split_a_row_later():
    good, bad = check_message(b'{"a":1,\r"b":2}\r\n')
    assert [json.loads(line) for line in good] == [{"a": 1, "b": 2}]
    assert not bad
    assert b"\r" not in good[0]
