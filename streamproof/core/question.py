"""A question: one SQL file about a stream's windows, which Flink runs as a stream and DuckDB as a batch.

The file's leading comment lines are its header: the first is the title, the others are TOML. Then come, if need be,
views, and at last one SELECT over ``windowed`` (docs/questions.md). A line that begins with ``-- flink:`` or
``-- batch:`` holds text for one of the two engines alone.
"""

import re
import tomllib
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from streamproof.core.alert_rule import ALERTS, AlertRule, short_form
from streamproof.core.contract import STREAMS, Contract
from streamproof.core.errors import UsageError
from streamproof.core.model_rule import SCORE, STATE, ModelRule
from streamproof.core.toml_file import StrictModel, check_content, written
from streamproof.core.window import Window, parse_window

Engine = Literal["flink", "batch"]

MANUAL = "docs/questions.md"

NAME = r"[a-z][a-z0-9_]*"
RESULT_COLUMNS = ("job", "question", "run", "window_start", "window_end", "window_size", "window_slide", "window_kind")
"""What each result carries beside the question's own columns."""

TALLY = "tally"
"""The end of the topic that says how many results each window has, ``STREAM.TOPIC.tally``."""

_VIEW = re.compile(rf"CREATE\s+TEMPORARY\s+VIEW\s+({NAME})\s+AS\s+(.+)", re.DOTALL | re.IGNORECASE)
_VARIANT = re.compile(r"^[ \t]*-- (flink|batch):", re.MULTILINE)


ReadWindow = Annotated[Window, written(parse_window)]
"""A window, written as in the header."""


class Again(StrictModel):
    """A second windowed relation, ``again``: the rows of one of the question's views, windowed by a column of time.

    Attributes:
        rows: the view.
        time: its column of time, in Flink a time attribute such as ``window_time``.
        window: the shape, as in the header.

    """

    rows: Annotated[str, Field(pattern=f"^{NAME}$")]
    time: Annotated[str, Field(pattern=f"^{NAME}$")]
    window: ReadWindow


Drawing = Literal["table", "line", "bars", "map"]


class Page(StrictModel):
    """What the page and the report draw of a question; without it, its first columns as table and lines.

    Attributes:
        value: the column that is drawn.
        weight: the column by which the keys with most to say are found.
        label: the column that names an answer for people; by default its key does.
        latitude: the column with its place's degrees north of the equator.
        longitude: likewise east of Greenwich.
        draw: what is drawn, in this order: the newest window as a table, values over time as lines, the ranks window by
            window as bars that move, the same on a map of the world.

    """

    value: str | None = None
    weight: str | None = None
    label: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    draw: Annotated[tuple[Drawing, ...], Field(min_length=1)] = ("table", "line")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude belong together: name both columns")
        if "map" in self.draw and self.latitude is None:
            raise ValueError("a map needs to know where its marks are: name the columns latitude and longitude")
        if len(set(self.draw)) < len(self.draw):
            raise ValueError("draw: each can be drawn once")
        return self


class Header(StrictModel):
    """What a question's comment lines say.

    Attributes:
        stream: the stream that is asked.
        window: its windows; ``submit --size --slide`` chooses others.
        key: the columns that tell the results of one window apart; none where each window has one result.
        alert: when an alert fires and when it is over; a text is the condition alone.
        topic: the end of the results' topic, ``STREAM.TOPIC``; by default the question's name.
        again: a second windowed relation.
        page: what is drawn of it.
        run: who answers: Flink and the batch, or the batch alone.
        models: what scores its answers, by name.

    """

    stream: Annotated[str, Field(pattern=f"^{NAME}$")]
    window: ReadWindow
    key: tuple[str, ...]
    alert: Annotated[AlertRule | None, BeforeValidator(short_form)] = None
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] | None = None
    again: Again | None = None
    page: Page = Page()
    run: Literal["stream", "batch"] = "stream"
    models: dict[Annotated[str, Field(pattern=f"^{NAME}$")], ModelRule] = Field(default={})


@dataclass(frozen=True)
class View:
    """A view of a question: its name and its SELECT."""

    name: str
    select: str


@dataclass(frozen=True)
class Question:
    """A question as its file has it.

    Attributes:
        name: the file's name without its ending.
        text: the whole file.
        title: the first comment line.
        header: the others.
        window: the header's, or another that was chosen.
        model: what adds a score to the answers of ``scored``, which are then the answers of this one.
        scored: the question in whose header the model stands.

    """

    name: str
    text: str
    title: str
    header: Header
    window: Window
    model: ModelRule | None = None
    scored: "Question | None" = None

    @property
    def models(self) -> "list[Question]":
        """Its models, each as a question: its answers are those of this one with a score, in a topic of their own."""
        return [
            replace(
                self,
                name=name,
                title=f"{self.title.rstrip('?')}? With a score: {model.kind.replace('-', ' ')}",
                header=self.header.model_copy(update={"alert": model.alert, "topic": None, "models": {}}),
                model=model,
                scored=self,
            )
            for name, model in self.header.models.items()
        ]

    @property
    def is_tallied(self) -> bool:
        """Whether it is told of each window how many answers it has."""
        return bool(self.header.alert or self.header.models or self.model)

    @property
    def digest(self) -> str:
        """The text's SHA-256, its first 12 hexadecimal digits."""
        return sha256(self.text.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """What each of its results names it by: its name and its text's digest."""
        return f"{self.name}@{self.digest}"

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that tell the results of one window apart."""
        return self.header.key

    @property
    def reach(self) -> int:
        """How long behind a row's event time its last result's window ends, at most: milliseconds."""
        return self.window.size + (self.header.again.window.size if self.header.again else 0)

    @property
    def result_window(self) -> Window:
        """The windows of its results: those of the second windowed relation, where it has one."""
        return self.header.again.window if self.header.again else self.window

    def topic(self, contract: Contract) -> str:
        """Return the Kafka topic of its results for a stream."""
        return f"{contract.name}.{self.header.topic or self.name}"

    def tally_topic(self, contract: Contract) -> str:
        """Return the Kafka topic that says how many results each window has; see ``is_tallied``."""
        return f"{self.topic(contract)}.{TALLY}"

    def state_topic(self, contract: Contract) -> str:
        """Return the Kafka topic of its model's state."""
        return f"{self.topic(contract)}.{STATE}"

    def views(self, engine: Engine) -> list[View]:
        """Return its views, in the order in which they are made."""
        *views, _ = _statements(self.text, engine)
        return [View(match[1], match[2]) for view in views if (match := _VIEW.fullmatch(view))]

    def select(self, engine: Engine) -> str:
        """Return its SELECT as the file has it."""
        return _statements(self.text, engine)[-1]

    def body(self, engine: Engine) -> str:
        """Return its SELECT, with the conditions of its alert, where it has one, as last columns.

        The score of a model is NULL in it: no SQL computes it.
        """
        select = self.select(engine)
        if self.model:
            select = f"SELECT q.*, CAST(NULL AS DOUBLE) AS {SCORE} FROM (\n{select}\n) AS q"
        if self.header.alert is None:
            return select
        conditions = "".join(f", ({text}) IS TRUE AS {name}" for name, text in self.header.alert.columns.items())
        return f"SELECT q.*{conditions} FROM (\n{select}\n) AS q"

    def with_window(self, window: Window) -> "Question":
        """Return the question with another window."""
        return replace(self, window=window, scored=self.scored and self.scored.with_window(window))


class Asked(BaseModel):
    """A question as a job was asked it: the text of then, whatever has become of its file.

    Attributes:
        name: the question's.
        text: its whole text.
        window: the window that was chosen.

    """

    name: str
    text: str
    window: Window

    @property
    def question(self) -> Question:
        """The question."""
        return parse_question(self.name, self.text, self.name).with_window(self.window)


def load_question(name_or_path: str) -> Question:
    """Read a question: the name of one that comes with the project or of one of its models, or a file's path (.sql).

    Raises:
        UsageError: there is no such question, several streams have one of that name, or it is wrong.

    """
    path = Path(name_or_path)
    if path.suffix != ".sql":
        found = [p for p in question_files() if p.stem == name_or_path]
        models = [each for p in question_files() if not found for each in load_question(str(p)).models]
        if named := [each for each in models if each.name == name_or_path]:
            return named[0]
        if len(found) != 1:
            what = "several questions are called" if found else "there is no question"
            known = ", ".join(sorted({p.stem for p in question_files()}))
            raise UsageError(f"{what} {name_or_path!r}: name one of {known}, or the path of a question (.sql)")
        (path,) = found
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 ({error})"
        raise UsageError(f"{path}: cannot be read: {reason}") from error
    return parse_question(path.stem, text, str(path))


def question_files() -> list[Path]:
    """Return the questions that come with the project."""
    return sorted(STREAMS.glob("*/*.sql"))


def stream_questions(stream: str, run: Literal["stream", "batch"]) -> list[Question]:
    """Return the questions about a stream that come with the project: those of it, or of a batch alone; and models."""
    known = [load_question(str(path)) for path in question_files()]
    with_models = [each for question in known for each in (question, *question.models)]
    return [each for each in with_models if (each.header.stream, each.header.run) == (stream, run)]


def parse_question(name: str, text: str, source: str) -> Question:
    """Read a question's text; ``source`` names it in errors.

    Raises:
        UsageError: the header is wrong, or what follows it is not views and one SELECT.

    """
    if not re.fullmatch(NAME, name):
        raise UsageError(f"{source}: the file's name is the question's: small letters, digits and _, like busy_hours")
    comments = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        comments.append(line[2:].removeprefix(" "))
    if not comments:
        raise UsageError(
            f"{source}: the file must begin with comment lines: the question in words, then stream, window and key "
            f"({MANUAL})"
        )
    title, *lines = comments
    try:
        data = tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source}: the comment lines behind the first must be TOML: {error}") from error
    header = check_content(Header, data, source, manual=MANUAL)
    if columns := {"window_start", "window_end"} & set(header.key):
        raise UsageError(f"{source}: key: {min(columns)!r} is always part of it: leave it out")
    if reserved := set(header.key) & set(RESULT_COLUMNS):
        raise UsageError(f"{source}: key: {min(reserved)!r} is written with each result: leave it out")
    if header.window.kind == "whole" and header.run != "batch":
        raise UsageError(f'{source}: window: only a batch knows the whole run: add run = "batch"')
    if header.models and header.run == "batch":
        raise UsageError(f'{source}: models: they score what a stream answers: leave run = "batch" out')
    for topic in (header.topic or name, *header.models):
        _check_topic(topic, source)
    if name in header.models:
        raise UsageError(f"{source}: models: {name} is the question's own name: choose another one")
    if header.alert and (taken := [each for each in header.key if each.startswith("alert")]):
        raise UsageError(f"{source}: key: {taken[0]!r}: names that begin with alert are the alert's own")
    _check_statements(text, source, header)
    return Question(name, text, title.strip(), header, header.window)


def _check_topic(topic: str, source: str) -> None:
    if topic in {ALERTS, "dead-letter"} or topic.endswith((f".{TALLY}", f".{STATE}")):
        raise UsageError(
            f"{source}: a topic of results cannot end in {topic!r}, which the stream has for something else"
        )


def _check_statements(text: str, source: str, header: Header) -> None:
    engines: tuple[Engine, ...] = ("flink", "batch")
    for engine in engines:
        statements = _statements(text, engine)
        if not statements:
            raise UsageError(f"{source}: behind the header comes one SELECT over windowed, and none is there")
        *views, _ = statements
        names = []
        for view in views:
            match = _VIEW.fullmatch(view)
            if match is None:
                raise UsageError(
                    f"{source}: before the last SELECT stand only views, CREATE TEMPORARY VIEW name AS SELECT …; "
                    f"found {view[:60]!r}"
                )
            names.append(match[1])
        if header.again and header.again.rows not in names:
            raise UsageError(f"{source}: again.rows: there is no view {header.again.rows!r} in the file")


def _statements(text: str, engine: Engine) -> list[str]:
    """Return the SQL statements for one engine, without comments."""
    mine = _VARIANT.sub(lambda match: "" if match[1] == engine else match[0], text)
    return [stripped for statement in _split(mine) if (stripped := statement.strip())]


def _split(text: str) -> list[str]:
    """Split SQL at its semicolons and leave its comments out; neither counts within quotes."""
    token = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/|;""", re.DOTALL)
    statements, end = [""], 0
    for match in token.finditer(text):
        statements[-1] += text[end : match.start()]
        end = match.end()
        if match[0] == ";":
            statements.append("")
        elif not match[0].startswith(("--", "/*")):
            statements[-1] += match[0]
    statements[-1] += text[end:]
    return statements
