"""The text of a drafted contract: what is not sure stands in it as a comment."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from edge_replayer.draft.fields import Cells, Drafted
from edge_replayer.draft.layout import Layout
from streamproof.core.contract import CsvFormat, loose_name

_ORDER = ("type", "columns", "optional", "scale", "round", "decimal", "thousands", "unit", "format")


@dataclass
class Column:
    """A column of the file that becomes a field, or a date and a time of day that become one.

    Attributes:
        field: the field's name.
        places: where it stands, from 0.
        drafted: what reads it.
        cells: its cells, one a row.
        counts: the same, counted.

    """

    field: str
    places: tuple[int, ...]
    drafted: Drafted
    cells: list[str]
    counts: Cells

    def is_empty_in(self, nulls: Iterable[str]) -> bool:
        """Whether a cell of it says "nothing"."""
        return any(word in self.counts for word in nulls)


def contract_text(
    file: str,
    stream: str,
    layout: Layout,
    columns: list[Column],
    *,
    trim: bool,
    nulls: list[str],
    left_out: list[str],
    event_time: str | None,
    partition_by: str | None,
) -> tuple[str, list[str]]:
    """Return a contract's text, and what it says in it that is not sure."""
    doubts: list[str] = []

    def doubt(text: str, of: str | None = None) -> str:
        doubts.append(f"{of}: {text}" if of else text)
        return f"# not sure: {text}"

    shown = file.encode(errors="replace").decode()
    lines = [f"# Drafted from {toml(shown)}. Every key is explained in docs/contract.md.", f"name = {toml(stream)}"]
    if partition_by:
        lines.append(f"partition_by = {toml(partition_by)}")
    times = [column.field for column in columns if column.drafted.is_time]
    if event_time:
        lines.append(f"event_time = {toml(event_time)}")
        if others := [name for name in times if name != event_time]:
            lines.append(doubt(f"a row's own time could also be {', '.join(others)}", "event_time"))
    elif times:
        lines.append(doubt(f"{', '.join(times)} cannot be event_time, as it is not there in each row", "event_time"))

    lines += ["", "[csv]", f"header = {toml(layout.header is not None)}"]
    titles = layout.header or _names_by_place(columns, layout.width)
    if layout.header is None:
        lines.append(f"columns = {toml(titles)}")
    chosen = {"delimiter": layout.delimiter, "quote": layout.quote, "encoding": layout.encoding,
              "comment": layout.comment, "skip_lines": layout.skip_lines, "trim": trim, "nulls": nulls}  # fmt: skip
    usual = CsvFormat()
    for key, value in chosen.items():
        if value != (list(usual.nulls) if key == "nulls" else getattr(usual, key)):
            lines.append(f"{key} = {toml(value)}")
    lines += [doubt(text, "csv") for text in layout.doubts]
    lines += [f"# {text}" for text in left_out]

    for column in columns:
        spec = dict(column.drafted.spec)
        if of_file := _columns(column, titles, has_header=layout.header is not None):
            spec["columns"] = of_file
        lines += ["", f"[fields.{column.field}]"]
        lines += [f"{key} = {toml(spec[key])}" for key in _ORDER if key in spec]
        lines += [doubt(text, column.field) for text in column.drafted.doubts]
    return "\n".join(lines) + "\n", doubts


def toml(value: object) -> str:
    """Return a text, a number, a boolean or a list of texts as TOML has it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _names_by_place(columns: list[Column], width: int) -> list[str]:
    names = [f"column_{place + 1}" for place in range(width)]
    for column in columns:
        if len(column.places) == 1:
            names[column.places[0]] = column.field
    return names


def _columns(column: Column, titles: list[str], *, has_header: bool) -> list[str] | None:
    """Return the names of a field's columns, where its own name does not lead there."""
    mine = [titles[place] for place in column.places]
    alike = [title for title in titles if loose_name(title) == loose_name(mine[0])]
    leads_there = loose_name(column.field) == loose_name(mine[0]) and (len(alike) == 1 or not has_header)
    return None if len(mine) == 1 and leads_there else mine
