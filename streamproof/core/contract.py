"""The contract: the one file that says what a stream is, and what every stage makes of it.

A contract is TOML and holds no code: the CSV's columns, each field's type, the key, the topics. The replayer's
parsing, NiFi's record schema, Flink's table and the validation's reading are all derived from it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from streamproof.core.errors import UsageError
from streamproof.core.message import ENVELOPE, FILLERS
from streamproof.core.time_format import either_case, is_zone, time_format
from streamproof.core.toml_file import StrictModel, check_content, read_toml

_PACKAGE = Path(__file__).parents[1]
STREAMS = _PACKAGE / "streams" if (_PACKAGE / "streams").is_dir() else _PACKAGE.parent / "streams"
"""The streams that come with the project, a folder each: within an installed package, beside it in a checkout."""

DEFAULT_STREAM = "ratings"
"""The one that the demo, the drills and the benchmarks take where none is named."""

_NAME = r"^[a-z][a-z0-9_]*$"
_TOPIC = r"^[A-Za-z0-9._-]{1,200}$"
TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
"""How a boolean may be written, in capitals or not."""

_DOUBLE_SCALE = 9
_WINDOW_COLUMNS = {"window_start", "window_end", "window_time", "window_size", "window_slide", "window_kind", "job"}


_MOVED = {
    "key": "is called partition_by in a contract, and each question has a key of its own (docs/questions.md)",
    "measure": "is no part of a contract any more: a question says what is computed (docs/questions.md)",
    "actor": "is no part of a contract any more: a question says what is computed (docs/questions.md)",
}


class CsvFormat(StrictModel):
    """How the file is laid out.

    Attributes:
        header: whether the first line names the columns; ``auto`` takes it for a row only if it fits as one.
        columns: the order of the columns in a file without a header; further columns are ignored.
        delimiter: the character between two columns; a first line ``sep=X`` names another.
        quote: the character around a cell that holds delimiters; empty for none.
        encoding: how text is stored, by Python's name for it; a byte order mark of UTF-8, 16 or 32 goes before it.
        comment: what a line begins with that is none of the data.
        skip_lines: how many lines stand above the header or the first row.
        trim: whether blanks and tabs around a cell are left out.
        nulls: the words that say "nothing"; a field that is not optional must not hold one.

    """

    header: Literal["auto", True, False] = "auto"
    columns: tuple[str, ...] = ()
    delimiter: Annotated[str, Field(pattern=r'^[^\w.+"\x00\r\n-]$')] = ","
    quote: Annotated[str, Field(pattern=r"^[!-/:-@\[-`{-~]?$")] = '"'
    encoding: str = "utf-8"
    comment: Annotated[str, Field(pattern=r"^[^\r\n]+$")] | None = None
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = 0
    trim: bool = False
    nulls: tuple[str, ...] = ("",)

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote must be two characters")
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f'encoding: there is none named {self.encoding!r}; try "cp1252" or "utf-16"') from None
        return self


class ContractField(StrictModel):
    """One field of a row.

    Attributes:
        type: ``text`` (never turned into a number), ``integer`` (64 bits), ``decimal`` (exact), ``boolean``, ``time``.
        aliases: other names that the column has in files with a header.
        columns: the names of the column in place of the field's own; of a time, several are joined by a blank.
        optional: whether the cell may say "nothing" (``csv.nulls``): NULL.
        scale: of a decimal, the greatest number of digits behind the point.
        round: of a decimal, whether further digits are rounded (half away from zero) and not rejected.
        decimal: of a decimal, the mark before the fraction.
        thousands: of a number, the mark that may stand between groups of three digits.
        unit: of a time that is a number, what it counts since the epoch; a fraction and an exponent may follow.
        format: of a time in words, ``iso`` or a pattern of ``strptime``'s directives.
        timezone: of a time in words, the zone (by its IANA name) of those that do not name their own.
        repeated_hour: which one is meant when the clock is set back and an hour comes twice.

    """

    type: Literal["text", "integer", "decimal", "boolean", "time"]
    aliases: tuple[str, ...] = ()
    columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    optional: bool = False
    scale: Annotated[int, Field(ge=0, le=18)] | None = None
    round: bool = False
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'", "_", "\u00a0", "\u202f"] = ""
    unit: Literal["s", "ms", "us", "ns"] | None = None
    format: str | None = None
    timezone: str | None = None
    repeated_hour: Literal["reject", "first", "second"] = "reject"

    @model_validator(mode="after")
    def _options_fit_the_type(self) -> Self:
        if (self.type == "decimal") != (self.scale is not None):
            raise ValueError("a decimal, and only a decimal, needs scale = digits behind the point (0 to 18)")
        if self.type != "time" and (self.unit or self.format or self.timezone or self.repeated_hour != "reject"):
            raise ValueError("unit, format, timezone and repeated_hour are for a time only")
        if self.type == "time" and (self.unit is None) == (self.format is None):
            raise ValueError('a time needs either unit = "s", "ms", "us" or "ns", or format = "iso" or a pattern')
        if self.unit and (self.timezone or self.repeated_hour != "reject"):
            raise ValueError("a time that counts since the epoch has no timezone")
        if self.type != "decimal" and (self.round or self.decimal != "."):
            raise ValueError("round and decimal are for a decimal only")
        if self.thousands and (self.type not in {"integer", "decimal"} or self.thousands == self.decimal):
            raise ValueError("thousands is for a number only, and differs from decimal")
        if self.columns and (self.aliases or (len(self.columns) > 1 and self.type != "time")):
            raise ValueError("columns replaces aliases, and names several columns only of a time")
        if self.timezone and not is_zone(self.timezone):
            raise ValueError(f"timezone: there is none named {self.timezone!r}; try one like Europe/Berlin")
        if self.format:
            time_format(self.format)
        return self

    @property
    def pattern(self) -> str:
        """The regular expression that the whole CSV cell must match (the same for Python's ``re`` and DuckDB)."""
        if self.type == "text":
            return r"(?s).+"
        if self.type == "boolean":
            return "|".join(either_case(word) for word in TRUE + FALSE)
        if self.format:
            return time_format(self.format).pattern
        if self.unit:
            most = self.digits - 1  # of an exponent
            exponent = f"0?[0-9]|1[0-{most - 10}]"
            return rf"[0-9]{{1,{self.digits}}}(\.[0-9]{{1,20}})?|[0-9](\.[0-9]{{1,20}})?[eE]\+?({exponent})"
        whole = rf"[0-9]{{1,{self.digits}}}"
        if self.thousands:
            mark = rf"[{self.thousands}]"
            for groups in range(1, (self.digits - 1) // 3 + 1):
                whole += rf"|[0-9]{{1,{min(3, self.digits - 3 * groups)}}}({mark}[0-9]{{3}}){{{groups}}}"
        fraction = ""
        if self.round:
            fraction = rf"([{self.decimal}][0-9]{{1,40}})?"
        elif self.scale:
            fraction = rf"([{self.decimal}][0-9]{{1,{self.scale}}})?"
        return rf"[+-]?({whole}){fraction}"

    @property
    def digits(self) -> int:
        """How many digits a number may have before the point."""
        if self.unit:
            # Until the year 5138; what is longer is almost always of another unit, and would end up 50,000 years ahead.
            return {"s": 11, "ms": 14, "us": 17, "ns": 20}[self.unit]
        if self.scale is None:
            return 18
        return 15 if self.is_wide else 15 - self.scale

    @property
    def is_wide(self) -> bool:
        """Whether it is a decimal with more digits than a double keeps: text in messages, so that none is lost."""
        return self.scale is not None and self.scale > _DOUBLE_SCALE

    @property
    def decimal_type(self) -> str:
        """A decimal's type in Flink and in DuckDB."""
        return f"DECIMAL({38 if self.is_wide else 18}, {self.scale})"

    @property
    def flink_type(self) -> str:
        """The field's type in Flink's SQL; of a time, UTC without a zone."""
        types = {"text": "STRING", "integer": "BIGINT", "boolean": "BOOLEAN", "time": "TIMESTAMP(3)"}
        return types.get(self.type, self.decimal_type)

    @property
    def duckdb_type(self) -> str:
        """The field's type in DuckDB; of a time, UTC without a zone."""
        types = {"text": "VARCHAR", "integer": "BIGINT", "boolean": "BOOLEAN", "time": "TIMESTAMP"}
        return types.get(self.type, self.decimal_type)

    @property
    def avro_type(self) -> str | list[str]:
        """The field's type in NiFi's record schema."""
        types = {"text": "string", "integer": "long", "boolean": "boolean", "time": "long"}
        name = types.get(self.type, "string" if self.is_wide else "double")
        return ["null", name] if self.optional else name

    @property
    def filler(self) -> str | float:
        """What a mark has in this field."""
        return "0.0" if self.is_wide else FILLERS[self.type]

    @property
    def expected(self) -> str:
        """What the pattern asks for, in words."""
        if self.format:
            return f"a time {'as ISO 8601 has it' if self.format == 'iso' else f'like {self.format}'}, from 1970 on"
        if self.unit:
            units = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
            return f"a time in {units[self.unit]} since 1970, {self.digits} digits at most before the point"
        point = "comma" if self.decimal == "," else "point"
        return {
            "text": "a text that is not empty",
            "integer": "a whole number",
            "decimal": f"a number with {'digits' if self.round else f'at most {self.scale} digits'} behind the {point}",
            "boolean": "true or false",
        }[self.type]

    def reads(self, cells: list[str], layout: CsvFormat) -> bool:
        """Whether the cells of its columns can be read as this field."""
        if layout.trim:
            cells = [cell.strip(" \t") for cell in cells]
        if all(cell in layout.nulls for cell in cells):
            return self.optional
        return re.fullmatch(self.pattern, " ".join(cells)) is not None


class Topics(StrictModel):
    """The Kafka topics of a stream: its rows, and what does not fit."""

    rows: Annotated[str, Field(pattern=_TOPIC)]
    dead_letters: Annotated[str, Field(pattern=_TOPIC)]


class Contract(StrictModel):
    """What a stream is.

    Attributes:
        name: the stream's name, and the first part of its MQTT topics (``NAME/CATEGORY``).
        partition_by: the text field by whose value Kafka partitions the rows; None spreads them evenly.
        event_time: the time field that holds the file's own time of a row; only the pace ``file`` needs one.
        topics: the Kafka topics; by default NAME and NAME.dead-letter. Each question has one more,
            for its results.
        fields: the row's fields, in the order in which they are sent.

    """

    name: Annotated[str, Field(pattern=_NAME)]
    partition_by: str | None = None
    event_time: str | None = None
    csv: CsvFormat = CsvFormat()
    topics: Topics
    fields: Annotated[dict[Annotated[str, Field(pattern=_NAME)], ContractField], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _tell_of_what_has_moved(cls, data: object) -> object:
        for key, now in _MOVED.items():
            if isinstance(data, dict) and key in data:
                raise ValueError(f"{key}: {now}")
        return data

    @model_validator(mode="before")
    @classmethod
    def _default_topics(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(name := data.get("name"), str):
            defaults = {"rows": name, "dead_letters": f"{name}.dead-letter"}
            return data | {"topics": defaults | data.get("topics", {})}
        return data

    @model_validator(mode="after")
    def _names_fit_together(self) -> Self:
        for what, kind in (("partition_by", "text"), ("event_time", "time")):
            name = getattr(self, what)
            field = self.fields.get(name)
            if name is not None and (field is None or field.type != kind):
                raise ValueError(f"{what} = {name!r} must name a field of type {kind}")
            if what == "event_time" and field is not None and field.optional:
                raise ValueError(f"{what} = {name!r} must name a field that is not optional")
        if taken := (set(ENVELOPE) | _WINDOW_COLUMNS) & set(self.fields):
            raise ValueError(
                f"fields: the name {min(taken)!r} is taken by streamproof itself; choose another and make it an alias: "
                f'[fields.file_{min(taken)}] aliases = ["{min(taken)}"]'
            )
        # By ``columns`` two fields may well be read from one column.
        named = [field for field, spec in self.fields.items() if not spec.columns]
        loose = [name for field in named for name in self._loose_names(field)]
        if twice := [name for field in named for name in self.names_of(field) if loose.count(loose_name(name)) > 1]:
            raise ValueError(f"fields: the column name {twice[0]!r} is given twice")
        for each in self.fields:
            if self.csv.columns and None in self._places(each, self.csv.columns):
                raise ValueError(f"csv.columns: the field {each!r} is not among them")
        if len(set(self.csv.columns)) < len(self.csv.columns):
            raise ValueError("csv.columns: a column is named twice")
        if self.csv.header is False and not self.csv.columns:
            raise ValueError("csv.columns: needed for a file without a header")
        if self.topics.rows == self.topics.dead_letters:
            raise ValueError("topics: rows and dead_letters must be different topics")
        return self

    def names_of(self, field: str) -> tuple[str, ...]:
        """Return the names that the columns of a field may have."""
        spec = self.fields[field]
        return spec.columns or (field, *spec.aliases)

    def columns_of(
        self, first_line: list[str], file: str, delimiter: str | None = None
    ) -> tuple[bool, dict[str, tuple[int, ...]]]:
        """Find the fields' columns: whether the first line is a header, and the indexes from 0 of each field's columns.

        Names match without regard to case, blanks, ``_`` and ``-``, unless one matches as it is.

        Raises:
            UsageError: the header lacks a field, or names it twice; or the first line is neither a header nor a row.

        """
        delimiter = delimiter or self.csv.delimiter
        line = delimiter.join(first_line)
        cells = [cell.strip() for cell in first_line]
        found = {name: self._places(name, cells) for name in self.fields}
        ordered = {name: self._places(name, self.csv.columns) for name in self.fields}
        lacking = [name for name, places in found.items() if None in places]
        if not lacking and self.csv.header is not False:
            return True, cast("dict[str, tuple[int, ...]]", found)
        misfit = next((name for name, places in ordered.items() if not self._reads(name, places, first_line)), None)
        if self.csv.header is False or (self.csv.header == "auto" and misfit is None):
            return False, cast("dict[str, tuple[int, ...]]", ordered)
        hint = _other_delimiter(line, delimiter)
        if self.csv.header == "auto" and len(lacking) == len(self.fields):
            no_row = f", and is no row either (no {misfit} in its place)" if self.csv.columns else ""
            raise UsageError(
                f"{file}: the first line names none of the fields of {self.name} ({', '.join(self.fields)}){no_row}. "
                f"It is {line[:200]!r}. {hint}Add its names as aliases to the contract; pass over lines above a header "
                "by csv.skip_lines or csv.comment; or describe a file without a header by csv.header = false and "
                "csv.columns"
            )
        name = lacking[0]
        several = any(loose_name(cell) in self._loose_names(name) for cell in cells)
        raise UsageError(
            f"{file}: the header {line[:500]!r} has {'several columns' if several else 'no column'} "
            f"for the field {name} (names: {', '.join(self.names_of(name))}): {hint}mend the contract's aliases"
        )

    def _places(self, field: str, cells: Sequence[str]) -> tuple[int | None, ...]:
        """Return where each column of a field stands among the names ``cells``; None where it is not or not once."""
        spec = self.fields[field]
        groups = [(name,) for name in spec.columns] if spec.columns else [self.names_of(field)]
        return tuple(_place(names, cells) for names in groups)

    def _loose_names(self, field: str) -> set[str]:
        return {loose_name(name) for name in self.names_of(field)}

    def _reads(self, field: str, places: tuple[int | None, ...], cells: list[str]) -> bool:
        there = [cells[place] for place in places if place is not None and place < len(cells)]
        return len(there) == len(places) and self.fields[field].reads(there, self.csv)

    def avro_schema(self) -> dict[str, object]:
        """Return the record schema that NiFi checks each row against: every field present, none other."""
        envelope = {name: "string" if kind == "text" else "long" for name, kind in ENVELOPE.items()}
        fields = {name: field.avro_type for name, field in self.fields.items()}
        return {
            "type": "record",
            "name": self.name,
            "fields": [{"name": name, "type": kind} for name, kind in (envelope | fields).items()],
        }

    def message_fields(self) -> dict[str, str]:
        """Return every field of a message and its type, in the order in which it is sent."""
        return ENVELOPE | {name: field.type for name, field in self.fields.items()}


def loose_name(name: str) -> str:
    """Return a column's name without what people write now one way, now another: case, blanks, ``_`` and ``-``."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def _place(names: Sequence[str], cells: Sequence[str]) -> int | None:
    for spell in (str, loose_name):
        wanted, spelled = {spell(name) for name in names}, [spell(cell) for cell in cells]
        if places := [place for place, cell in enumerate(spelled) if cell in wanted]:
            return places[0] if len(places) == 1 else None
    return None


def _other_delimiter(line: str, delimiter: str) -> str:
    """Return a hint for a line that another delimiter would cut."""
    other = max(",;\t|", key=line.count)
    if delimiter in line or other not in line:
        return ""
    return f"No {delimiter!r} is in it, but {other!r} is: set csv.delimiter = {json.dumps(other)}? "


def load_contract(name_or_path: str) -> Contract:
    """Read a contract: the name of one that comes with the project, or the path of a file.

    Raises:
        UsageError: there is no such contract, or it is wrong; the text names file, key and what was expected.

    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = STREAMS / name_or_path / "stream.toml"
        if not re.fullmatch(_NAME, name_or_path) or not path.is_file():
            known = ", ".join(sorted(p.parent.name for p in STREAMS.glob("*/stream.toml")))
            raise UsageError(
                f"there is no stream {name_or_path!r}: name one of {known}, or the path of a contract (.toml)"
            )
    return parse_contract(read_toml(path), str(path))


def copy_contract(name: str, new_name: str, file: Path) -> None:
    """Write a contract that comes with the project to a file, under a new name: a stream with topics of its own."""
    content = (STREAMS / name / "stream.toml").read_text(encoding="utf-8")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content.replace(f'name = "{name}"', f'name = "{new_name}"'), encoding="utf-8")


def parse_contract(data: Mapping[str, object], source: str) -> Contract:
    """Check a contract's content; ``source`` names it in errors.

    Raises:
        UsageError: the content is wrong; the text has a line for each key and what was expected.

    """
    # Topics are made from the name, whose absence has a line of its own.
    return check_content(Contract, data, source, manual="docs/contract.md", implied=("topics",))
