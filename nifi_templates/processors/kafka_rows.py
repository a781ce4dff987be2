"""What the Kafka sink must know of a row: its key, and whether it is a mark (heartbeat, end of run)."""

import json
from collections.abc import Callable

_SEQ = b'"seq":'
_MARK_BEGINS, _ROW_BEGINS = b"0-", b"123456789"


def is_mark(line: bytes) -> bool:
    """Return whether the line has a ``seq`` of 0 or less: it then belongs into every partition."""
    at = line.find(_SEQ)
    if at >= 0:  # only a field's name can stand like this: within a text the quotes are escaped
        begin = line[at + len(_SEQ)]
        if begin in _ROW_BEGINS:
            return False
        if begin in _MARK_BEGINS:
            return True
    seq = json.loads(line).get("seq")
    return isinstance(seq, int) and seq <= 0


def key_reader(field: str) -> Callable[[bytes], bytes | None]:
    """Return a function that reads the text of a field from a line of JSON, as UTF-8; None for no field, and for null.

    A slice of the compact form that NiFi's record writer makes; whatever looks otherwise is parsed.
    """
    if not field:
        return lambda _: None
    name = f'"{field}":"'.encode()
    length = len(name)

    def key_of(line: bytes) -> bytes | None:
        start = line.find(name) + length
        if start >= length:
            end = line.find(b'"', start)
            key = line[start:end]
            if end >= 0 and b"\\" not in key:
                return key
        text = json.loads(line)[field]
        return None if text is None else str(text).encode()

    return key_of
