"""A contract and a first question, drafted from a file and tried on it."""

import json
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, count, islice, pairwise
from pathlib import Path

import msgspec

from edge_replayer.cells import cell_reader
from edge_replayer.csv_rows import CsvRows
from edge_replayer.draft.contract_text import Column, contract_text
from edge_replayer.draft.fields import (
    draft_field,
    has_decimal_comma,
    has_no_time_of_day,
    is_time_of_day,
    looks_like_a_value,
)
from edge_replayer.draft.layout import Layout, look_at_layout
from edge_replayer.draft.question import first_window, question_text
from streamproof.core.batch import columns_of
from streamproof.core.contract import STREAMS, Contract, ContractField, parse_contract
from streamproof.core.errors import UsageError
from streamproof.core.message import ENVELOPE
from streamproof.core.question import RESULT_COLUMNS, parse_question
from streamproof.core.question_text import check_text

LOOKED_AT = 20_000
"""Rows from which the contract is made."""

TRIED = 200_000
"""Rows that the finished contract is tried on."""

_TAKEN = {*ENVELOPE, *RESULT_COLUMNS, "window_time"}
_LONGEST_NAME = 50
_SOME = 0.5  # of the cells, that have blanks around them
_MOST_KEYS = 0.9  # of the rows


@dataclass
class Draft:
    """What was drafted.

    Attributes:
        stream: the stream's name.
        contract: the contract's text.
        question: the question's name.
        question_text: its text.
        has_time: whether the file's own time can set the pace.
        doubts: what is not sure, as it stands in the contract.
        fitting: how many of the rows that were tried fit the contract.
        rejected: why the first others do not: line number and reason.
        rejections: how many others there are.
        whole: whether all rows were tried.

    """

    stream: str
    contract: str
    question: str
    question_text: str
    has_time: bool
    doubts: list[str]
    fitting: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)
    rejections: int = 0
    whole: bool = True


def draft(path: Path, name: str | None = None) -> Draft:
    """Draft a contract and a first question from a file, and try both.

    Args:
        path: the file.
        name: the stream's name; None makes one from the file's name.

    Raises:
        UsageError: the file is no CSV, no row stands in it, or the name is none.
        StreamproofError: the file cannot be read.

    """
    stream = _stream_name(path) if name is None else name
    if not re.fullmatch("[a-z][a-z0-9_]*", stream):
        raise UsageError(f"the name {stream!r} is none for a stream: small letters, digits and _, like my_stream")
    layout = look_at_layout(path)
    rows = _sample(path, layout)
    if not rows:
        raise UsageError(f"{path}: there is no row below the header" if layout.header else f"{path}: there is no row")
    trim, columns, left_out = _columns(layout, rows)
    if not columns:
        raise UsageError(f"{path}: nothing stands in any of its columns")
    nulls = ["", *sorted(set().union(*(column.drafted.nulls for column in columns)))]
    for column in columns:
        if column.is_empty_in(nulls):
            column.drafted.spec["optional"] = True
    event_time = _event_time(columns)
    key = _key(columns)
    text, doubts = contract_text(
        path.name,
        stream,
        layout,
        columns,
        trim=trim,
        nulls=nulls,
        left_out=left_out,
        event_time=event_time.field if event_time else None,
        partition_by=key.field if key else None,
    )
    contract = parse_contract(tomllib.loads(text), f"the draft for {path}")
    measure = next((column.field for column in columns if column.drafted.is_measure), None)
    times = _times(event_time) if event_time else []
    by = key.field if key else "category"
    window = first_window(times, len(rows))
    made = Draft(
        stream=stream,
        contract=text,
        question=f"{stream}_by_{by}",
        question_text=question_text(stream, window, by, measure, set(contract.fields)),
        has_time=event_time is not None,
        doubts=doubts,
    )
    question = parse_question(made.question, made.question_text, made.question)
    check_text(question, contract)
    columns_of(question, contract)
    _try(made, contract, path)
    return made


def _sample(path: Path, layout: Layout) -> list[list[str]]:
    """Return the first rows as texts."""
    names = [f"c{place}" for place in range(layout.width)]
    csv = {"header": False, "columns": names, "delimiter": layout.delimiter, "quote": layout.quote,
           "encoding": layout.encoding, "skip_lines": layout.begin}  # fmt: skip
    if layout.comment:
        csv["comment"] = layout.comment
    fields = {name: {"type": "text", "optional": True} for name in names}
    contract = parse_contract({"name": "sample", "csv": csv, "fields": fields}, str(path))
    try:
        source = CsvRows(contract, path)
    except UsageError as error:
        if "the file is empty" in str(error):
            return []
        raise
    with closing(source.rows(lambda *_: None)) as rows:
        bodies = (msgspec.json.decode("{" + body) for _, _, body in islice(rows, LOOKED_AT))
        return [[cell or "" for cell in body.values()] for body in bodies]


def _columns(layout: Layout, rows: list[list[str]]) -> tuple[bool, list[Column], list[str]]:
    """Return whether cells are trimmed, the columns that become fields, and remarks on the others."""
    by_place = [list(cells) for cells in zip(*rows, strict=True)]
    trim = any(_has_blanks(cells) for cells in by_place)
    if trim:
        by_place = [[cell.strip(" \t") for cell in cells] for cells in by_place]
    counts = [Counter(cells) for cells in by_place]
    decimal_comma = any(has_decimal_comma(each) for each in counts)
    header = layout.header or [""] * layout.width
    left_out: list[str] = []
    columns: list[Column] = []
    for place, (cells, counted) in enumerate(zip(by_place, counts, strict=True)):
        title = header[place] if place < len(header) else ""
        what = json.dumps(title, ensure_ascii=False) if title else f"number {place + 1}"
        drafted = draft_field(counted, _snake(title), decimal_comma=decimal_comma)
        if drafted is None:
            left_out.append(f"the column {what} is left out: nothing stands in it")
        elif layout.header and header.count(title) > 1:
            left_out.append(f"the column {what} is left out: there are several of that name")
        elif layout.header and not title:
            left_out.append(f"the column {what} is left out: it has no name")
        else:
            columns.append(Column(_field_name(title, place, columns), (place,), drafted, cells, counted))
    columns = _joined(columns)
    times = [column for column in columns if column.drafted.is_time]
    if not layout.header and len(times) == 1:
        times[0].field = "time"
    return trim, columns, left_out


def _has_blanks(cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell.strip(" \t")]
    padded = sum(cell != cell.strip(" \t") for cell in filled)
    return padded > _SOME * len(filled) or (padded > 0 and looks_like_a_value(Counter(filled)))


def _joined(columns: list[Column]) -> list[Column]:
    """Join each date and the time of day that stands beside it."""
    joined = list(columns)
    for date, clock in pairwise(columns):
        is_date = date.drafted.is_time and has_no_time_of_day(date.drafted.spec, date.counts)
        if not is_date or clock.drafted.spec["type"] != "text" or not is_time_of_day(clock.counts):
            continue
        cells = [f"{day} {time}".strip() for day, time in zip(date.cells, clock.cells, strict=True)]
        counts = Counter(cells)
        drafted = draft_field(counts, "time")
        if drafted and drafted.is_time:
            others = [column for column in joined if column is not date and column is not clock]
            name = _field_name("time", 0, others)
            joined[joined.index(date)] = Column(name, date.places + clock.places, drafted, cells, counts)
            joined.remove(clock)
    return joined


def _event_time(columns: list[Column]) -> Column | None:
    """Return the column that says when a row happened: of those that always do the one that is called so."""
    times = [c for c in columns if c.drafted.is_time and "optional" not in c.drafted.spec]
    called = ("event_time", "timestamp", "ts", "time", "datetime", "date_time", "date")
    ranks = {name: rank for rank, name in enumerate(called)}
    return min(times, key=lambda c: ranks.get(c.field.removeprefix("file_"), len(ranks)), default=None)


def _key(columns: list[Column]) -> Column | None:
    """Return the text by which it is sensible to count: few values, and each of them often."""
    texts = [c for c in columns if c.drafted.spec["type"] == "text" and "optional" not in c.drafted.spec]
    texts = [c for c in texts if 1 < len(c.counts) <= _MOST_KEYS * len(c.cells)]
    return min(texts, key=lambda column: len(column.counts), default=None)


def _times(column: Column) -> list[int]:
    read = cell_reader(ContractField.model_validate(column.drafted.spec))
    return [int(time) for cell in column.cells if (time := read(cell)) is not None]


def _stream_name(path: Path) -> str:
    name = _snake(path.name.partition(".")[0])[:_LONGEST_NAME].strip("_")
    name = name if name[:1].isalpha() else f"stream_{name}".rstrip("_")
    return f"my_{name}" if (STREAMS / name).is_dir() else name


def _field_name(title: str, place: int, others: Iterable[Column]) -> str:
    name = _snake(title)[:_LONGEST_NAME].strip("_") or f"column_{place + 1}"
    if not name[0].isalpha():
        name = f"column_{name}"
    if name in _TAKEN:
        name = f"file_{name}"
    taken = {column.field for column in others}
    numbered = (f"{name}_{number}" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in taken)


def _snake(title: str) -> str:
    """Return a name in small letters, digits and ``_``."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


def _try(made: Draft, contract: Contract, path: Path) -> None:
    """Read the file by the contract, and note how many rows fit."""

    def reject(line: int, reason: str, _: bytes) -> None:
        made.rejections += 1
        if len(made.rejected) < 3:  # noqa: PLR2004
            made.rejected.append((line, reason))

    with closing(CsvRows(contract, path).rows(reject)) as rows:
        made.fitting = sum(1 for _ in islice(rows, TRIED))
        made.whole = next(rows, None) is None
