"""Times in words: which cells a format reads, and what stands where in them.

A format is ``iso`` or a pattern of some of ``strptime``'s directives. Both readers take from here what a cell may look
like; what moment it means, each works out by its own code.
"""

import functools
from typing import NamedTuple
from zoneinfo import ZoneInfo

END_OF_TIME = 253_402_300_800_000
"""Milliseconds: the beginning of the year 10000. Times lie before it, and not before 1970."""

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class TimeFormat(NamedTuple):
    """A format as a regular expression for the whole cell, and the name of what each of its groups holds.

    The names: year, short_year (of two digits), month, month_name, day, hour, hour12, half (AM or PM), minute, second,
    fraction (of a second) and zone (Z, UTC, GMT or an offset). A group that is not there is empty.
    """

    pattern: str
    parts: tuple[str, ...]


def either_case(word: str) -> str:
    """Return a regular expression for an ASCII word in capitals or not."""
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word)


def _one_of(words: tuple[str, ...]) -> str:
    return "|".join(map(either_case, words))


_DIRECTIVES = {
    "Y": ("year", "[0-9]{4}"),
    "y": ("short_year", "[0-9]{2}"),
    "m": ("month", "1[0-2]|0?[1-9]"),
    "b": ("month_name", _one_of(MONTHS)),
    "B": ("month_name", _one_of(_LONG_MONTHS)),
    "d": ("day", "3[01]|[12][0-9]|0?[1-9]"),
    "H": ("hour", "2[0-3]|[01]?[0-9]"),
    "I": ("hour12", "1[0-2]|0?[1-9]"),
    "p": ("half", "[AaPp][Mm]"),
    "M": ("minute", "[0-5]?[0-9]"),
    "S": ("second", "[0-5]?[0-9]"),
    "f": ("fraction", "[0-9]{1,9}"),
    "z": ("zone", "[Zz]|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9]"),
    "Z": ("zone", "UTC|GMT|Z"),
    "a": ("", _one_of(_DAYS)),
    "A": ("", _one_of(_LONG_DAYS)),
}
_ISO = TimeFormat(
    "([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "(?:[Tt ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:[.,]([0-9]{1,9}))?)?"
    " ?([Zz]|UTC|GMT|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)?)?",
    ("year", "month", "day", "hour", "minute", "second", "fraction", "zone"),
)


@functools.cache
def time_format(text: str) -> TimeFormat:
    """Return what a format reads.

    Raises:
        ValueError: it has a directive that is not known or stands twice, or does not tell a whole date.

    """
    if text == "iso":
        return _ISO
    pattern, parts = "", []
    characters = iter(text)
    for character in characters:
        if character != "%":
            is_plain = character.isalnum() or character == " " or not character.isascii()
            pattern += character if is_plain else f"\\{character}"
        elif (letter := next(characters, "")) == "%":
            pattern += "%"
        elif letter not in _DIRECTIVES:
            known = " ".join(f"%{each}" for each in _DIRECTIVES)
            raise ValueError(f'format: %{letter} is not known; there are {known} and %%, or format = "iso"')
        else:
            part, expression = _DIRECTIVES[letter]
            pattern += f"({expression})" if part else f"(?:{expression})"
            parts += [part] if part else []
    has = set(parts)
    if len(has) < len(parts):
        raise ValueError(f"format: {text!r} tells something twice")
    if not (has & {"year", "short_year"} and has & {"month", "month_name"} and "day" in has):
        raise ValueError(f'format: {text!r} must tell year, month and day, as in "%d/%m/%Y %H:%M:%S"')
    if ("hour12" in has) != ("half" in has) or {"hour", "hour12"} <= has:
        raise ValueError(f"format: {text!r} needs %p with %I, or %H alone")
    return TimeFormat(pattern, tuple(parts))


def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True
