"""What a CSV cell becomes in a message: the JSON of a field's value."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from zoneinfo import ZoneInfo

import msgspec

from streamproof.core.contract import TRUE, ContractField
from streamproof.core.time_format import END_OF_TIME, MONTHS, time_format

ReadCell = Callable[[str], str | None]
"""Returns the JSON of a cell's value; None where the cell does not fit."""

_EXACT = Context(prec=120)
_YEARS = (1969, 9998)
"""Of local times in a zone: what lies before is before 1970, and what lies behind has no next day to look at."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive times are taken apart from their offset
_MILLISECOND = timedelta(milliseconds=1)
_TO_MILLISECONDS = {"s": 3, "ms": 0, "us": -3, "ns": -6}
"""By how many digits the point moves."""


def cell_reader(field: ContractField) -> ReadCell:
    """Return what reads the cells of a field."""
    if field.format:
        return _words_reader(field)
    fullmatch = re.compile(field.pattern).fullmatch
    value = _value(field)
    return lambda cell: value(cell) if fullmatch(cell) else None


def _value(field: ContractField) -> Callable[[str], str]:
    if field.type == "text":
        return lambda cell: msgspec.json.encode(cell).decode()
    if field.type == "boolean":
        return lambda cell: "true" if cell.lower() in TRUE else "false"
    if field.type == "time":
        shift = _TO_MILLISECONDS[field.unit or "ms"]
        if shift >= 0:
            return lambda cell: str(int(cell) * 10**shift) if cell.isdigit() else _moved(cell, shift)
        return lambda cell: _moved(cell, shift)
    if field.type == "integer":
        thousands = field.thousands
        return lambda cell: str(int(cell.replace(thousands, "") if thousands else cell))
    return _decimal_reader(field)


def _moved(number: str, shift: int) -> str:
    """Return the whole part of a number whose point is moved to the right."""
    return str(int(Decimal(number).scaleb(shift, _EXACT)))


def _decimal_reader(field: ContractField) -> Callable[[str], str]:
    thousands, mark, scale = field.thousands, field.decimal, field.scale or 0
    quote = '"' if field.is_wide else ""
    unit = Decimal(1).scaleb(-scale)

    def read(cell: str) -> str:
        if thousands:
            cell = cell.replace(thousands, "")
        whole, _, part = cell.lstrip("+-").partition(mark)
        sign = "-" if cell[0] == "-" else ""
        if len(part) > scale:
            rounded = Decimal(f"{whole}.{part}").quantize(unit, ROUND_HALF_UP, _EXACT)
            whole, _, part = f"{rounded:f}".partition(".")
        return f"{quote}{sign}{int(whole)}.{part or '0'}{quote}"

    return read


def _words_reader(field: ContractField) -> ReadCell:
    pattern, parts = time_format(field.format or "")
    fullmatch = re.compile(pattern).fullmatch
    zone = None if field.timezone in {None, "UTC"} else ZoneInfo(field.timezone or "")
    repeated = field.repeated_hour

    def read(cell: str) -> str | None:
        match = fullmatch(cell)
        if not match:
            return None
        found = dict(zip(parts, match.groups(""), strict=True))
        try:
            day = datetime(_year(found), _month(found), int(found["day"]))  # noqa: DTZ001
        except ValueError:
            return None
        hour = int(found.get("hour") or 0)
        if "half" in found:
            hour = int(found["hour12"]) % 12 + (12 if found["half"].lower() == "pm" else 0)
        seconds = (hour * 60 + int(found.get("minute") or 0)) * 60 + int(found.get("second") or 0)
        milliseconds = int((found.get("fraction") or "")[:3].ljust(3, "0"))
        local = day + timedelta(seconds=seconds)
        named = found.get("zone")
        offset = _offset(named) if named else _zone_offset(local, zone, repeated) if zone else 0
        if offset is None:
            return None
        moment = (local - _EPOCH) // _MILLISECOND + milliseconds - offset
        return str(moment) if 0 <= moment < END_OF_TIME else None

    return read


def _year(found: dict[str, str]) -> int:
    if "year" in found:
        return int(found["year"])
    short = int(found["short_year"])
    return short + (2000 if short < 69 else 1900)  # noqa: PLR2004 - as strptime has it


def _month(found: dict[str, str]) -> int:
    return int(found["month"]) if "month" in found else MONTHS.index(found["month_name"][:3].lower()) + 1


def _offset(zone: str) -> int:
    """Return how far a zone such as ``+05:30`` is ahead of UTC, in milliseconds."""
    if zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return (minutes if zone[0] == "+" else -minutes) * 60_000


def _zone_offset(local: datetime, zone: ZoneInfo, repeated: str) -> int | None:
    """Return how far a zone is ahead of UTC at a local time, in milliseconds; None where that is not one moment."""
    if not _YEARS[0] <= local.year <= _YEARS[1]:
        return None
    early, late = (local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    if early != late:
        back = (local - early).replace(tzinfo=UTC).astimezone(zone)
        if back.replace(tzinfo=None) != local or repeated == "reject":
            return None  # the hour that is left out, or the one that comes twice
    return (late if repeated == "second" else early) // _MILLISECOND
