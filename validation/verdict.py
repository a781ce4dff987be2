"""The verdict on a run: were all rows delivered, and are all windows what the files say they must be."""

import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, Self

import duckdb
from pydantic import BaseModel, model_validator

from streamproof.core.command import console
from streamproof.core.disk import duckdb_in
from streamproof.core.errors import StreamproofError
from streamproof.core.question import Question, load_question, stream_questions
from streamproof.core.question_text import used_fields
from streamproof.core.run import Run, load_run, some_of
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.window import Window, WindowKind
from streamproof.models.scoring import Digest
from validation.alerts import JudgedAlerts, breaches, compute_alerts, doubts_of_alerts, windows_behind
from validation.answers import Answers, Wanted, alerts_of, find_answers, truth_table, why_no_answers
from validation.comparison import (
    AnswerCounts,
    Difference,
    compare,
    compared_columns,
    first_not_right,
    keys_that_are_none,
)
from validation.copies import JudgedCopies
from validation.csv_rows import FileCounts, read_rows
from validation.delivery import CategoryRows, RowTotals, audit_rows, is_settled
from validation.kafka_records import RunRecords
from validation.scores import doubts_of_state
from validation.stages import AskedBy, Stages
from validation.targets import JudgedTarget, doubts_of_targets, judge_targets, wait_for
from validation.truth import compute_truth, number_rows

LateRows = Callable[[str], int | None]
"""Tells how many rows a job (its name in the windows) dropped as late; None where that cannot be known."""

Look = Callable[[duckdb.DuckDBPyConnection, list[Answers]], None]
"""Looks at the answers that were judged: their tables, that of the truth, and ``compared_N`` of the comparison."""

SETTLED_SECONDS = 5.0
"""How long NiFi's and Flink's answers are waited for when Kafka has all."""

ASK_SECONDS = 0.25
_MEMORY = "1GB"
_MANY_FILES = 100


class JudgedAnswers(AnswerCounts):
    """The answers, and the rows that the job dropped as late (None: not known).

    Late rows do not speak against a run by themselves: where every answer is right, what came late were copies.
    """

    late: int | None = None


class QuestionVerdict(JudgedAnswers):
    """What was found of one question.

    Attributes:
        title: the question in words.
        job: the job whose answers were judged.
        size: of its windows, milliseconds.
        slide: of its windows, milliseconds.
        kind: of its windows.
        key: the columns that tell the answers of a window apart.
        columns: the columns that were compared.
        alerts: of its alerts; None where it has none, or its job follows no run.
        not_right: the earliest answers that are wrong, missing, extra or doubled.

    """

    title: str
    job: str
    size: int
    slide: int
    kind: WindowKind
    key: tuple[str, ...]
    columns: tuple[str, ...]
    alerts: JudgedAlerts | None = None
    not_right: list[Difference]

    @property
    def window(self) -> Window:
        """The shape of its windows."""
        return Window(self.size, self.slide, self.kind)


class Verdict(BaseModel):
    """What was found about a run.

    Attributes:
        proven: every row that the manifest says was sent is in Kafka, the manifest's counts are those of the files,
            and each question that was asked was answered exactly as the files say, at least once, and so were its
            alerts; in Kafka, and in each target where they are kept.
            Rows that are doubled in Kafka are counted, and no fault: a job takes the first.
        reasons: why it is not proven; empty where it is.
        questions: by their names, those that were asked of the run.
        job: of a run with one question, the job whose answers were judged; else None.
        size: of a run with one question, its windows' size in milliseconds; else 0.
        slide: likewise.
        kind: likewise.
        windows: the answers to all questions together.
        not_right: of a run with one question, the first differences.
        targets: by their names, where the answers were kept, and what of them is right there.
        copies: of the rows, that a lake keeps; None where none does.
        unreadable: records in Kafka that name the run but are not what their topic should hold.
        notes: what speaks not against the run, but should be known of its files.

    """

    run: str
    proven: bool
    reasons: list[str]
    state: Literal["running", "finished", "stopped"]
    checked_at: datetime
    rows: RowTotals
    questions: dict[str, QuestionVerdict]
    job: str | None = None
    size: int = 0
    slide: int = 0
    kind: WindowKind = "sliding"
    windows: JudgedAnswers = JudgedAnswers()
    not_right: list[Difference] = []
    targets: dict[str, JudgedTarget] = {}
    copies: JudgedCopies | None = None
    categories: dict[str, CategoryRows]
    unreadable: int
    notes: list[str] = []

    @model_validator(mode="after")
    def _tell_of_the_only_question(self) -> Self:
        if len(self.questions) == 1:
            (only,) = self.questions.values()
            self.job, self.size, self.slide, self.kind = only.job, only.size, only.slide, only.kind
            self.not_right = only.not_right
        counts = {
            name: sum(counts)
            for name in JudgedAnswers.model_fields
            if None not in (counts := [getattr(each, name) for each in self.questions.values()])
        }
        self.windows = JudgedAnswers.model_validate(counts if self.questions else {})
        return self


def validate(  # noqa: PLR0915 - what is judged is told one after the other
    run: str,
    home: HomeSettings,
    kafka: KafkaSettings,
    *,
    wanted: Wanted | None = None,
    wait: float = 0,
    late: LateRows | int | None = None,
    stages: Stages = Stages(),  # noqa: B008 - frozen
    files: Mapping[str, Path] | None = None,
    look: Look = lambda _db, _judged: None,
) -> Verdict:
    """Judge a run by its manifest, its CSV files and what is in Kafka.

    Args:
        run: the run's id.
        home: where the run's manifest is.
        kafka: where its rows and windows are.
        wanted: which job's windows; without it, those of the job that wrote for this run most recently.
        wait: seconds: while rows or windows are missing, go on reading until nothing new came for so long.
        late: the rows that the job dropped as late, or who can tell.
        stages: who can tell what NiFi received and what the job read.
        files: the new places of files that have moved.
        look: looks at the answers that were judged, as long as they are there.

    Raises:
        StreamproofError: a file has changed since the run, or Kafka cannot be read.

    """
    manifest = load_run(run, home).with_files(files or {})
    asked = wanted or Wanted()
    by_jobs = stages.jobs(manifest) if stages.jobs else []
    questions = questions_of(manifest, by_jobs, asked)
    with (
        open_database(home.runs / run) as db,
        console.status("reading the files and Kafka") as status,
        RunRecords(db, manifest, kafka, questions, alerts=True) as records,
        ThreadPoolExecutor(1) as beside,
    ):
        kept = _fields_of([each.question for each in by_jobs] or questions, manifest)
        files_read = beside.submit(_read_files, db.cursor(), manifest, kept)
        records.read()
        file_counts = files_read.result()
        deadline = time.monotonic() + wait
        computed: dict[int, Answers] = {}
        no_truth: dict[int, str] = {}
        digests: dict[int, list[Digest]] = {}
        settled_by = 0.0
        while True:
            status.update("comparing")
            chosen = find_answers(db, questions, by_jobs, asked)
            said = stages.ask(manifest, chosen[0].job if chosen else asked.job)
            rows = audit_rows(db, manifest, file_counts, *said, records.contents)
            missing = sum(category.lost + category.under_way for category in rows.values())
            asked_jobs = list(dict.fromkeys(answers.job for answers in chosen))
            for answers in chosen:
                if computed.get(answers.number) != answers:
                    computed[answers.number] = answers
                    if not kept.issuperset(_fields_of([answers.question], manifest)):
                        kept = set(manifest.contract.fields)  # no job here is known to have been asked this
                        _read_files(db, manifest, kept)
                    no_truth |= _compute(db, manifest, answers, digests)
            chosen = [answers for answers in chosen if answers.number not in no_truth]
            alerts = {
                answers.question.name: _judge_alerts(db, manifest, answers, kafka)
                for answers in chosen
                if _has_alerts(answers, by_jobs)
            }
            counts = [compare(db, answers, into=f"compared_{answers.number}") for answers in chosen]
            missing_answers = sum(each.missing for each in (*counts, *alerts.values()))
            if (now := time.monotonic()) >= deadline:
                break
            if counts and not missing_answers and not missing:
                settled_by = settled_by or now + SETTLED_SECONDS
                if all(each.behind == 0 for each in alerts.values()) and (is_settled(rows, *said) or now >= settled_by):
                    break
                status.update("waiting for what NiFi, Flink and the alerter say")
                time.sleep(ASK_SECONDS)
                continue
            status.update(f"waiting: {missing_answers if counts else 'all'} answers and {missing} rows are missing")
            if _something_new(records, deadline):
                deadline = time.monotonic() + wait
        judged = {
            answers.question.name: _question_verdict(db, manifest, answers, each, late).model_copy(
                update={"alerts": alerts.get(answers.question.name)}
            )
            for answers, each in zip(chosen, counts, strict=True)
        }
        targets = judge_targets(
            db,
            manifest,
            stages.targets(manifest) if stages.targets else (),
            questions=[(each, each.question.name in alerts) for each in chosen],
            in_kafka=missing_answers,
            wait=wait,
        )
        copies = wait_for(partial(_judge_copies, db, manifest, stages), missing, wait)
        reasons = [
            *doubts(manifest, rows, judged, records.unreadable),
            *(doubt for name, of_question in alerts.items() for doubt in doubts_of_alerts(name, of_question)),
            *doubts_of_targets(targets),
            *(copies.doubts() if copies else ()),
            *no_truth.values(),
            *(doubt for each in chosen for doubt in doubts_of_state(each, digests[each.number], manifest, kafka)),
            *more_doubts(db, chosen, asked_jobs, stages),
            *doubts_of_unknown(records.unknown_questions()),
        ]
        if (not asked_jobs or any(each.missing for each in counts)) and (hidden := records.why_hidden()):
            reasons += [hidden, *(stages.who_hides() if stages.who_hides else [])]
        if not asked_jobs:
            reasons.append(why_no_answers(db, manifest, questions, asked))
        look(db, chosen)
        return Verdict(
            run=run,
            proven=not reasons,
            reasons=reasons,
            state=manifest.state,
            checked_at=datetime.now(UTC),
            rows=RowTotals.of(rows),
            questions=judged,
            targets=targets,
            copies=copies,
            categories=rows,
            unreadable=records.unreadable,
            notes=[f"{category}: {file.note}" for category, file in file_counts.items() if file.note],
        )


def _judge_copies(db: duckdb.DuckDBPyConnection, run: Run, stages: Stages) -> tuple[JudgedCopies | None, int | None]:
    """Judge what a lake keeps, where one does; say how many rows it lacks."""
    if (found := stages.copies(db, run) if stages.copies else None) is None:
        return None, 0
    return found, max((copy.missing for copy in found.copies.values()), default=None)


def _compute(
    db: duckdb.DuckDBPyConnection, run: Run, answers: Answers, digests: dict[int, list[Digest]]
) -> dict[int, str]:
    """Make the table of true answers, note its digests; return why that cannot be, by the question's number."""
    try:
        digests[answers.number] = compute_truth(db, run, answers.question, truth_table(answers.number))
        if answers.question.header.alert:
            into = truth_table(alerts_of(answers).number)
            compute_alerts(db, answers.question, run.run, truth_table(answers.number), into)
    except StreamproofError as error:
        return {answers.number: str(error)}
    return {}


def questions_of(run: Run, by_jobs: Iterable[AskedBy], wanted: Wanted) -> list[Question]:
    """Return the questions whose results are looked for: those that jobs were asked, then those of the stream's files.

    Raises:
        UsageError: the wanted question cannot be read.

    """
    questions = [each.question for each in by_jobs]
    if wanted.question:
        asked = load_question(wanted.question)
        return [asked, *(each for each in _each_once(questions) if each.name == asked.name and each.text != asked.text)]
    return _each_once([*questions, *stream_questions(run.contract.name, "stream")])


def _each_once(questions: list[Question]) -> list[Question]:
    return list({(each.name, each.digest): each for each in reversed(questions)}.values())[::-1]


def _question_verdict(
    db: duckdb.DuckDBPyConnection, run: Run, answers: Answers, counts: AnswerCounts, late: LateRows | int | None
) -> QuestionVerdict:
    question, compared = answers.question, f"compared_{answers.number}"
    late_rows = late(answers.job) if callable(late) else late
    return QuestionVerdict(
        **counts.model_dump(),
        late=late_rows if isinstance(late_rows, int) else None,
        title=question.title,
        job=answers.job,
        size=question.window.size,
        slide=question.window.slide,
        kind=question.window.kind,
        key=question.key,
        columns=tuple(compared_columns(db, answers)),
        not_right=first_not_right(db, compared, run),
    )


def _has_alerts(answers: Answers, by_jobs: Iterable[AskedBy]) -> bool:
    """Whether alerts are computed of a question's answers: not where its job is known to follow no run."""
    is_live = any(each.job == answers.job and not each.of_run for each in by_jobs)
    return answers.question.header.alert is not None and not is_live


def _judge_alerts(db: duckdb.DuckDBPyConnection, run: Run, answers: Answers, kafka: KafkaSettings) -> JudgedAlerts:
    alerts = alerts_of(answers)
    compared = f"compared_{alerts.number}"
    counts = compare(db, alerts, into=compared)
    return JudgedAlerts(
        **counts.model_dump(),
        breaches=breaches(db, answers),
        behind=windows_behind(db, run, answers, kafka),
        not_right=tuple(first_not_right(db, compared)),
    )


def more_doubts(
    db: duckdb.DuckDBPyConnection, chosen: Iterable[Answers], jobs: Iterable[str], stages: Stages
) -> Iterator[str]:
    """Say which keys do not tell a question's true answers apart, and which jobs have failed."""
    for answers in chosen:
        if twice := keys_that_are_none(db, answers):
            key = ", ".join(answers.question.key) or "none"
            yield (
                f"{answers.question.name}: its key ({key}) does not tell its answers apart: {twice:,} true ones share "
                "it with another of the same window"
            )
    for job in jobs:
        if stages.why_failed and (why := stages.why_failed(job)):
            yield f"the job {job} has failed: {why}"


def doubts_of_unknown(results: Mapping[str, int]) -> list[str]:
    """Say which results, by their label, are of questions whose text is not known."""
    return [
        f"{count} results are of the question {label}, whose text is not known here: name its file (--question)"
        for label, count in results.items()
    ]


@contextmanager
def open_database(near: Path, memory: str = _MEMORY) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database for one use, in a folder in ``near``: what does not fit into ``memory`` goes there.

    Raises:
        OSError: that folder cannot be written, or its disk is full.

    """
    with (
        duckdb_in(near),
        tempfile.TemporaryDirectory(prefix="validation-", dir=near) as folder,
        duckdb.connect(str(Path(folder) / "validation.duckdb")) as db,
    ):
        db.execute(f"SET memory_limit = '{memory}'")
        db.execute("SET preserve_insertion_order = false")  # every table carries its order in a column
        yield db


def _fields_of(questions: Iterable[Question], run: Run) -> set[str]:
    return {name for question in questions for name in used_fields(question, run.contract.fields)}


def _read_files(db: duckdb.DuckDBPyConnection, run: Run, fields: Collection[str]) -> dict[str, FileCounts]:
    if len(run.sources) > _MANY_FILES:
        db.execute("SET threads = 1")  # to share out a small file takes longer than to read it
    db.begin()  # one transaction: each file's would be written to disk for itself
    files = read_rows(db, run, fields)
    number_rows(db, run, files)
    db.commit()
    db.execute("RESET threads")
    return files


def _something_new(records: RunRecords, deadline: float) -> bool:
    """Wait until something of the run comes, then until no more comes at once; False at the deadline."""
    while time.monotonic() < deadline:
        if records.poll():
            settled = time.monotonic() + SETTLED_SECONDS
            while time.monotonic() < settled and records.poll():
                pass
            return True
    return False


def doubts(
    run: Run, rows: dict[str, CategoryRows], questions: Mapping[str, JudgedAnswers], unreadable: int
) -> list[str]:
    """Return what speaks against a run, each in words; empty where nothing does."""
    found = []
    if run.absent:
        found.append(
            f"the manifests of the edges {some_of(run.absent)} are not here: copy the run's folder edges/EDGE from "
            "the machine of each, or wait until it begins"
        )
    elif run.state == "running":
        found.append("the run has not ended: its manifest says that it is running")
    elif run.state == "stopped" and not run.ended:
        found.append(
            "the run was interrupted before its end was marked, so its last windows are open: "
            f"`{run.resumption}` goes on"
        )
    for category, r in rows.items():
        found += [f"{category}: {doubt}" for doubt in _doubts_on_rows(run, category, r)]
    if unreadable:
        found.append(f"{unreadable} records in Kafka name the run but are not what their topic should hold")
    for name, answers in questions.items():
        which = f"{name}: " if len(questions) > 1 else ""
        late = f" (the job dropped {answers.late} rows as late)" if answers.late else ""
        for count, what in ((answers.wrong, "wrong"), (answers.missing, "missing"), (answers.extra, "extra")):
            if count:
                found.append(f"{which}{count} windows are {what}{late}")
    if questions and not any(answers.right for answers in questions.values()):
        found.append("not one window is right")
    return found


def _doubts_on_rows(run: Run, category: str, rows: CategoryRows) -> Iterator[str]:
    counts = run.rows.get(category)
    if counts is None:
        yield "Kafka holds rows of this category, which the run does not have"
        return
    accepted = rows.accepted or 0
    due = (run.limit or rows.sent) if run.loop else min(accepted, run.limit or accepted)
    if rows.sent > due or (run.state == "finished" and rows.sent < due):
        yield f"{rows.sent} rows were sent, but by the file it must be {due}"
    whole_file_once = run.state == "finished" and not run.loop and (run.limit is None or run.pace == "file")
    if whole_file_once and counts.rejected != rows.rejected:
        yield f"{counts.rejected} records were rejected, but by the file it must be {rows.rejected}"
    if not rows.sent and run.state == "finished" and not run.allow_empty:
        yield "no row of its file fits the contract; where that is as it should be, replay it with --allow-empty"
    yield from rows.say_missing()
    yield from rows.say_differing(run.run)
    if rows.only_dead_letters:
        yield f"{rows.only_dead_letters} rows went to the dead letters instead of Kafka"
    if rows.never_sent:
        yield f"{rows.never_sent} rows in Kafka have a seq that was never sent"
