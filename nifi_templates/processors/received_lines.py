"""Which lines of an MQTT message may go on: each must be one JSON object that every later reader reads alike.

And which of them are rows that plainly fit the record schema, so that nothing further has to look at them.
"""

import json
import re
from collections.abc import Callable

import msgspec

LONGEST_LINE = 128 * 1024
"""Bytes. Far below Kafka's limit of 1 MB a record, so that no line can block the sink for ever."""

_LONGEST_NUMBER = 300
_DEEPEST = 100
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % _LONGEST_NUMBER)

_decode = msgspec.json.Decoder().decode

_PLAIN = {
    "string": rb'"[^"\\\x00-\x1f]*+"',
    "long": rb"(?:0|-?+[1-9][0-9]{0,17}+)",
    # With 15 digits at most, the text and the double nearest to it are the same number.
    "double": rb"(?!-0[^.])-?+(?![0-9.]{17})(?:0|[1-9][0-9]{0,14}+)(?:\.[0-9]++)?+",
    "boolean": rb"(?:true|false)",
    "null": rb"null",
}
"""How values of Avro's types plainly look. No quantifier gives back what it took, so the time grows with the length."""


def fitting_rows(schema: str) -> Callable[[bytes], bool]:
    """Return a function that tells whether each line is plainly a row that fits: it looks at all of them at once.

    So look the rows that the edge and NiFi's record writer make: the schema's fields, each once, in its order, with no
    space between. This is stricter than ValidateRecord; what does not look so must be checked there.

    Args:
        schema: an Avro record of strings, longs, doubles, booleans and unions of them, as JSON. Of another one, or
            without any, no row is known to fit.

    """
    try:
        fields = json.loads(schema)["fields"]
        row = rb"\{%s\}" % b",".join(rb'"%s":(?:%s)' % (field["name"].encode(), _plain(field)) for field in fields)
    except (ValueError, LookupError, TypeError):
        return lambda _: False
    matches = re.compile(rb"%s(?:\n%s)*+" % (row, row)).fullmatch

    def fit(lines: bytes) -> bool:
        if len(lines) > LONGEST_LINE and max(map(len, lines.split(b"\n"))) > LONGEST_LINE:
            return False
        return matches(lines) is not None and (lines.isascii() or _is_utf8(lines))

    return fit


def check_message(payload: bytes) -> tuple[list[bytes], list[tuple[bytes, str]]]:
    """Split a message into its good lines and its bad ones, each bad one with the exact reason.

    Blank lines between rows are no rows; a message with nothing else is one bad, empty line. The good lines hold
    no line break of any kind, so that a splitter finds the same lines.
    """
    good: list[bytes] = []
    bad: list[tuple[bytes, str]] = []
    for line in payload.split(b"\n"):
        if not line or line.isspace():
            continue
        if reason := why_bad(line):
            bad.append((line, reason))
        else:
            # Outside of strings a carriage return is white space, inside it is not allowed.
            good.append(line.replace(b"\r", b" ") if b"\r" in line else line)
    if not good and not bad:
        bad.append((payload, "the message is empty"))
    return good, bad


def why_bad(line: bytes) -> str | None:  # noqa: PLR0911 - one for each reason
    """Return why a line is not a JSON object that NiFi's reader takes as it is meant, or None when it is."""
    if len(line) > LONGEST_LINE:
        return f"the line has {len(line)} bytes, more than {LONGEST_LINE}"
    if len(line) > _LONGEST_NUMBER and _LONG_NUMBER.search(line):  # no shorter line can hold one
        return f"more than {_LONGEST_NUMBER} digits in a row"
    try:
        value = _decode(line)
        if type(value) is not dict:
            return f"not a JSON object but {_kind(value)}"
        line.decode()  # msgspec does not look at the bytes of every key and skipped value
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason} at byte {error.start}"
    except (msgspec.MsgspecError, RecursionError) as error:
        return f"not JSON: {error}"
    if line.count(b":") != len(value) and (name := _repeated_name(line)) is not None:
        return f"the field {name!r} is there twice"
    brackets = line.count(b"[") + line.count(b"{")
    if brackets > _DEEPEST and _depth(value) > _DEEPEST:
        return f"nested deeper than {_DEEPEST} levels"
    return None


def _plain(field: dict[str, str | list[str]]) -> bytes:
    kinds = [field["type"]] if isinstance(field["type"], str) else field["type"]
    return b"|".join(_PLAIN[kind] for kind in kinds)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _kind(value: object) -> str:
    kinds = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _repeated_name(line: bytes) -> str | None:
    repeated: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                repeated.append(name)
            seen.add(name)

    try:
        json.loads(line, object_pairs_hook=note)
    except (ValueError, RecursionError):  # a number beyond Python's limit of digits: caught as a long number
        return None
    return repeated[0] if repeated else None


def _depth(value: object) -> int:
    level, depth = [value], 0
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth
