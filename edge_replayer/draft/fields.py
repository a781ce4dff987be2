"""What a column's cells are: the field by which a contract reads nearly all of them, and what is not sure about it."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, pairwise

from edge_replayer.cells import cell_reader
from streamproof.core.contract import FALSE, TRUE, ContractField
from streamproof.core.time_format import time_format

Cells = Counter[str]
"""The cells of a column and how often each is there, in the order in which they come first."""

Spec = dict[str, str | int | bool | list[str]]
"""A field as the contract has it."""

SURE_NULLS = {"\\n", "null", "nan", "n/a", "#n/a"}
_NULLS = SURE_NULLS | {"", "na", "none", "nil", "?", "-", "--", ".", "missing", "unknown", "undefined", "(null)"}
"""Words that say "nothing": in a column of text the sure ones, in others all."""

_BROKEN, _BROKEN_TIMES = 0.01, 0.05  # of the cells, that may be of no use
_FEW = 20  # cells, of which one may be broken
_MOST_WORDS = 3  # that nobody knows, and say nothing

_ID = re.compile(
    r"(^|_)(id|ids|key|code|sku|asin|isbn|ean|upc|gtin|uuid|guid|zip|zipcode|postcode|plz|phone|imei|mac|serial|session"
    r"|account|hash|token)($|_)|[a-z]id$"
)
_COUNT = re.compile(r"(^|_)(bytes|size|count|total|amount|price|volume|population|sum|revenue|length|duration)($|_)")
_TIME = re.compile(
    r"(^|_)(time|date|datetime|ts|timestamp|epoch|at|when|day|created|updated|modified|seen|utc|zeit|datum|fecha)($|_)"
    r"|time$|date$|timestamp"
)

_ID_DIGITS = 9  # from which on a number looks like an id
_INTEGER_DIGITS = 18
_MOST_SCALE = 18

_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?|[0-9](\.[0-9]{1,20})?[eE]\+?[0-9]{1,2}")
_ODD_NUMBER = re.compile(r"[+-]?([0-9]*\.[0-9]+|[0-9]+)([eE][+-]?[0-9]+)?")
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_NAMED_SPAN, _LIKELY_SPAN = (315_532_800, 4_102_444_800), (946_684_800, 2_208_988_800)
"""Seconds: what a column that is called a time may hold, 1980 to 2099, and what looks like one, 2000 to 2039."""

_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m.%d.%Y", "%d-%m-%Y", "%m-%d-%Y",
    "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%d-%b-%Y", "%d-%b-%y", "%d/%b/%Y", "%d %b %Y",
    "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%a, %d %b %Y", "%a %d %b %Y", "%Y%m%d",
)  # fmt: skip
_TIMES = (
    "%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%H:%M:%S,%f", "%I:%M:%S %p", "%I:%M %p", "%I:%M:%S%p", "%I:%M%p",
    "%H.%M.%S", "%H.%M", "%H%M%S", "%H%M",
)  # fmt: skip
_RESTS = (
    "",
    *(f"{between}{time}{zone}" for between in (" ", "T", ", ", ":", "")
      for time in _TIMES for zone in ("", "%z", " %z", " %Z")),
)  # fmt: skip
_WHOLE = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Z %Y")
_TIME_OF_DAY = re.compile(r"[0-9]{1,2}(:[0-9]{2}|[:.][0-9]{2}[:.][0-9]{2}([.,][0-9]{1,9})?)( ?[AaPp][Mm])?")
_ZONE = re.compile(r"([Zz]|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?)$")

_DECIMAL_STYLES = ((".", ""), (".", ","), (",", ""), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"),
                   (",", "\u00a0"), (",", "\u202f"))  # fmt: skip
"""Marks before the fraction and between thousands."""


@dataclass
class Drafted:
    """A field that reads a column.

    Attributes:
        spec: its keys in the contract.
        doubts: what is not sure about it.
        nulls: the words in it that say "nothing".

    """

    spec: Spec
    doubts: list[str] = field(default_factory=list)
    nulls: set[str] = field(default_factory=set)

    @property
    def is_time(self) -> bool:
        """Whether it is a time."""
        return self.spec["type"] == "time"

    @property
    def is_measure(self) -> bool:
        """Whether it is a number of which an average makes sense."""
        return self.spec["type"] in {"integer", "decimal"}


def draft_field(cells: Cells, name: str, *, decimal_comma: bool = False) -> Drafted | None:
    """Return the field that reads a column best; None where nothing stands in it.

    Args:
        cells: its cells, without the blanks around them if they are trimmed.
        name: its name, in small letters and ``_``.
        decimal_comma: whether numbers of this file are known to have a comma before the fraction.

    """
    nulls = {cell for cell in cells if cell.lower() in _NULLS and cell}
    filled = Counter({cell: count for cell, count in cells.items() if cell not in nulls and cell.strip()})
    if not filled:
        return None
    is_id = _ID.search(name) is not None
    drafted = _boolean(filled) or (None if is_id else _time(filled, name)) or _number(filled, name, decimal_comma)
    if drafted is None:
        drafted = Drafted({"type": "text"}, _doubts_of_text(filled))
    is_text = drafted.spec["type"] == "text"
    drafted.nulls |= {cell for cell in nulls if cell.lower() in SURE_NULLS} if is_text else nulls
    return drafted


def is_time_of_day(cells: Cells) -> bool:
    """Whether a column holds times of day, without the date."""
    filled = [cell for cell in cells if cell.strip()]
    return bool(filled) and all(_TIME_OF_DAY.fullmatch(cell) for cell in filled)


def has_no_time_of_day(spec: Spec, cells: Cells) -> bool:
    """Whether a time is a date alone."""
    form = str(spec.get("format", ""))
    if form == "iso":
        return not any(":" in cell for cell in cells)
    return bool(form) and not {"%H", "%I"} & set(re.findall("%.", form))


def has_decimal_comma(cells: Cells) -> bool:
    """Whether a column's numbers have a comma before the fraction for sure."""
    plain = [cell for cell in cells if re.fullmatch(r"[+-]?([0-9]+|[0-9]{1,3}(\.[0-9]{3})+),[0-9]+", cell)]
    others = sum(not re.fullmatch(r"[+-]?[0-9.]+", cell) for cell in cells if cell not in plain and cell.strip())
    return others <= len(plain) / _FEW and any(not re.fullmatch(r"[+-]?[0-9]{1,3},[0-9]{3}", cell) for cell in plain)


def looks_like_a_value(cells: Cells) -> bool:
    """Whether cells are numbers, times or booleans when the blanks around them are left out."""
    stripped: Cells = Counter()
    for cell, count in islice(cells.items(), 200):
        stripped[cell.strip(" \t")] += count
    drafted = draft_field(stripped, "")
    return drafted is not None and drafted.spec["type"] != "text"


def _boolean(cells: Cells) -> Drafted | None:
    words = {cell.lower() for cell in cells}
    if words <= {"true", "false", "yes", "no"}:
        return Drafted({"type": "boolean"})
    if not words <= set(TRUE + FALSE) or not words & set(TRUE) or not words & set(FALSE):
        return None
    if words <= {"0", "1"}:
        return None
    return Drafted({"type": "boolean"}, [f"only {' and '.join(sorted(words))} stand in it; or is it text?"])


def _time(cells: Cells, name: str) -> Drafted | None:
    return _epoch(cells, name) or _words(cells, name)


def _epoch(cells: Cells, name: str) -> Drafted | None:
    numbers = {cell: float(cell) for cell in cells if _NUMBER.fullmatch(cell)}
    first, last = _NAMED_SPAN if _TIME.search(name) else _LIKELY_SPAN
    for unit, a_second in _UNITS.items():
        fitting = {cell for cell, number in numbers.items() if first <= number / a_second < last}
        broken = cells.total() - sum(cells[cell] for cell in fitting)
        if fitting and broken <= _BROKEN_TIMES * cells.total():
            doubts = [] if _TIME.search(name) else ["numbers of this size look like times since 1970; or are they ids?"]
            return Drafted({"type": "time", "unit": unit}, doubts + _broken(cells, fitting))
    return None


def _words(cells: Cells, name: str) -> Drafted | None:
    some = list(islice(cells, 100))
    found: dict[str, set[str]] = {}
    for form in dict.fromkeys(form for cell in some[:3] for form in _formats_of(cell)):
        if form.startswith("%Y%m%d") and not _TIME.search(name):
            continue
        read = cell_reader(ContractField(type="time", format=form))
        if sum(read(cell) is not None for cell in some) > len(some) / 2:
            found[form] = {cell for cell in cells if read(cell) is not None}
    if not found:
        return None
    most = max(sum(cells[cell] for cell in fitting) for fitting in found.values())
    if most < (1 - _BROKEN_TIMES) * cells.total():
        return None
    best = [form for form, fitting in found.items() if sum(cells[cell] for cell in fitting) == most]
    doubts = []
    form = best[0]
    others = [other for other in best[1:] if _is_the_other_order(form, other)]
    if form != "iso" and others:
        form, *others = sorted([form, *others], key=lambda each: _descents(each, cells))
        doubts.append(f"day or month first? It could also be format = {_quoted(others[0])}")
    if any(not _ZONE.search(cell) for cell in islice(found[form], 100)):
        doubts.append('the times name no zone, and are read as UTC; if they are local: timezone = "Europe/Berlin"')
    return Drafted({"type": "time", "format": form}, doubts + _broken(cells, found[form]))


def _formats_of(cell: str) -> Iterator[str]:
    """Yield the formats that read a cell."""
    if not re.search("[0-9]", cell):
        return
    if re.fullmatch(time_format("iso").pattern, cell):
        yield "iso"
        return
    for form in _WHOLE:
        if re.fullmatch(time_format(form).pattern, cell):
            yield form
    for date in _DATES:
        if re.match(time_format(date).pattern, cell):
            for rest in _RESTS:
                if _fits_roughly(rest, cell) and re.fullmatch(time_format(date + rest).pattern, cell):
                    yield date + rest


def _fits_roughly(rest: str, cell: str) -> bool:
    """Whether the end of a format can be that of a cell, without making the pattern."""
    return all(mark in cell for mark in re.sub("%.", "", rest)) and ("%p" in rest) == (cell.lower().rstrip()[-1] == "m")


def _is_the_other_order(form: str, other: str) -> bool:
    return sorted(form) == sorted(other) and {form.find("%d"), form.find("%m")} == {other.find("%d"), other.find("%m")}


def _descents(form: str, cells: Cells) -> int:
    """Return how often a time is earlier than the one before: few where the file is in the order of time."""
    read = cell_reader(ContractField(type="time", format=form))
    times = [int(time) for cell in cells if (time := read(cell)) is not None]
    return sum(later < earlier for earlier, later in pairwise(times))


def _number(cells: Cells, name: str, decimal_comma: bool) -> Drafted | None:
    found: list[tuple[int, Spec, set[str]]] = []
    styles = sorted(_DECIMAL_STYLES, key=lambda style: decimal_comma and style[0] != ",")
    for decimal, thousands in styles:
        whole = "[0-9]+" + (rf"|[0-9]{{1,3}}(?:[{thousands}][0-9]{{3}})+" if thousands else "")
        number = re.compile(rf"[+-]?(?:{whole})(?:[{decimal}]([0-9]+))?")
        matches = {cell: match for cell in cells if (match := number.fullmatch(cell))}
        scale = max((len(match[1] or "") for match in matches.values()), default=0)
        count = sum(cells[cell] for cell in matches)
        if matches:
            found.append((count, _number_spec(scale, decimal, thousands), set(matches)))
    if not found:
        return None
    count, spec, fitting = max(found, key=lambda each: each[0])
    misfits = Counter({cell: n for cell, n in cells.items() if cell not in fitting})
    words = {cell for cell, n in misfits.items() if n > 1 and not re.search("[0-9]", cell)}
    if len(words) > _MOST_WORDS or count <= sum(misfits[word] for word in words):
        words = set()
    broken = sum(n for cell, n in misfits.items() if cell not in words)
    if broken > max(_BROKEN * cells.total(), cells.total() >= _FEW):
        return None
    doubts = []
    if why := _is_id(fitting, name, spec):
        doubts = [] if why == "name" else [why]
        return Drafted({"type": "text"}, doubts)
    if words:
        doubts.append(f"is nothing meant by {', '.join(map(_quoted, sorted(words)))}? See csv.nulls")
    if spec.get("thousands") in {",", "."} and not spec.get("scale"):
        doubts.append(f"{_quoted(str(spec['thousands']))} stands between thousands; or is it before a fraction?")
    spec = _wide_enough(spec, fitting)
    return Drafted(spec, doubts + _broken(cells, fitting | words), words)


def _number_spec(scale: int, decimal: str, thousands: str) -> Spec:
    # The point is between the thousands of a number only where the comma is before its fraction.
    is_whole = scale == 0 and thousands != "."
    spec: Spec = {"type": "integer"} if is_whole else {"type": "decimal", "scale": scale}
    if decimal == "," and not is_whole:
        spec["decimal"] = decimal
    if thousands:
        spec["thousands"] = thousands
    return spec


def _wide_enough(spec: Spec, cells: set[str]) -> Spec:
    """Return a decimal with room for all digits."""
    if spec["type"] != "decimal":
        return spec
    scale = int(spec["scale"])  # type: ignore[arg-type]
    if scale > _MOST_SCALE:
        return spec | {"scale": _MOST_SCALE, "round": True}
    for wider in (scale, max(scale, 10)):
        pattern = re.compile(ContractField.model_validate(spec | {"scale": wider}).pattern)
        if all(pattern.fullmatch(cell) for cell in cells):
            return spec | {"scale": wider}
    return spec


def _is_id(cells: set[str], name: str, spec: Spec) -> str | None:
    """Return why whole numbers are rather ids: ``name``, or a doubt."""
    if spec["type"] != "integer" or spec.get("thousands"):
        return None
    if _ID.search(name) or any(len(cell) > 1 and cell.lstrip("+-").startswith("0") for cell in cells):
        return "name"
    digits = [len(cell.lstrip("+-")) for cell in cells]
    if max(digits) > _INTEGER_DIGITS:
        return f"numbers of more than {_INTEGER_DIGITS} digits"
    if min(digits) >= _ID_DIGITS and not _COUNT.search(name):
        return 'long numbers, which are ids more often than amounts; if they are amounts: type = "integer"'
    return None


def _doubts_of_text(cells: Cells) -> list[str]:
    if is_time_of_day(cells):
        return ["times of day without a date: no date stands beside them"]
    form = next((form for cell in islice(cells, 1) for form in _formats_of(cell)), None)
    if form and sum(re.fullmatch(time_format(form).pattern, cell) is not None for cell in cells) > len(cells) / 2:
        return ["dates, but some lie before 1970 or are none, and cannot be read as times"]
    numbers = Counter({cell: n for cell, n in cells.items() if _ODD_NUMBER.fullmatch(cell)})
    if numbers.total() <= cells.total() / 2:
        return []
    if other := next((cell for cell in cells if cell not in numbers), None):
        letters = any(re.search("[A-Za-z]", cell) and re.search("[0-9]", cell) for cell in cells if cell not in numbers)
        return [] if letters else [f"most are numbers, but {_quoted(other[:40])} is none"]
    return ["numbers that no decimal reads, such as .5 or one with an exponent"]


def _broken(cells: Mapping[str, int], fitting: set[str]) -> list[str]:
    broken = [cell for cell in cells if cell not in fitting]
    if not broken:
        return []
    return [f"what does not fit is rejected with its row, such as {_quoted(broken[0][:40])}"]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
