"""A model at work on answers in their order, by window and key: score, then learn. No clock goes in, and no chance.

The stream and the batch share this code: what they do not share is where the answers come from, and whether the work
is interrupted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Protocol

import msgspec

from streamproof.core.model_rule import ModelRule, SeasonalZScore

DIGEST_ROWS = 5_000
"""After each so many answers a digest of the state is taken."""


class Model(Protocol):
    """What scores and learns; its state is a function of what it has learned, in that order."""

    def score(self, key: str, start: int, values: Sequence[float]) -> float | None:
        """Score values of a key, in the window that starts then (milliseconds since the epoch)."""

    def learn(self, key: str, start: int, values: Sequence[float]) -> None:
        """Learn them."""

    def changes(self) -> dict[str, object]:
        """Return what has changed of the state since the last call, by its names: what JSON can hold."""

    def state(self) -> dict[str, object]:
        """Return the whole state."""

    def restore(self, state: Mapping[str, object]) -> None:
        """Take a state."""


@dataclass(frozen=True)
class Digest:
    """The digest of a model's state after so many answers."""

    rows: int
    sha256: str


class Scoring:
    """Scores the answers of one question of one run.

    Args:
        rule: the model's declaration.
        rows: how many answers went into the state, where there is one already.
        state: the state.

    Attributes:
        rows: how many answers were gone through.
        digests: the digests that were taken; whoever has used them takes them out.

    """

    def __init__(self, rule: ModelRule, rows: int = 0, state: Mapping[str, object] | None = None) -> None:
        self.model = _new_model(rule)
        self.model.restore(state or {})
        self.rows = rows
        self.digests: list[Digest] = []

    def score(self, key: Sequence[object], start: int, values: Sequence[int | Decimal | float | None]) -> float | None:
        """Return an answer's score, and learn it; one that lacks a value has none and is not learned.

        Args:
            key: the values of the question's key, as DuckDB has them.
            start: of its window, milliseconds since the epoch.
            values: those that are scored.

        """
        found = None
        if None not in values:
            name, numbers = _name(key), [float(value) for value in values if value is not None]
            found = self.model.score(name, start, numbers)
            self.model.learn(name, start, numbers)
        self.rows += 1
        if self.rows % DIGEST_ROWS == 0:
            state = msgspec.json.encode(sorted(self.model.state().items()))
            self.digests.append(Digest(self.rows, sha256(state).hexdigest()))
        return found


def place_in_order(key: Sequence[object]) -> tuple[tuple[bool, object], ...]:
    """Return by what the answers of a window are ordered: by their key as DuckDB orders it, NULL last."""
    return tuple((value is None, 0 if value is None else value) for value in key)


def as_value(raw: bytes, kind: str) -> object:
    """Return a value that stands in JSON as DuckDB has it in a column of that type.

    Raises:
        ValueError: it is of another type.

    """
    if raw == b"null":
        return None
    if kind.startswith("DECIMAL"):
        return Decimal(raw.decode())
    value = msgspec.json.decode(raw)
    if kind.startswith("TIMESTAMP"):
        return datetime.fromisoformat(value).replace(tzinfo=None)
    return date.fromisoformat(value) if kind == "DATE" else value


def _name(key: Sequence[object]) -> str:
    """Return one text for a key, the same wherever its values come from."""
    return msgspec.json.encode([_plain(value) for value in key]).decode()


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime):
        return round(value.replace(tzinfo=UTC).timestamp() * 1000)
    return value.isoformat() if isinstance(value, date) else value


def _new_model(rule: ModelRule) -> Model:
    if isinstance(rule, SeasonalZScore):
        from streamproof.models.seasonal import SeasonalModel

        return SeasonalModel(rule)
    from streamproof.models.half_space import HalfSpaceModel  # river is slow to import

    return HalfSpaceModel(rule)
