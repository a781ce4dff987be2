"""How a CSV file is laid out, by its first lines: encoding, delimiter, quote, lines above the header, header."""

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.stored_file import READ_ERRORS, open_stored

_HEAD = 1 << 20
_HEAD_LINES = 1000
_MOST_READ = 1 << 26  # bytes in which the encoding is looked for
_ENOUGH = 0.9  # of the lines, that have the same number of columns
_MANY = 0.95
_LONGEST_NAME = 60
_LETTERS = 0.5  # of what UTF-16 holds, that are ASCII when it is read with its bytes in the right order
_DELIMITERS, _LAST_RESORTS = ",;\t|", "^~: "
_SEPARATOR = re.compile('"?sep=(.)"?', re.IGNORECASE)
_YEAR = re.compile("(19|20)[0-9]{2}")
_VALUE = re.compile(
    r"""[+-]?[0-9][0-9.,'\u00a0\u202f ]*([eE][+-]?[0-9]+)?[%€$]? |    # a number
    \W*[0-9]{1,4}[-/.:][0-9]{1,2}[-/.:].* |                   # a date or a time
    true | false | yes | no | na | n/a | nan | null | none | \\n | \? | -""",
    re.VERBOSE | re.IGNORECASE,
)
"""A cell that is hardly a column's name."""


@dataclass
class Layout:
    """How a file is laid out.

    Attributes:
        delimiter, quote, encoding, comment: as in the contract.
        skip_lines: how many lines stand above the header or the first row, without comments.
        begin: how many lines stand above the first row, with the header.
        header: the columns' names, or None where there is no header.
        width: how many columns nearly every row has.
        doubts: what is not sure.

    """

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    comment: str | None = None
    skip_lines: int = 0
    begin: int = 0
    header: list[str] | None = None
    width: int = 1
    doubts: list[str] = field(default_factory=list)


Record = tuple[int, int, list[str]]
"""How many lines stand above it, how many with it, and its cells."""


def look_at_layout(path: Path) -> Layout:
    """Find out how a file is laid out.

    Raises:
        UsageError: it is no CSV, or empty; the text says what it is.
        StreamproofError: it cannot be read to its end.

    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file" if not path.exists() else f"{path}: is not a file")
    layout = Layout()
    try:
        layout.encoding = _encoding(path, layout.doubts)
        text = _head(path, layout.encoding)
    except PermissionError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except READ_ERRORS as error:
        raise StreamproofError(f"{path}: cannot be read: {error}") from error
    _refuse_others(text, path)
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text)[:_HEAD_LINES]
    above = next(number for number, line in enumerate(lines) if line.strip())
    if match := _SEPARATOR.fullmatch(lines[above].strip()):
        layout.delimiter, above = match[1], above + 1
    layout.comment = _comment(lines[above:])
    records = _cut(lines, above, layout, fixed=bool(match), path=path)
    first, *rows = [record for record in records if len(record[2]) >= layout.width] or [(0, 0, [])]
    if first[2][: layout.width] and _is_header(first[2][: layout.width], [row for *_, row in rows], layout.doubts):
        layout.header, layout.begin = [cell.strip() for cell in first[2]], first[1]
    else:
        layout.doubts.append("the first line looks like a row and not like names: header = false")
        layout.begin = first[0]
    start = above if match else 0
    titles = [line for line in lines[start : first[0]] if line not in {"\n", "\r\n"}]
    if titles := [line for line in titles if not layout.comment or not line.startswith(layout.comment)]:
        layout.skip_lines = first[0]
        layout.doubts.append(f"lines above are passed over, the first is {titles[0].strip()[:80]!r}")
    return layout


def _encoding(path: Path, doubts: list[str]) -> str:
    try:
        good, bad = _lines_in_utf8(path)
    except UsageError:
        for encoding in ("utf-16-le", "utf-16-be"):
            head = _head(path, encoding)[:200]  # raises what is wrong where it is another fault
            if sum(character.isascii() for character in head) > _LETTERS * len(head):
                return encoding
        raise
    if not bad:
        return "utf-8"
    if good > bad:
        doubts.append(f"{bad} lines are not UTF-8, and are rejected")
        return "utf-8"
    doubts.append(
        'the text is not UTF-8; Western European is a guess. Others: "cp1250", "cp1251", "shift_jis", "gb18030"'
    )
    return "cp1252"


def _lines_in_utf8(path: Path) -> tuple[int, int]:
    """Return how many lines beyond ASCII are UTF-8, and how many are not."""
    good = bad = 0
    with path.open("rb") as raw, closing(open_stored(raw, path, "utf-8")) as text:
        left = _MOST_READ
        while left > 0 and (line := text.readline(left)):
            left -= len(line)
            if not line.isascii():
                try:
                    line.decode()
                    good += 1
                except UnicodeDecodeError:
                    bad += left > 0  # else it is cut off
    return good, bad


def _head(path: Path, encoding: str) -> str:
    with path.open("rb") as raw, closing(open_stored(raw, path, encoding)) as text:
        head = text.read(_HEAD)
        cut = bool(text.read(1))
    found = codecs.getincrementaldecoder("utf-8")("replace").decode(head)
    return found[: found.rfind("\n") + 1] or found if cut else found


def _refuse_others(text: str, path: Path) -> None:
    start = text.lstrip()
    if not start:
        raise UsageError(f"{path}: the file is empty")
    what = None
    if "\x00" in text[:4096]:
        what = "a binary file, and no text"
    elif start.startswith("<"):
        what = "XML or HTML"
    elif start.startswith(("{", "[")):
        try:
            json.loads(start.splitlines()[0])
        except ValueError:
            what = "JSON" if re.match(r'[\[{]\s*["\[{]', start) else None
        else:
            what = "JSON, an object a line" if start.startswith("{") else "JSON"
    if "\n" not in text and "\r" in text.strip():
        raise UsageError(f"{path}: its lines end in CR alone, as on old Macs: write them with LF first")
    if what:
        raise UsageError(f"{path}: is {what}: write it as CSV first")


def _comment(lines: list[str]) -> str | None:
    """Return what comment lines begin with, where the first line is one."""
    mark = next((mark for mark in ("#", "//", "%") if lines and lines[0].startswith(mark)), None)
    if mark is None:
        return None
    leading = next((n for n, line in enumerate(lines) if not line.startswith(mark)), len(lines))
    if leading == len(lines):
        return None
    # A header may itself begin with the mark: then it has as many columns as the rows.
    header, row, after = lines[leading - 1], lines[leading], lines[leading : leading + 2]
    delimiter = max(_DELIMITERS, key=row.count)
    is_header = delimiter in row and header.count(delimiter) == row.count(delimiter)
    has_header = any(not _VALUE.fullmatch(cell.strip()) for cell in after[0].split(delimiter)) and len(after) > 1
    return None if is_header and not (has_header and _is_text_above_values(after, delimiter)) else mark


def _is_text_above_values(lines: list[str], delimiter: str) -> bool:
    first, second = ([bool(_VALUE.fullmatch(cell.strip())) for cell in line.split(delimiter)] for line in lines)
    return not any(first) and any(second)


def _cut(lines: list[str], above: int, layout: Layout, *, fixed: bool, path: Path) -> list[Record]:
    """Cut the lines into records, by the delimiter and quote by which most of them have the same number of columns."""

    def attempt(delimiter: str, quote: str) -> tuple[tuple[bool, int, float, int], list[Record]]:
        records = list(_records(lines, above, delimiter, quote, layout.comment))
        widths = Counter(len(cells) for *_, cells in records)
        width, count = max(widths.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]), default=(0, 0))
        share = count / max(1, len(records)) if width > 1 else 0.0
        titles = next((n for n, (*_, cells) in enumerate(records) if len(cells) >= width), 0)
        return (share >= _ENOUGH, -titles, share, width), records

    delimiters = [layout.delimiter] if fixed else [*_DELIMITERS]
    tried = {(d, '"'): attempt(d, '"') for d in delimiters}
    if not any(score[0] for score, _ in tried.values()) and not fixed:
        tried |= {(d, quote): attempt(d, quote) for d in delimiters for quote in ("", "'")}
        if not any(score[0] for score, _ in tried.values()):
            others = {(d, '"'): attempt(d, '"') for d in _LAST_RESORTS}
            tried |= {key: each for key, each in others.items() if each[0][0]}
    (layout.delimiter, layout.quote), (score, records) = max(tried.items(), key=lambda item: item[1][0])
    enough, _, share, _ = score
    if not records:
        raise UsageError(f"{path}: there is no row in it")
    if not share:
        layout.delimiter, layout.quote = ",", '"'
        records = list(_records(lines, above, ",", '"', layout.comment))
        if len(records) > 1 and sum(" " in cells[0].strip() for *_, cells in records[1:]) > len(records) / 2:
            raise UsageError(f"{path}: no delimiter cuts its lines into columns: is it a CSV?")
    elif not enough:
        if share < _ENOUGH / 2:
            raise UsageError(
                f"{path}: its lines have no number of columns in common, whatever the delimiter: is it a CSV?"
            )
        layout.doubts.append(f"only {share:.0%} of the first lines have the same number of columns")
    if layout.quote == '"' and _is_within(records, "'"):
        layout.quote = "'"
        records = list(_records(lines, above, layout.delimiter, "'", layout.comment))
    layout.width = _width(records)
    return records


def _records(lines: list[str], above: int, delimiter: str, quote: str, comment: str | None) -> Iterator[Record]:
    quoting = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    csv.field_size_limit(2 * _HEAD)
    number = above
    while number < len(lines):
        line = lines[number]
        begin, number = number, number + 1
        if not line.strip("\r\n") or (comment and line.startswith(comment)):
            continue
        reader = csv.reader(iter(lines[begin : begin + 50]), delimiter=delimiter, strict=True, **quoting)
        try:
            cells = next(reader)
        except csv.Error:
            continue
        number = begin + reader.line_num
        yield begin, number, cells


def _is_within(records: list[Record], quote: str) -> bool:
    """Whether the cells of some column all stand within the quote."""
    rows = [cells for *_, cells in records[1:]]
    for column in range(max(map(len, rows), default=0)):
        cells = [row[column].strip() for row in rows if column < len(row) and row[column].strip()]
        if cells and all(len(cell) > 1 and cell[0] == cell[-1] == quote for cell in cells):
            return True
    return False


def _width(records: list[Record]) -> int:
    """Return how many columns nearly all records have, without empty ones at the end."""
    widths = sorted((len(cells) for *_, cells in records), reverse=True)
    width = widths[int(len(widths) * _MANY) - 1 if len(widths) > 1 / (1 - _MANY) else -1]
    if len(widths) <= 1 / (1 - _MANY):
        width = Counter(widths).most_common(1)[0][0]
    while width > 1 and not any(cells[width - 1].strip() for *_, cells in records if len(cells) >= width):
        width -= 1
    return width


def _is_header(first: list[str], rows: list[list[str]], doubts: list[str]) -> bool:
    named = [cell.strip() for cell in first]
    columns = [[row[place].strip() for row in rows[:200] if place < len(row)] for place in range(len(first))]
    are_values = [sum(map(_is_value, cells)) > len(cells) / 2 for cells in columns]
    values = [name for name in named if _is_value(name)]
    if any(values_below and name and not _is_value(name) for name, values_below in zip(named, are_values, strict=True)):
        return all(_YEAR.fullmatch(name) for name in values)
    has_years = any(_YEAR.fullmatch(cell) for cells in columns for cell in cells)
    if values and all(_YEAR.fullmatch(name) for name in values) and not has_years:
        doubts.append("the first line has years in it, and was taken for names: or is it a row? header = false")
        return True
    if values or not all(named) or len(set(named)) < len(named) or any(len(name) > _LONGEST_NAME for name in named):
        return False
    if any(name in cells for name, cells in zip(named, columns, strict=True)):
        return False
    doubts.append("every column holds text, so the first line may be a row: header = false")
    return True


def _is_value(cell: str) -> bool:
    return _VALUE.fullmatch(cell) is not None
