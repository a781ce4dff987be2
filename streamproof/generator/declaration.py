"""The declaration: ``generator.toml``, the one file that says what generated rows of a stream are like."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from streamproof.core.contract import STREAMS, Contract, load_contract
from streamproof.core.errors import UsageError
from streamproof.core.toml_file import Milliseconds, StrictModel, check_content, read_toml

MANUAL = "docs/generators.md"
END = "end"
"""What ``next`` calls the end of a session."""

_HOUR = 3_600_000
_MOST = 2**32


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Weight = Annotated[int, Field(ge=0, lt=_MOST)]


class Draw(StrictModel):
    """What chance decides: a whole number, one of some texts, or a row of a table. One of the three.

    Attributes:
        between: the least and the greatest number, each as likely as the others.
        of: the texts, each with its weight.
        table: the table.
        weight: its column of weights; without one, and without ``zipf``, each row is as likely as the others.
        zipf: the row of rank n has the weight 1 / (n + zipf): the lower, the more go to the first rows.

    """

    between: tuple[int, int] | None = None
    of: Annotated[dict[str, Weight], Field(min_length=1)] | None = None
    table: Name | None = None
    weight: Name | None = None
    zipf: Annotated[int, Field(ge=0, lt=_MOST)] | None = None

    @model_validator(mode="after")
    def _is_one_of_three(self) -> Self:
        if sum(each is not None for each in (self.between, self.of, self.table)) != 1:
            raise ValueError("one of between = [least, greatest], of = { text = weight } and table is needed")
        if self.between and self.between[0] > self.between[1]:
            raise ValueError("between: the least number comes first")
        if self.of and not sum(self.of.values()):
            raise ValueError("of: one weight at least must be above 0")
        if (self.weight or self.zipf is not None) and not self.table:
            raise ValueError("weight and zipf are for a table only")
        if self.weight and self.zipf is not None:
            raise ValueError("weight or zipf, not both")
        return self


class Table(StrictModel):
    """Things that rows speak of, such as businesses and cities.

    Attributes:
        rows: how many; or
        file: a CSV file with a header, beside the declaration. All its columns are text.
        draw: what chance decides of each.
        columns: SQL of what is drawn, of ``n`` (1, 2, 3 …) and of a file's columns.

    """

    rows: Annotated[int, Field(ge=1, lt=_MOST)] | None = None
    file: str | None = None
    draw: dict[Name, Draw] = Field(default_factory=dict)
    columns: dict[Name, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        if (self.rows is None) == (self.file is None):
            raise ValueError("rows = how many, or file = a CSV file, is needed")
        return self


class Clock(StrictModel):
    """When rows happen; with sessions, when sessions begin.

    Attributes:
        begin: the first moment, a whole hour.
        a_day: how many a day, in an average week.
        hours: the weights of the hours of a day, in UTC.
        weekdays: the weights of the days of a week, from Monday.

    """

    begin: AwareDatetime
    a_day: Annotated[int, Field(ge=1, lt=_MOST)]
    hours: Annotated[tuple[Annotated[int, Field(ge=0, le=1000)], ...], Field(min_length=24, max_length=24)] = (1,) * 24
    weekdays: Annotated[tuple[Annotated[int, Field(ge=0, le=1000)], ...], Field(min_length=7, max_length=7)] = (1,) * 7

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.begin_ms % _HOUR:
            raise ValueError("begin: a whole hour is needed")
        if not sum(self.hours) or not sum(self.weekdays):
            raise ValueError("hours, weekdays: one weight at least must be above 0")
        return self

    @property
    def begin_ms(self) -> int:
        """The first moment, in milliseconds since the epoch."""
        return round(self.begin.timestamp() * 1000)


class State(StrictModel):
    """What a session does, for a row or several.

    Attributes:
        next: the weights of the states that may follow, ``end`` among them.
        rows: how many rows it is in, at least and at most.
        pause: how long after the row before, at least and at most.
        again: what is drawn anew for each of its rows; all else stays as it was in the session.
        truth: the kind of what is noted in ``truth.csv`` about its rows.

    """

    next: Annotated[dict[Name, Weight], Field(min_length=1)]
    rows: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(le=10_000)]] = (1, 1)
    pause: tuple[Milliseconds, Milliseconds] = (1000, 60_000)
    again: tuple[Name, ...] = ()
    truth: Name | None = None

    @model_validator(mode="after")
    def _least_comes_first(self) -> Self:
        if self.rows[0] > self.rows[1] or self.pause[0] > self.pause[1]:
            raise ValueError("rows, pause: the least comes first")
        return self


class Sessions(StrictModel):
    """Sessions in place of single rows.

    Attributes:
        start: the weights of the states that a session may begin with.
        states: the states.

    """

    start: Annotated[dict[Name, Weight], Field(min_length=1)]
    states: Annotated[dict[Name, State], Field(min_length=1)]

    @model_validator(mode="after")
    def _states_are_there(self) -> Self:
        for where, weights in (("start", self.start), *((name, state.next) for name, state in self.states.items())):
            if unknown := set(weights) - set(self.states) - ({END} if where != "start" else set()):
                raise ValueError(f"{where}: there is no state {min(unknown)!r}")
            if not sum(weights.values()):
                raise ValueError(f"{where}: one weight at least must be above 0")
        return self


class Anomaly(StrictModel):
    """What happens on purpose, again and again: more rows for a while, or other ones.

    Attributes:
        kind: what ``truth.csv`` calls it.
        every: it happens once in each such span, at a moment that chance decides.
        lasts: for how long.
        align: its moment is a whole multiple of this.
        rate: rows a second that come on top; without it, the rows of that time are others than usual.
        fix: what is drawn once for all rows of one of them.
        draw: the weights by which else is drawn: of the texts that the row's own draw has.

    """

    kind: Name
    every: Milliseconds
    lasts: Milliseconds
    align: Milliseconds = 1000
    rate: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    fix: tuple[Name, ...] = ()
    draw: dict[Name, dict[str, Weight]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_into_its_span(self) -> Self:
        if not 0 < self.lasts <= self.every or self.align <= 0:
            raise ValueError("lasts must be above 0, and every as long at least")
        if self.fix and self.rate is None:
            raise ValueError("fix is for rows that come on top: rate")
        return self


class FoundBy(StrictModel):
    """The question that finds what was put in: an answer with its key, in a window that meets it.

    Attributes:
        question: its name.
        key: its column that holds the key; without one, any answer counts.
        where: a condition on the answer.

    """

    question: Name
    key: Name | None = None
    where: str | None = None


class Truth(StrictModel):
    """What is noted of a kind of things that were put in on purpose.

    Attributes:
        key: the column of the CSV that tells whom it is about.
        found_by: the question that is to find it.

    """

    key: str | None = None
    found_by: FoundBy | None = None


class Demo(StrictModel):
    """What ``streamproof demo`` does with the stream.

    Attributes:
        rows: how many rows are generated, in all categories together.
        questions: what is asked, in one job.
        interval: between two rows of a category; without it, the file's own time is taken.

    """

    rows: Annotated[int, Field(ge=1)]
    questions: Annotated[tuple[str, ...], Field(min_length=1)]
    interval: Milliseconds | None = None


class Generator(StrictModel):
    """What generated rows of a stream are like.

    Attributes:
        categories: a file is written for each.
        header: whether the first line names the columns.
        keys: the table whose number of rows ``--keys`` chooses.
        demo: what the demo does.
        tables: what rows speak of; one may draw from those before it.
        clock: when rows happen; without it, nothing is known of their time.
        draw: what chance decides of each row, or of each session.
        sessions: rows come in sessions.
        anomalies: what happens on purpose, where there are no sessions.
        columns: the CSV's columns: SQL of what is drawn, of ``row`` (1, 2, 3 …), ``time``, ``session`` and ``state``.
        truth: what is noted of each kind of things that were put in.

    """

    categories: Annotated[tuple[str, ...], Field(min_length=1)]
    header: bool = True
    keys: Name | None = None
    demo: Demo
    tables: dict[Name, Table] = Field(default_factory=dict)
    clock: Clock | None = None
    draw: Annotated[dict[Name, Draw], Field(min_length=1)]
    sessions: Sessions | None = None
    anomalies: tuple[Anomaly, ...] = ()
    columns: Annotated[dict[str, str], Field(min_length=1)]
    truth: dict[Name, Truth] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _tables_are_there(self) -> Self:
        before: list[str] = []
        for name, table in self.tables.items():
            self._check_draws(f"tables.{name}", table.draw, before)
            before.append(name)
        self._check_draws("draw", self.draw, before)
        if self.keys and (self.keys not in self.tables or self.tables[self.keys].rows is None):
            raise ValueError(f"keys: there is no table {self.keys!r} with a number of rows")
        return self

    @model_validator(mode="after")
    def _what_is_on_purpose_fits(self) -> Self:
        if not self.clock and (self.sessions or self.anomalies):
            raise ValueError("clock: sessions and anomalies need one")
        if self.sessions and self.anomalies:
            raise ValueError("anomalies: there are none of sessions; a state of its own does what one would")
        states = self.sessions.states if self.sessions else {}
        drawn = [(f"sessions.states.{name}", set(state.again)) for name, state in states.items()]
        for anomaly in self.anomalies:
            drawn.append((f"anomalies: {anomaly.kind}", {*anomaly.fix, *anomaly.draw}))
        for where, names in drawn:
            if unknown := names - set(self.draw):
                raise ValueError(f"{where}: nothing that is drawn is called {min(unknown)!r}")
        for anomaly in self.anomalies:
            for name, weights in anomaly.draw.items():
                if set(weights) != set(self.draw[name].of or ()) or not sum(weights.values()):
                    raise ValueError(f"anomalies: {anomaly.kind}: draw.{name} must weigh the texts of draw.{name}.of")
        return self

    @model_validator(mode="after")
    def _truth_has_its_keys(self) -> Self:
        if unknown := set(self.kinds) - set(self.truth):
            raise ValueError(f"truth: {min(unknown)!r} needs a part [truth.{min(unknown)}]")
        for kind, truth in self.truth.items():
            if truth.key and truth.key not in self.columns:
                raise ValueError(f"truth.{kind}: key: there is no column {truth.key!r}")
        return self

    @staticmethod
    def _check_draws(where: str, draws: dict[Name, Draw], tables: list[str]) -> None:
        for name, draw in draws.items():
            if draw.table and draw.table not in tables:
                raise ValueError(f"{where}.{name}: there is no table {draw.table!r} before it")

    @property
    def kinds(self) -> list[str]:
        """The kinds of what is put in on purpose."""
        states = self.sessions.states.values() if self.sessions else ()
        return list(dict.fromkeys([*(a.kind for a in self.anomalies), *(s.truth for s in states if s.truth)]))


class Stream(StrictModel):
    """A stream with its declaration, and the folder where both lie."""

    contract: Contract
    generator: Generator
    folder: Path


def load_generator(name_or_path: str) -> Stream:
    """Read the ``generator.toml`` of a stream: one that comes with the project, or beside the path of a contract.

    Raises:
        UsageError: there is no such stream, it has no such file, or that is wrong.

    """
    contract = load_contract(name_or_path)
    path = Path(name_or_path)
    folder = path.parent if path.suffix == ".toml" else STREAMS / name_or_path
    file = folder / "generator.toml"
    if not file.is_file():
        raise UsageError(f"there is no {file}, which says what rows of {contract.name} are like: {MANUAL}")
    return Stream(
        contract=contract, generator=check_content(Generator, read_toml(file), str(file), manual=MANUAL), folder=folder
    )
