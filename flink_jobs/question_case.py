"""A question's test as a file that a user writes: rows in, and the answers that both engines must give.

docs/questions.md explains it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import duckdb
from pydantic import Field, field_validator

from flink_jobs.local import run_questions
from streamproof.core.batch import WHOLE_NUMBER, columns_of, create_views
from streamproof.core.contract import Contract, load_contract
from streamproof.core.errors import UsageError
from streamproof.core.message import END_SEQ
from streamproof.core.question import MANUAL, RESULT_COLUMNS, Question, load_question
from streamproof.core.question_text import used_fields
from streamproof.core.sql_quoting import quoted
from streamproof.core.toml_file import StrictModel, check_content, read_toml
from streamproof.core.window import parse_window

ENDING = ".test.toml"
"""What the file's name ends with; before it stands the question's name."""

_RUN = "test"
_FIRST_CATEGORY = "test"
_NEAR = 1e-12

Answer = dict[str, Any]
"""An answer's columns; no value is NULL."""


class CaseFile(StrictModel):
    """The file's content.

    Attributes:
        question: the question's name or file; by default the one beside it.
        window: its windows in this test; by default the question's own.
        rows: each has ``event_time``, the fields that the question reads and, if it matters, ``category``.
        answers: all that must come out; a column that is left out is NULL.

    """

    question: str | None = None
    window: str | None = None
    rows: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]
    answers: tuple[Answer, ...]

    @field_validator("rows")
    @classmethod
    def _have_times(cls, rows: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for number, row in enumerate(rows, 1):
            if not _is_time(row.get("event_time")):
                raise ValueError(f"row {number}: event_time must be a time with a zone, like 2024-01-01T00:00:00Z")
        return rows


@dataclass(frozen=True)
class Outcome:
    """How a test went: what each engine answers otherwise than is expected, in words."""

    path: Path
    engines: list[str]
    expected: int
    differences: list[str]


def run_case(path: Path, stream: str | None = None) -> Outcome:
    """Run a test in both engines; a batch question's in DuckDB alone.

    Args:
        path: the file.
        stream: the stream's name or contract; by default the one that the question names.

    Raises:
        UsageError: the file is wrong, or the question is refused.
        StreamproofError: an engine fails on these rows.

    """
    case = check_content(CaseFile, read_toml(path), str(path), manual=MANUAL)
    beside = path.with_name(path.name.removesuffix(ENDING) + ".sql")
    question = load_question(case.question or str(beside))
    if case.window:
        question = question.with_window(parse_window(case.window))
    contract = load_contract(stream or question.header.stream)
    rows = list(_rows(case, contract, used_fields(question, contract.fields), str(path)))
    kinds = {name: kind for name, kind in columns_of(question, contract).items() if name not in _LEFT_OUT}
    expected = [_expected(answer, kinds, f"{path}: answer {n}") for n, answer in enumerate(case.answers, 1)]
    key = ("window_start", "window_end", *question.key)
    engines = {"Flink": _answers_of_flink, "DuckDB": _answers_of_duckdb}
    if question.header.run == "batch":
        engines.pop("Flink")
    differences = []
    for engine, answers_of in engines.items():
        answers = answers_of(question, contract, rows, kinds)
        differences += [f"{engine}: {difference}" for difference in _differences(expected, answers, key)]
    return Outcome(path, list(engines), len(expected), differences)


_LEFT_OUT = set(RESULT_COLUMNS) - {"window_start", "window_end"}


def _rows(case: CaseFile, contract: Contract, used: list[str], source: str) -> Iterator[dict[str, Any]]:
    seqs: dict[str, int] = {}
    for number, row in enumerate(case.rows, 1):
        where = f"{source}: row {number}"
        if unknown := set(row) - {"event_time", "category", *contract.fields}:
            raise UsageError(f"{where}: {min(unknown)!r} is no field of {contract.name}: {', '.join(contract.fields)}")
        if missing := [name for name in used if name not in row and not contract.fields[name].optional]:
            raise UsageError(f"{where}: it has no {missing[0]}, which the question reads")
        category = str(row.get("category", _FIRST_CATEGORY))
        seqs[category] = seqs.get(category, 0) + 1
        made = {"category": category, "seq": seqs[category], "event_time": _milliseconds(row["event_time"])}
        for name, field in contract.fields.items():
            made[name] = None
            if (value := row.get(name)) is not None:
                if field.type == "time":
                    if not _is_time(value):
                        raise UsageError(f"{where}: {name} must be a time with a zone, like 2024-01-01T00:00:00Z")
                    made[name] = _milliseconds(value)
                else:
                    made[name] = _as(field.duckdb_type, value, f"{where}: {name}")
        yield made


def _answers_of_flink(
    question: Question, contract: Contract, rows: list[dict[str, Any]], kinds: Mapping[str, str]
) -> list[Answer]:
    begin = {"run": _RUN, "low_watermark": min(row["event_time"] for row in rows) - 1}
    last = max(row["event_time"] for row in rows)
    end = rows[-1] | {"run": _RUN, "seq": END_SEQ, "event_time": last, "low_watermark": last}
    (lines,) = run_questions([question], contract, [*(row | begin for row in rows), end], run=_RUN)
    answers = [json.loads(line, parse_float=Decimal) for line in lines]
    return [{name: _as(kind, answer.get(name), name) for name, kind in kinds.items()} for answer in answers]


def _answers_of_duckdb(
    question: Question, contract: Contract, rows: list[dict[str, Any]], kinds: Mapping[str, str]
) -> list[Answer]:
    times = {"event_time", *(name for name, field in contract.fields.items() if field.type == "time")}
    types = {"category": "VARCHAR", "seq": "BIGINT", "event_time": "TIMESTAMP"}
    types |= {name: field.duckdb_type for name, field in contract.fields.items()}
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE sent ({', '.join(f'{quoted(name)} {kind}' for name, kind in types.items())})")
        values = ", ".join("make_timestamp_ms(?)" if name in times else "?" for name in types)
        db.executemany(f"INSERT INTO sent VALUES ({values})", [[row[name] for name in types] for row in rows])
        create_views(db, question, _RUN)
        found = db.execute(f"SELECT {', '.join(map(quoted, kinds))} FROM ({question.body('batch')})").fetchall()
    return [dict(zip(kinds, answer, strict=True)) for answer in found]


def _expected(answer: Answer, kinds: Mapping[str, str], where: str) -> Answer:
    if unknown := set(answer) - set(kinds):
        raise UsageError(f"{where}: {min(unknown)!r} is no column of the answers: {', '.join(kinds)}")
    return {name: _as(kind, answer.get(name), f"{where}: {name}") for name, kind in kinds.items()}


def _as(kind: str, value: Any, where: str) -> Any:  # noqa: ANN401, PLR0911 - what TOML, JSON and the columns' types hold
    """Return a value of TOML or JSON as DuckDB gives one of that type."""
    if value is None:
        return None
    try:
        if kind in {"DOUBLE", "FLOAT"}:
            return float(value)
        if kind.startswith("DECIMAL"):
            return Decimal(str(value))
        if WHOLE_NUMBER.fullmatch(kind) and value == int(value):
            return int(value)
        if kind.startswith("TIMESTAMP"):
            return _utc(value if isinstance(value, datetime) else datetime.fromisoformat(value))
        if kind == "DATE" and isinstance(value, str):
            return date.fromisoformat(value)
        if isinstance(value, {"BOOLEAN": bool, "VARCHAR": str, "DATE": date}.get(kind, ())):
            return value
    except (ValueError, TypeError, InvalidOperation):
        pass
    raise UsageError(f"{where} is a {kind}, which {value!r} is not")


def _differences(expected: list[Answer], found: list[Answer], key: tuple[str, ...]) -> Iterator[str]:
    left = list(found)
    for answer in expected:
        same = [each for each in left if all(each[name] == answer[name] for name in key)]
        if not same:
            yield f"missing: {_said(answer, answer)}"
            continue
        left.remove(same[0])
        if wrong := [name for name, value in answer.items() if not _equal(value, same[0][name])]:
            others = ", ".join(f"{name} is {_value(same[0][name])}, not {_value(answer[name])}" for name in wrong)
            yield f"wrong: {_said(answer, key)}: {others}"
    yield from (f"extra: {_said(answer, answer)}" for answer in left)


def _equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or abs(one - other) <= max(_NEAR, abs(one) * _NEAR / 1000)
    return one == other


def _said(answer: Answer, names: Iterable[str]) -> str:
    return ", ".join(f"{name} {_value(answer[name])}" for name in names)


def _value(value: object) -> str:
    if value is None:
        return "NULL"
    return f"{value.isoformat()}Z" if isinstance(value, datetime) else str(value)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _is_time(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _milliseconds(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
