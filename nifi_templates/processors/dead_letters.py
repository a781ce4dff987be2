"""A dead letter: one JSON object that says what came, from where, and why it could not go on."""

import base64
import codecs
import json

LONGEST_PAYLOAD = 128 * 1024
"""Bytes of the payload that are kept; escaped six-fold at worst, they still fit into a Kafka record of 1 MB."""

LONGEST_REASON = 2000

LONGEST_NAME = 256
"""Characters of a run's or category's name; what is longer is none. The payload has it all the same."""

LONGEST_TOPIC = 65_535


def dead_letter(payload: bytes, reason: str, stage: str, mqtt_topic: str, received_at: int) -> bytes:
    """Return a dead letter as one line of JSON.

    Args:
        payload: what came; kept as text when it is UTF-8, else as base64.
        reason: why it cannot go on.
        stage: ``message`` (no JSON object) or ``schema`` (a JSON object that does not fit the contract).
        mqtt_topic: the MQTT topic that it came from.
        received_at: when it came, in milliseconds since the epoch.

    """
    fields = _envelope(payload)
    seq = fields.get("seq")
    kept = payload[:LONGEST_PAYLOAD]
    if len(kept) < len(payload):
        reason = f"{reason} (only the first {LONGEST_PAYLOAD} bytes of {len(payload)} are kept here)"
    try:
        # A character that the cut goes through is left out; anything else that is not UTF-8 must not be.
        text = codecs.getincrementaldecoder("utf-8")().decode(kept, final=len(kept) == len(payload))
    except UnicodeDecodeError:
        text = None
    letter = {
        "reason": reason[:LONGEST_REASON],
        "stage": stage,
        "mqtt_topic": mqtt_topic[:LONGEST_TOPIC],
        "received_at": received_at,
        "run": _name(fields.get("run")),
        "category": _name(fields.get("category")),
        "seq": seq if type(seq) is int and -(2**63) <= seq < 2**63 else None,
        "payload": text,
        "payload_base64": None if text is not None else base64.b64encode(kept).decode(),
    }
    return json.dumps(letter, separators=(",", ":"), ensure_ascii=False).encode(errors="backslashreplace")


def topic_of(payload: bytes, topics: list[str]) -> str:
    """Return which of the topics a row came from: the one that ends with its category, else all of them."""
    category = _envelope(payload).get("category")
    matching = [topic for topic in topics if topic.rpartition("/")[2] == category]
    return ",".join(matching or topics)


def _envelope(payload: bytes) -> dict[str, object]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= LONGEST_NAME else None
