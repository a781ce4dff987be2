"""What the MQTT source lets pass, what of it unchecked, and the reason it gives for the rest."""

import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_replayer.payload import Payloads
from nifi_templates.processors.received_lines import LONGEST_LINE, check_message, fitting_rows, why_bad
from streamproof.core.contract import load_contract

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


def edges_rows(contract, values):
    """Return a message of one row, whose fields are raw JSON, and one of a mark."""
    payloads = Payloads("R", contract, ["c"])
    body = ",".join(f'"{name}":{value}' for name, value in zip(contract.fields, values, strict=True)) + "}"
    return payloads.rows("c", [(1, 5, body), (2, 6, body)], 4), payloads.mark("c", -1, 4)


@pytest.mark.parametrize("stream", ["ratings", "clicks", "purchases", "traffic"])
def test_what_the_edge_sends_needs_no_further_check(stream):
    contract = load_contract(stream)
    plain = {"text": '"a b: é"', "integer": "-12", "time": "1700000000000", "decimal": "4.25", "boolean": "true"}
    fit = fitting_rows(json.dumps(contract.avro_schema()))
    kinds = [field.type for field in contract.fields.values()]
    for message in edges_rows(contract, [plain[kind] for kind in kinds]):
        assert fit(message)
        assert not fit(message + b"\n")
        assert not fit(message.replace(b'"run":', b'"run": '))
    if any(field.optional for field in contract.fields.values()):
        nothing = ["null" if f.optional else plain[f.type] for f in contract.fields.values()]
        assert all(map(fit, edges_rows(contract, nothing)))


@given(st.integers(-(10**17), 10**17), st.integers(0, 18))
@example(0, 1)
@example(123456789012345, 2)
@example(999999999999999, 0)
def test_a_number_passes_unchecked_only_where_its_text_is_the_double_that_is_next_to_it(digits, scale):
    text = f"{Decimal(digits).scaleb(-scale):f}"
    passes = fitting_rows('{"fields":[{"name":"a","type":"double"}]}')(f'{{"a":{text}}}'.encode())
    assert not passes or Decimal(repr(float(text))) == Decimal(text)
    assert passes or len(text.lstrip("-")) > 15


@pytest.mark.parametrize("schema", ["", "{}", "[]", "x", '{"fields":[{"name":"a","type":"bytes"}]}'])
def test_without_a_schema_that_is_understood_all_is_checked(schema):
    assert not fitting_rows(schema)(b'{"a":1}')


def test_a_long_line_is_checked_and_a_long_message_of_short_lines_is_not():
    fit = fitting_rows('{"fields":[{"name":"a","type":"string"}]}')
    assert not fit(b'{"a":"%s"}' % (b"x" * LONGEST_LINE))
    assert fit(b"\n".join([b'{"a":"%s"}' % (b"x" * 300)] * 1000))
