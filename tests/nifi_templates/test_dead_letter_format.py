"""The form of a dead letter."""

import base64
import json

from nifi_templates.processors.dead_letters import LONGEST_PAYLOAD, dead_letter, topic_of


def letter(payload):
    return json.loads(dead_letter(payload, "because", "schema", "s/c", 17))


def test_a_row_keeps_its_identity_and_its_text():
    payload = '{"run":"r","category":"c","seq":5,"name":"é\u2028"}'.encode()
    assert letter(payload) == {
        "reason": "because",
        "stage": "schema",
        "mqtt_topic": "s/c",
        "received_at": 17,
        "run": "r",
        "category": "c",
        "seq": 5,
        "payload": payload.decode(),
        "payload_base64": None,
    }


def test_an_identity_of_the_wrong_type_is_null():
    found = letter(b'{"run":1,"category":null,"seq":true}')
    assert (found["run"], found["category"], found["seq"]) == (None, None, None)


def test_an_identity_that_no_reader_can_hold_is_null_and_the_letter_fits_into_a_kafka_record():
    raw = dead_letter(json.dumps({"run": "x" * 2_000_000, "seq": 2**63}).encode(), "because", "schema", "s/c", 17)
    assert len(raw) < 1_000_000
    assert (json.loads(raw)["run"], json.loads(raw)["seq"]) == (None, None)


def test_bytes_that_are_no_text_are_kept_as_base64():
    found = letter(b"\xff\xfe")
    assert found["payload"] is None
    assert base64.b64decode(found["payload_base64"]) == b"\xff\xfe"


def test_a_payload_too_long_for_kafka_is_cut_and_says_so():
    raw = dead_letter(b"\x01" * 1_000_000, "because", "message", "s/c", 17)
    assert len(raw) < 1_000_000
    assert json.loads(raw)["payload"] == "\x01" * LONGEST_PAYLOAD
    assert "of 1000000" in json.loads(raw)["reason"]


def test_a_payload_that_is_cut_loses_nothing_else():
    whole = "é".encode() * LONGEST_PAYLOAD
    assert letter(b"x" + whole)["payload"] == "x" + "é" * (LONGEST_PAYLOAD // 2 - 1)
    assert base64.b64decode(letter(b"\xff" + whole)["payload_base64"]) == (b"\xff" + whole)[:LONGEST_PAYLOAD]


def test_a_dead_letter_is_one_line_of_utf8_whatever_came():
    raw = dead_letter(b'{"run":"\\ud800"}\n', "because", "message", "s/c", 17)
    assert b"\n" not in raw
    assert json.loads(raw.decode())["payload"] == '{"run":"\\ud800"}\n'


def test_the_topic_is_found_by_the_category():
    assert topic_of(b'{"category":"b"}', ["s/a", "s/b"]) == "s/b"
    assert topic_of(b"{}", ["s/a", "s/b"]) == "s/a,s/b"
