"""What an alert is called: the same wherever it is computed, and whenever."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256

import msgspec

from streamproof.core.alert_rule import ID_DIGITS
from streamproof.core.question import Question


def alert_id(question: Question, run: str, key: Mapping[str, bytes], kinds: Mapping[str, str], begin: int) -> str:
    """Return an alert's id: a digest of the question's text, run and windows, when the breach began, and the key.

    Args:
        question: with its windows.
        run: the run's id.
        key: the key's columns as JSON.
        kinds: their types in DuckDB.
        begin: the end of the window with which the breach began, milliseconds since the epoch.

    """
    parts = "".join(_netstring(_as_text(value, kinds[name])) for name, value in key.items())
    identity = f"{question.label}:{run}:{question.window}:{begin}:{parts}"
    return sha256(identity.encode()).hexdigest()[:ID_DIGITS]


def _as_text(raw: bytes, kind: str) -> str | None:
    if raw == b"null":
        return None
    if kind.startswith("DECIMAL"):
        return f"{Decimal(raw.decode()):f}".rstrip("0").rstrip(".") if b"." in raw else f"{Decimal(raw.decode()):f}"
    value = msgspec.json.decode(raw)
    if kind.startswith("TIMESTAMP"):
        moment = datetime.fromisoformat(value)
        return str(round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _netstring(text: str | None) -> str:
    return "n" if text is None else f"{len(text)}:{text}"
