"""Durations as a user writes them: ``30s``, ``1.003s``, ``5min``, ``250ms``."""

import re
from fractions import Fraction

from streamproof.core.errors import UsageError

_MILLISECONDS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)")


def parse_duration(text: str) -> Fraction:
    """Return a duration in milliseconds, exact.

    Raises:
        UsageError: the text is not a positive number followed by ms, s, min, h or d.

    """
    match = _DURATION.fullmatch(text.strip())
    milliseconds = Fraction(match[1]) * _MILLISECONDS[match[2]] if match else Fraction(0)
    if milliseconds <= 0:
        raise UsageError(
            f"{text!r} is not a duration: write a number above 0 and a unit, like 30s, 1.003s, 250ms, 5min, 1h, 1d"
        )
    return milliseconds


def parse_whole_milliseconds(text: str) -> int:
    """Return a duration in whole milliseconds.

    Raises:
        UsageError: as ``parse_duration``, or the duration is not a whole number of milliseconds.

    """
    milliseconds = parse_duration(text)
    if milliseconds.denominator != 1:
        raise UsageError(f"{text!r} is not a whole number of milliseconds")
    return int(milliseconds)


def format_duration(milliseconds: int) -> str:
    """Write whole milliseconds in the largest unit that divides them: 30000 is ``30s``."""
    unit = next(u for u in ("d", "h", "min", "s", "ms") if milliseconds % _MILLISECONDS[u] == 0)
    return f"{milliseconds // _MILLISECONDS[unit]}{unit}"
