"""The contract: the one file that says what a stream is, and what every stage makes of it.

A contract is TOML and holds no code: the CSV's columns, each field's type, the key, the topics. The replayer's
parsing, NiFi's record schema, Flink's table and the validation's reading are all derived from it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from streamproof.core.errors import UsageError
from streamproof.core.message import ENVELOPE
from streamproof.core.toml_file import StrictModel, check_content, read_toml

_PACKAGE = Path(__file__).parents[1]
STREAMS = _PACKAGE / "streams" if (_PACKAGE / "streams").is_dir() else _PACKAGE.parent / "streams"
"""The streams that come with the project, a folder each: within an installed package, beside it in a checkout."""

_NAME = r"^[a-z][a-z0-9_]*$"
_TOPIC = r"^[A-Za-z0-9._-]{1,200}$"
_WINDOW_COLUMNS = {"window_start", "window_end", "window_time", "window_size", "window_slide", "window_kind", "job"}


class CsvFormat(StrictModel):
    """How the file is laid out.

    Attributes:
        header: whether the first line names the columns; ``auto`` looks for the fields' names and aliases there.
        columns: the order of the columns in a file without a header; further columns are ignored.
        delimiter: the character between two columns.

    """

    header: Literal["auto", True, False] = "auto"
    columns: tuple[str, ...] = ()
    delimiter: Literal[",", ";", "\t", "|"] = ","


class ContractField(StrictModel):
    """One field of a row.

    Attributes:
        type: ``text`` (never turned into a number), ``integer`` (64 bits), ``decimal`` (exact) or ``time``.
        aliases: other names that the column has in files with a header.
        scale: of a decimal, the greatest number of digits behind the point.
        unit: of a time, ``s`` or ``ms`` since the epoch.

    """

    type: Literal["text", "integer", "decimal", "time"]
    aliases: tuple[str, ...] = ()
    scale: Annotated[int, Field(ge=0, le=9)] | None = None
    unit: Literal["s", "ms"] | None = None

    @model_validator(mode="after")
    def _options_fit_the_type(self) -> Self:
        if (self.type == "decimal") != (self.scale is not None):
            raise ValueError("a decimal, and only a decimal, needs scale = digits behind the point (0 to 9)")
        if (self.type == "time") != (self.unit is not None):
            raise ValueError('a time, and only a time, needs unit = "s" or "ms"')
        return self

    @property
    def pattern(self) -> str:
        """The regular expression that the whole CSV cell must match (the same for Python's ``re`` and DuckDB)."""
        if self.type == "text":
            return r"(?s).+"
        if self.type == "decimal" and self.scale:
            return rf"[+-]?[0-9]{{1,{15 - self.scale}}}(\.[0-9]{{1,{self.scale}}})?"
        if self.type == "decimal":
            return r"[+-]?[0-9]{1,15}"
        return rf"{'[+-]?' if self.type == 'integer' else ''}[0-9]{{1,{self.digits}}}"

    @property
    def digits(self) -> int:
        """How many digits an integer or a time may have."""
        # Until the year 5138; what is longer is almost always of another unit, and would end up 50,000 years ahead.
        return {None: 18, "s": 11, "ms": 14}[self.unit]

    @property
    def expected(self) -> str:
        """What the pattern asks for, in words."""
        return {
            "text": "a text that is not empty",
            "integer": "a whole number",
            "decimal": f"a number with at most {self.scale} digits behind the point",
            "time": "a time in whole seconds since 1970, 11 digits at most"
            if self.unit == "s"
            else "a time in whole milliseconds since 1970, 14 digits at most",
        }[self.type]


class Topics(StrictModel):
    """The Kafka topics of a stream."""

    rows: Annotated[str, Field(pattern=_TOPIC)]
    dead_letters: Annotated[str, Field(pattern=_TOPIC)]
    windows: Annotated[str, Field(pattern=_TOPIC)]


class Contract(StrictModel):
    """What a stream is.

    Attributes:
        name: the stream's name, and the first part of its MQTT topics (``NAME/CATEGORY``).
        key: the field by which rows are partitioned and windows are grouped.
        measure: the numeric field that windows count, sum and average.
        actor: the text field that says who acts; windows can count how many different ones there are.
        event_time: the time field that holds the file's own time of a row.
        topics: the Kafka topics; by default NAME, NAME.dead-letter and NAME.averages.
        fields: the row's fields, in the order in which they are sent.

    """

    name: Annotated[str, Field(pattern=_NAME)]
    key: str
    measure: str
    actor: str | None = None
    event_time: str
    csv: CsvFormat = CsvFormat()
    topics: Topics
    fields: Annotated[dict[Annotated[str, Field(pattern=_NAME)], ContractField], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _default_topics(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(name := data.get("name"), str):
            defaults = {"rows": name, "dead_letters": f"{name}.dead-letter", "windows": f"{name}.averages"}
            return data | {"topics": defaults | data.get("topics", {})}
        return data

    @model_validator(mode="after")
    def _names_fit_together(self) -> Self:
        for what, types in (
            ("key", ("text",)),
            ("measure", ("integer", "decimal")),
            ("actor", ("text",)),
            ("event_time", ("time",)),
        ):
            name = getattr(self, what)
            field = self.fields.get(name)
            if name is not None and (field is None or field.type not in types):
                raise ValueError(f"{what} = {name!r} must name a field of type {' or '.join(types)}")
        if taken := (set(ENVELOPE) | _WINDOW_COLUMNS) & set(self.fields):
            raise ValueError(
                f"fields: the name {min(taken)!r} is taken by streamproof itself; choose another and make it an alias"
            )
        names = [n for field, spec in self.fields.items() for n in (field, *spec.aliases)]
        if twice := {n for n in names if names.count(n) > 1}:
            raise ValueError(f"fields: the column name {min(twice)!r} is given twice")
        if self.csv.columns and (missing := set(self.fields) - set(self.csv.columns)):
            raise ValueError(f"csv.columns: the field {min(missing)!r} is not among them")
        if len(set(self.csv.columns)) < len(self.csv.columns):
            raise ValueError("csv.columns: a column is named twice")
        if self.csv.header is False and not self.csv.columns:
            raise ValueError("csv.columns: needed for a file without a header")
        if len({self.topics.rows, self.topics.dead_letters, self.topics.windows}) < len(Topics.model_fields):
            raise ValueError("topics: rows, dead_letters and windows must be three different topics")
        return self

    def columns_of(self, first_line: list[str], file: str) -> tuple[bool, dict[str, int]]:
        """Find the fields' columns: whether the first line is a header, and each field's column index from 0.

        Raises:
            UsageError: the header lacks a field, or names it twice, or the file has no header and none is described.

        """
        cells = [cell.strip() for cell in first_line]
        found = {
            name: [i for i, cell in enumerate(cells) if cell in (name, *spec.aliases)]
            for name, spec in self.fields.items()
        }
        header = any(found.values()) if self.csv.header == "auto" else self.csv.header
        if not header:
            if not self.csv.columns:
                raise UsageError(
                    f"{file}: the first line names none of the fields of {self.name} ({', '.join(self.fields)}): "
                    "add its names as aliases to the contract, or csv.columns for a file without a header"
                )
            return False, {name: self.csv.columns.index(name) for name in self.fields}
        for name, places in found.items():
            if len(places) != 1:
                how_many = "several columns" if places else "no column"
                raise UsageError(
                    f"{file}: the header {self.csv.delimiter.join(cells)!r} has {how_many} "
                    f"for the field {name} (names: {', '.join((name, *self.fields[name].aliases))}): "
                    "mend the contract's aliases"
                )
        return True, {name: places[0] for name, places in found.items()}

    def avro_schema(self) -> dict[str, object]:
        """Return the record schema that NiFi checks each row against: every field present, none other."""
        types = {"text": "string", "integer": "long", "decimal": "double", "time": "long"}
        return {
            "type": "record",
            "name": self.name,
            "fields": [{"name": name, "type": types[kind]} for name, kind in self.message_fields().items()],
        }

    def message_fields(self) -> dict[str, str]:
        """Return every field of a message and its type, in the order in which it is sent."""
        return ENVELOPE | {name: field.type for name, field in self.fields.items()}


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
