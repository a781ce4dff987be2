"""A flow test's case as a file that a user writes: messages in, expected records and dead letters out.

docs/flow-tests.md explains it. ``{run}`` and ``{category}`` in any text stand for what is unique to each time that the
case runs; they are put in when it is sent, and what came out is compared after they have been put back.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Base64Bytes, model_validator

from streamproof.core.contract import Contract
from streamproof.core.errors import UsageError
from streamproof.core.message import ENVELOPE
from streamproof.core.toml_file import StrictModel, check_content, read_toml

RUN, CATEGORY = "{run}", "{category}"
KAFKA_KEY, EVERY_PARTITION, PARTITION = "kafka_key", "every_partition", "partition"


class Message(StrictModel):
    """One MQTT message: rows, one JSON object a line, or a payload as it is."""

    rows: tuple[dict[str, Any], ...] | None = None
    payload: str | None = None
    payload_base64: Base64Bytes | None = None

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if [self.rows, self.payload, self.payload_base64].count(None) != len(Message.model_fields) - 1:
            raise ValueError("exactly one of rows, payload and payload_base64 is needed")
        if self.rows == ():
            raise ValueError('at least one row is needed; an empty message is payload = ""')
        return self


class DeadLetter(StrictModel):
    """What is known of an expected dead letter; of the reason, a part."""

    reason: str | None = None
    stage: Literal["message", "schema"] | None = None
    mqtt_topic: str | None = None
    run: str | None = None
    category: str | None = None
    seq: int | None = None
    payload: str | None = None
    payload_base64: str | None = None


class Expected(StrictModel):
    """All that must come out: each record and dead letter with those of its fields that matter."""

    record: tuple[dict[str, Any], ...] = ()
    dead_letter: tuple[DeadLetter, ...] = ()
    confirmed: tuple[tuple[int, int], ...] | None = None


class Case(StrictModel):
    """The file's content."""

    message: tuple[Message, ...]
    expect: Expected

    @model_validator(mode="after")
    def _messages(self) -> Self:
        if not self.message:
            raise ValueError("at least one [[message]] is needed")
        return self


@dataclass(frozen=True)
class FlowCase:
    """A case that is ready to run.

    Attributes:
        path: its file.
        payloads: the messages, with the placeholders.
        records: the fields of each expected record; one with ``every_partition`` stands for one a partition.
        dead_letters: the fields of each expected dead letter.
        confirmed: the sequence numbers whose confirmation is expected; None: they are not looked at.

    """

    path: Path
    payloads: tuple[bytes, ...]
    records: tuple[dict[str, Any], ...]
    dead_letters: tuple[dict[str, Any], ...]
    confirmed: frozenset[int] | None


def find_cases(paths: list[Path], contract: Contract) -> list[FlowCase]:
    """Read the cases of files and of all .toml files in folders, in the order of their names.

    Raises:
        UsageError: a path holds no case, or a file is wrong; the text has a line for each wrong key.

    """
    files: list[Path] = []
    for path in paths:
        found = sorted(path.rglob("*.toml")) if path.is_dir() else [path]
        if not found:
            raise UsageError(f"{path}: there is no case (.toml) in this folder")
        files += found
    return [load_case(file, contract) for file in files]


def load_case(path: Path, contract: Contract) -> FlowCase:
    """Read a case of a stream.

    Raises:
        UsageError: the file is wrong; the text names file, key and what was expected.

    """
    case = check_content(Case, read_toml(path), str(path), manual="docs/flow-tests.md")
    known = [*contract.message_fields(), KAFKA_KEY, EVERY_PARTITION]
    for number, record in enumerate(case.expect.record, 1):
        for name in record:
            if name not in known:
                raise UsageError(f"{path}: expect.record.{number}.{name}: no record has it; known: {', '.join(known)}")
    payloads, rows_before = [], 0
    for number, message in enumerate(case.message, 1):
        payload = _payload(message, rows_before, f"{path}: message.{number}")
        rows_before += len(message.rows or ())
        payloads.append(payload)
    return FlowCase(
        path,
        tuple(payloads),
        case.expect.record,
        tuple(letter.model_dump(exclude_none=True) for letter in case.expect.dead_letter),
        None
        if case.expect.confirmed is None
        else frozenset(seq for first, last in case.expect.confirmed for seq in range(first, last + 1)),
    )


def _payload(message: Message, rows_before: int, where: str) -> bytes:
    if message.rows is not None:
        try:
            lines = [
                json.dumps(_envelope(seq) | row, separators=(",", ":"), ensure_ascii=False)
                for seq, row in enumerate(message.rows, rows_before + 1)
            ]
        except TypeError:
            raise UsageError(f"{where}.rows: messages hold no TOML dates; write milliseconds since 1970") from None
        payload = "\n".join(lines).encode()
    elif message.payload is not None:
        payload = message.payload.encode()
    else:
        payload = message.payload_base64 or b""
    for line in payload.split(b"\n"):
        if _has_identity(line) and not any(name.encode() in line for name in (RUN, CATEGORY)):
            raise UsageError(
                f"{where}: a row with a run and a category needs {RUN} or {CATEGORY} as one of them: "
                "its record could not be told from other traffic"
            )
    return payload


def _envelope(seq: int) -> dict[str, object]:
    # The event times lie in 1970: a live job drops such rows as late instead of counting them.
    return dict(zip(ENVELOPE, (RUN, CATEGORY, seq, seq, 0), strict=True))


def _has_identity(line: bytes) -> bool:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and "run" in fields and "category" in fields
