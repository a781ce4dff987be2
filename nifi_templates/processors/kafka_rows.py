"""What the Kafka sink must know of rows: their keys, their numbers, and which are marks (heartbeat, end of run)."""

import json
import re
from collections.abc import Callable, Sequence

_SEQ = b'"seq":'
_MARK_BEGINS, _ROW_BEGINS = b"0-", b"123456789"
_NUMBERS = re.compile(rb'"seq":([1-9][0-9]*+)[,}]')


def row_numbers(content: bytes, lines: Sequence[bytes]) -> list[int]:
    """Return the ``seq`` of each line of a content, found in one pass; none where a mark is among them.

    Also none where a line must be parsed for it. Only a field's name can stand like this, for within a text the quotes
    are escaped: so a line has one at most.
    """
    found = _NUMBERS.findall(content)
    return list(map(int, found)) if len(found) == len(lines) else []


def is_mark(line: bytes) -> bool:
    """Return whether the line has a ``seq`` of 0 or less: it then belongs into every partition."""
    at = line.find(_SEQ)
    if at >= 0:
        begin = line[at + len(_SEQ)]
        if begin in _ROW_BEGINS:
            return False
        if begin in _MARK_BEGINS:
            return True
    seq = json.loads(line).get("seq")
    return isinstance(seq, int) and seq <= 0


def key_reader(field: str) -> Callable[[bytes, Sequence[bytes]], Sequence[bytes | None]]:
    """Return a function that reads the text of a field from each line of a content, as UTF-8.

    It gives None for no field, and for null. It takes one pass over the compact form that the edge and NiFi's record
    writer make; whatever looks otherwise is parsed.
    """
    if not field:
        return lambda _, lines: [None] * len(lines)
    find = re.compile(rb'"%s":"([^"\\]*+)"' % re.escape(field.encode())).findall

    def keys_of(content: bytes, lines: Sequence[bytes]) -> Sequence[bytes | None]:
        keys: list[bytes] = find(content)
        return keys if len(keys) == len(lines) else [key_of(line) for line in lines]

    def key_of(line: bytes) -> bytes | None:
        key: list[bytes] = find(line)
        if key:
            return key[0]
        text = json.loads(line)[field]
        return None if text is None else str(text).encode()

    return keys_of
