"""Which answers are meant: a run may have been asked several questions, by several jobs and with several windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import duckdb

from streamproof.core.duration import format_duration, parse_whole_milliseconds
from streamproof.core.errors import UsageError
from streamproof.core.question import Question
from streamproof.core.run import Run
from streamproof.core.sql_quoting import literal
from streamproof.core.window import Window
from validation.stages import AskedBy


@dataclass(frozen=True)
class Answers:
    """The answers of one job to one question.

    Attributes:
        question: the question, with the windows that the job has.
        job: the job's label.
        number: of the question among those that are read, which names its tables.

    """

    question: Question
    job: str
    number: int

    @property
    def windows(self) -> str:
        """Its windows in words, like ``cumulative 1h / 5min``."""
        return in_words(self.question.window)

    @property
    def select(self) -> str:
        """A query for them in the table of results, by arrival."""
        window = self.question.window
        return (
            f"SELECT * FROM {results_table(self.number)} WHERE _job = {literal(self.job)} AND _size = {window.size} "
            f"AND _slide = {window.slide} AND _kind = '{window.kind}'"
        )

    def start_of(self, window_end: int) -> int:
        """Return when a window starts that ends then; both in milliseconds since the epoch."""
        window = self.question.result_window
        return window_end - window.size if window.kind == "sliding" else (window_end - 1) // window.size * window.size


_OF_ALERTS = 10_000


def alerts_number(number: int) -> int:
    """Return the number that names the tables of the alerts of a question."""
    return _OF_ALERTS + number


def alerts_of(answers: Answers) -> Answers:
    """Return the alerts of a question, as answers that are told apart by what happened as well."""
    header = answers.question.header
    of_events = header.model_copy(update={"key": (*header.key, "alert_state")})
    return Answers(replace(answers.question, header=of_events), answers.job, alerts_number(answers.number))


def results_table(number: int) -> str:
    """Return the name of the table of a question's results."""
    return f"results_{number}"


def truth_table(number: int) -> str:
    """Return the name of the table of a question's true answers."""
    return f"truth_{number}"


def judged_table(number: int) -> str:
    """Return the name of the table that says how many answers of each window are right, and which are not."""
    return f"judged_{number}"


def in_words(window: Window) -> str:
    """Return a window in words, like ``cumulative 1h / 5min``."""
    shape = f"{format_duration(window.size)} / {format_duration(window.slide)}"
    return shape if window.kind == "sliding" else f"{window.kind} {shape}"


@dataclass(frozen=True)
class Wanted:
    """What the user asks for; None leaves it open. Size and slide are milliseconds."""

    job: str | None = None
    size: int | None = None
    slide: int | None = None
    question: str | None = None

    @classmethod
    def parse(cls, job: str | None, size: str | None, slide: str | None, question: str | None = None) -> "Wanted":
        """Read the options; a size without a slide means any slide.

        Raises:
            UsageError: a duration cannot be read, a slide stands alone, or does not divide the size.

        """
        if size is None:
            if slide is not None:
                raise UsageError("--slide needs --size")
            return cls(job, question=question)
        size_ms = parse_whole_milliseconds(size)
        slide_ms = None if slide is None else parse_whole_milliseconds(slide)
        if slide_ms and size_ms % slide_ms:
            raise UsageError(f"--slide {slide} does not divide --size {size}")
        return cls(job, size_ms, slide_ms, question)

    def fits(self, job: str, window: Window) -> bool:
        """Whether a job's answers with such windows are meant."""
        return self.job in (None, job) and self.size in (None, window.size) and self.slide in (None, window.slide)


def find_answers(
    db: duckdb.DuckDBPyConnection, questions: Sequence[Question], by_jobs: list[AskedBy], wanted: Wanted
) -> list[Answers]:
    """Return, for each question that was asked of a run, the answers to be judged.

    They are those of the newest job that was asked the question of this run and fits what is wanted, written or not;
    where none is remembered, those of the job that wrote last. Of a question that is wanted by name and that no job has
    answered, every answer is missing: its job has no name.
    """
    chosen: dict[str, tuple[int, Answers]] = {}
    newest = {
        each.question.name: each
        for each in reversed(by_jobs)
        if each.of_run and wanted.fits(each.job, each.question.window)
    }
    for number, question in enumerate(questions):
        name = question.name
        if asked := newest.get(name):
            if asked.question.text == question.text:
                chosen[name] = (0, Answers(asked.question, asked.job, number))
            continue
        for job, size, slide, kind, written_at in db.execute(
            f"SELECT _job, _size, _slide, _kind, max(_written_at) FROM {results_table(number)} GROUP BY ALL"
        ).fetchall():
            try:
                window = Window(size, slide, kind)
            except UsageError:
                continue  # no job has such windows: they are not what is asked for
            if wanted.fits(job, window) and written_at >= chosen.get(name, (written_at,))[0]:
                chosen[name] = (written_at, Answers(question.with_window(window), job, number))
    if not chosen and wanted.question and not wanted.job:
        question = questions[0]
        window = Window(
            wanted.size or question.window.size, wanted.slide or question.window.slide, question.window.kind
        )
        return [Answers(question.with_window(window), "", 0)]
    return [answers for _, answers in chosen.values()]


def why_no_answers(db: duckdb.DuckDBPyConnection, run: Run, questions: Sequence[Question], wanted: Wanted) -> str:
    """Say that ``find_answers`` found none, and which there are."""
    found = [
        (job, in_words(Window(size, slide, kind)))
        for number in range(len(questions))
        for job, size, slide, kind in db.execute(
            f"SELECT DISTINCT _job, _size, _slide, _kind FROM {results_table(number)} "
            "WHERE _size > 0 AND _slide > 0 AND _size % _slide = 0 ORDER BY ALL"
        ).fetchall()
    ]
    if not found:
        return (
            f"no job has written windows of run {run.run}: submit one that follows it (streamproof submit QUESTION "
            f"--run {run.run}), or wait longer for one that runs (--wait 2min)"
        )
    known = "; ".join(f"{job}: {windows}" for job, windows in found)
    asked = f"job {wanted.job} has written no" if wanted.job else "no job has written"
    return f"{asked} such windows of run {run.run}; there are: {known}"
