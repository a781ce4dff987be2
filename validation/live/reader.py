"""The reading of a run in the background: one thread, one set of Kafka consumers, one picture for all browsers.

What is kept in memory does not grow with the rows beyond a byte each (their sequence numbers). The results lie in a
database on disk. The run's past comes first, since every topic is read from where the run began.
"""

import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import duckdb
import msgspec
import numpy as np
from confluent_kafka import Message

from streamproof.core.kafka import TopicReader
from streamproof.core.run import RowCounts, Run, load_run, manifests, runs_here
from streamproof.core.settings import HomeSettings, KafkaSettings
from validation.answers import Wanted, results_table, why_no_answers
from validation.comparison import AnswerCounts, Difference, InputRow, rows_behind
from validation.delivery import CategoryRows
from validation.kafka_records import RunDecoder, RunRecords
from validation.live.dead_letters import DeadLetters, Letter, LetterBox
from validation.live.lake_batch import LakeBatch, lake_batches
from validation.live.live_verdict import LiveVerdict, SoFar
from validation.live.rows_by_seq import DEAD, IN_KAFKA, RowsBySeq
from validation.live.whole_run import BatchAnswers, asked_of
from validation.stages import AskedBy, Stages
from validation.verdict import JudgedAnswers, doubts, doubts_of_unknown, more_doubts, open_database, questions_of

RATE_SECONDS = 300
"""How far back the rows a second are kept."""

ROWS_SHOWN = 200
"""Rows of the files that are shown of a window."""

_LOOP_SECONDS = 0.5
_QUIET_SECONDS = 5.0
_RETRY_SECONDS = 2.0
_PATIENT_SECONDS = 180.0
"""How long a job that is at work is waited for when nothing comes: one that was just submitted has to begin."""
_MEMORY = "512MB"


@dataclass(frozen=True)
class Picture:
    """What is known at a moment.

    Attributes:
        run: the run's manifest; None while there is none.
        problem: why nothing can be read at present; None while it can.
        is_behind: whether the past is still being read.
        is_quiet: whether the run has ended, nothing more comes, and all that came is judged.
        written_at: when the manifest was written last, seconds since the epoch.
        rows: each category's counts; a row's way up to Kafka.
        rates: rows that came into Kafka in each second, by seconds since the epoch.
        event_time: the greatest event time of a row in Kafka, milliseconds since the epoch; 0 for none.
        questions: what is known of each question that was asked, by its name.
        results_read: results and alerts in Kafka, of all jobs of the run; it grows with whatever comes.
        no_truth: why the answers cannot be compared; None while they can.
        hidden: where records in Kafka cannot be read yet, and why; None where nothing is missing because of it.
        reasons: what speaks against the run at its end.
        dead_letters: the newest, and how many.
        batch: what the batch says of the whole run; nothing until the run has ended.
        lake: what the lake's batch was asked for of these questions, and how it compares, by their names.

    """

    run: Run | None = None
    problem: str | None = "nothing was read yet"
    is_behind: bool = False
    is_quiet: bool = False
    written_at: float = 0
    rows: dict[str, CategoryRows] = field(default_factory=dict)
    rates: dict[int, int] = field(default_factory=dict)
    event_time: int = 0
    questions: dict[str, SoFar] = field(default_factory=dict)
    results_read: int = 0
    no_truth: str | None = None
    hidden: str | None = None
    reasons: list[str] = field(default_factory=list)
    dead_letters: DeadLetters = field(default_factory=DeadLetters)
    batch: tuple[BatchAnswers, ...] = ()
    lake: dict[str, LakeBatch] = field(default_factory=dict)

    @property
    def answers(self) -> AnswerCounts:
        """How many answers are right, wrong, missing (overdue, while the run goes on) or extra so far."""
        counts = [each.counts.model_dump() for each in self.questions.values()]
        return AnswerCounts.model_validate({name: sum(c[name] for c in counts) for name in AnswerCounts.model_fields})

    @property
    def is_judging(self) -> bool:
        """Whether there is a truth to compare with, of each question."""
        return bool(self.questions) and all(each.is_judging for each in self.questions.values())

    @property
    def overdue(self) -> int:
        """How many answers are not there before the end though later ones of the job are."""
        return 0 if self.is_quiet else self.answers.missing

    @property
    def answers_not_right(self) -> int:
        """How many answers are wrong, should not be there, or are missing at the end."""
        return self.answers.wrong + self.answers.missing - self.overdue + self.answers.extra


class _Row(msgspec.Struct):
    run: str
    category: str
    seq: int
    event_time: int


class Reader:
    """Reads a run until it is stopped; by itself it goes on when servers or a newer run come.

    Args:
        run: the run's id; None follows the newest one.
        home: where the runs' manifests are.
        kafka: where their rows and results are.
        stages: who can tell which questions were asked of a run; by default the questions that come with its stream.

    """

    def __init__(
        self,
        run: str | None,
        home: HomeSettings,
        kafka: KafkaSettings,
        stages: Stages = Stages(),  # noqa: B008 - frozen
    ) -> None:
        self._wanted, self._home, self._kafka, self._stages = run, home, kafka, stages
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="reader", daemon=True)
        self._reading: _Reading | None = None
        self.picture = Picture()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End, and leave Kafka."""
        self._stopped.set()
        self._thread.join(30)

    def database(self) -> duckdb.DuckDBPyConnection | None:
        """Return a connection of the caller's own to the tables of the validation; None while nothing is read."""
        reading = self._reading
        return reading.db.cursor() if reading else None

    def rows_of(self, difference: Difference) -> list[InputRow]:
        """Return the rows of the run's files behind an answer, ``ROWS_SHOWN`` at most."""
        db, run = self.database(), self.picture.run
        return rows_behind(db, run, difference, ROWS_SHOWN) if db and run else []

    def _follow(self) -> None:
        while not self._stopped.is_set():
            try:
                run = self._chosen()
                if run is None:
                    self.picture = Picture(problem="There is no run yet")
                    self._stopped.wait(_RETRY_SECONDS)
                    continue
                self.picture = Picture(run=load_run(run, self._home), problem=None, is_behind=True)
                with _Reading(run, self._home, self._kafka, self._stages) as self._reading:
                    looked = time.monotonic()
                    while not self._stopped.is_set() and not self._reading.is_asked_more:
                        self.picture = self._reading.step()
                        if time.monotonic() - looked > _RETRY_SECONDS:
                            looked = time.monotonic()
                            if self._chosen() != run:
                                break
            except Exception as error:  # whatever it is: the page says it, and the reading begins anew
                self.picture = replace(self.picture, problem=str(error))
                self._stopped.wait(_RETRY_SECONDS)
            finally:
                self._reading = None

    def _chosen(self) -> str | None:
        return self._wanted or newest_run(self._home)


def newest_run(home: HomeSettings) -> str | None:
    """Return the id of the run that began last, or None where there is none."""
    created = {run: min(map(_created, manifests(run, home)), default="") for run in runs_here(home)}
    return max(created, key=lambda run: created[run], default=None)


def _created(manifest: Path) -> str:
    try:
        return msgspec.json.decode(manifest.read_bytes(), type=_Created).created
    except (OSError, msgspec.DecodeError):
        return ""


class _Created(msgspec.Struct):
    created: str


class _Reading:
    """One run, read from its beginning.

    Attributes:
        is_asked_more: whether a question was asked since that is not read, so that the reading has to begin anew.

    """

    def __init__(self, run: str, home: HomeSettings, kafka: KafkaSettings, stages: Stages) -> None:
        self._home, self._stages = home, stages
        self._run = load_run(run, home)
        self._by_jobs = self._ask_jobs()
        self._questions = questions_of(self._run, self._by_jobs, Wanted())
        self.is_asked_more = False
        with ExitStack() as exits:
            self.db = exits.enter_context(open_database(home.runs / run, _MEMORY))
            self.db.execute("SET threads = 2")
            topics = self._run.contract.topics
            self._rows_topic = TopicReader(topics.rows, self._run.created, kafka)
            exits.callback(self._rows_topic.close)
            self._dead_topic = TopicReader(topics.dead_letters, self._run.created, kafka)
            exits.callback(self._dead_topic.close)
            self._results = exits.enter_context(
                RunRecords(self.db, self._run, kafka, self._questions, only="results", alerts=True)
            )
            self._verdict = LiveVerdict(self.db, self._run, self._questions)
            exits.callback(self._verdict.close)
            self._exits = exits.pop_all()
        self._row, self._letter = RunDecoder(run, _Row), msgspec.json.Decoder(Letter)
        self._arrived: dict[str, RowsBySeq] = {}
        self._rates: Counter[int] = Counter()
        self._letters = LetterBox()
        self._event_time = 0
        self._hidden: str | None = None
        self._doubts: list[str] | None = None
        self._heard = self._asked = self._asked_jobs = time.monotonic()
        self._asked_working, self._is_worked_on = -_RETRY_SECONDS, False

    def __enter__(self) -> "_Reading":
        return self

    def __exit__(self, *exception: object) -> None:
        self._exits.close()

    def step(self) -> Picture:
        """Read for a moment, judge, and return the picture."""
        run = load_run(self._run.run, self._home)  # first: what it says is confirmed is in Kafka when that is read
        came, is_behind = self._read()
        if came:
            self._heard = time.monotonic()
        written_at = max(path.stat().st_mtime for path in manifests(run.run, self._home))
        is_time = time.monotonic() - self._asked_jobs > _RETRY_SECONDS
        if is_time:
            before, self._by_jobs, self._asked_jobs = self._by_jobs, self._ask_jobs(), time.monotonic()
            if self._by_jobs != before:
                self._heard = time.monotonic()
            self.is_asked_more = any(not self._is_read(each) for each in self._by_jobs)
        is_over = run.state != "running" and time.monotonic() - self._heard > _QUIET_SECONDS
        is_over = is_over and not self._is_being_answered()
        self._verdict.step(run, self._by_jobs, is_over=is_over, all_read=self._results.is_at_end)
        is_quiet = is_over and not self._verdict.is_computing
        rows = self._count_rows(run)
        questions = self._verdict.questions()
        has_no_answers = run.state != "running" and not questions
        self._explain(is_something_missing=has_no_answers or any(each.counts.missing for each in questions.values()))
        unreadable = self._row.unreadable + self._results.unreadable
        judged = {name: JudgedAnswers(**each.counts.model_dump()) for name, each in questions.items()}
        reasons = doubts(run, rows, judged, unreadable) if self._verdict.files is not None else []
        if not is_quiet:
            self._doubts = None
        elif self._doubts is None or is_time:
            self._doubts = self._doubts_at_end(run)
            self._verdict.answer_whole_run(run, asked_of(run, self._home))
        shown = [*(each.answers.question for each in questions.values()), *(b.question for b in self._verdict.batch)]
        return Picture(
            run=run,
            problem=None,
            is_behind=is_behind,
            is_quiet=is_quiet,
            written_at=written_at,
            rows=rows,
            rates=dict(self._rates),
            event_time=self._event_time,
            questions=questions,
            results_read=self._results_read(),
            no_truth=self._verdict.problem,
            hidden=self._hidden,
            reasons=reasons + (self._doubts or []),
            dead_letters=self._letters.content(),
            batch=self._verdict.batch,
            lake=lake_batches(run.run, shown, self._home),
        )

    def _is_being_answered(self) -> bool:
        """Return whether answers are missing that a job at work may still write."""
        now = time.monotonic()
        if now - self._heard > _PATIENT_SECONDS or self._stages.is_working is None:
            return False
        if now - self._asked_working > _RETRY_SECONDS:
            self._asked_working = now
            self._is_worked_on = any(map(self._stages.is_working, dict.fromkeys(self._verdict.unanswered())))
        return self._is_worked_on

    def _ask_jobs(self) -> list[AskedBy]:
        return self._stages.jobs(self._run) if self._stages.jobs else []

    def _is_read(self, asked: AskedBy) -> bool:
        return any((each.name, each.text) == (asked.question.name, asked.question.text) for each in self._questions)

    def _doubts_at_end(self, run: Run) -> list[str]:
        """Return what else speaks against a run that has ended."""
        chosen = self._verdict.answers
        if self._verdict.problem:
            return []
        if not chosen:
            return [why_no_answers(self.db, run, self._questions, Wanted())]
        return [
            *more_doubts(self.db, chosen, dict.fromkeys(each.job for each in chosen), self._stages),
            *doubts_of_unknown(self._results.unknown_questions()),
        ]

    def _read(self) -> tuple[bool, bool]:
        """Read what came of all topics; return whether anything did, and whether more is waiting."""
        came = False
        deadline = time.monotonic() + _LOOP_SECONDS
        while time.monotonic() < deadline:
            messages = self._rows_topic.poll(0.05)
            came |= self._add_rows(messages)
            if not messages:
                break
        came |= self._add_letters(self._dead_topic.poll(0.05))
        before = self._results_read()
        while self._results.poll(0.4) and time.monotonic() < deadline + _LOOP_SECONDS:
            pass
        came |= self._results_read() > before
        is_out_of_time = time.monotonic() >= deadline + _LOOP_SECONDS
        return came, is_out_of_time and not (self._rows_topic.is_at_end() and self._results.is_at_end())

    def _explain(self, *, is_something_missing: bool) -> None:
        """Ask Kafka every few seconds whether what is missing lies behind an open transaction."""
        if not is_something_missing:
            self._hidden = None
        elif time.monotonic() - self._asked > _RETRY_SECONDS and self._results.is_at_end():
            self._hidden, self._asked = self._results.why_hidden(), time.monotonic()

    def _results_read(self) -> int:
        tables = [*range(len(self._questions)), *(each.number for each in self._results.alerts)]
        counts = [self.db.execute(f"SELECT count(*) FROM {results_table(number)}").fetchone() for number in tables]
        return sum(cast("tuple[int]", count)[0] for count in counts)

    def _add_rows(self, messages: list[Message]) -> bool:
        seqs: dict[str, list[int]] = {}
        seconds: list[int] = []
        for message, row in zip(messages, self._row.decode(messages), strict=True):
            if row and row.run == self._run.run and row.seq >= 1:
                self._event_time = max(self._event_time, row.event_time)
                seqs.setdefault(row.category, []).append(row.seq)
                seconds.append(message.timestamp()[1] // 1000)
        for category, found in seqs.items():
            self._of(category).add(np.array(found, np.int64), IN_KAFKA)
        self._rates.update(seconds)
        if self._rates:
            oldest = max(self._rates) - RATE_SECONDS
            for second in [s for s in self._rates if s < oldest]:
                del self._rates[second]
        return bool(seqs)

    def _add_letters(self, messages: list[Message]) -> bool:
        came = False
        for message in messages:
            try:
                letter = self._letter.decode(message.value() or b"")
            except msgspec.DecodeError:
                continue
            if letter.run not in {None, self._run.run}:
                continue
            came = True
            letter.place = f"{message.partition()}/{message.offset()}"
            self._letters.add(letter)
            if letter.run is None or letter.category is None:
                continue
            if letter.seq is None:
                self._of(letter.category).add_dead_without_seq(1)
            else:
                self._of(letter.category).add(np.array([letter.seq], np.int64), DEAD)
        return came

    def _of(self, category: str) -> RowsBySeq:
        return self._arrived.setdefault(category, RowsBySeq())

    def _count_rows(self, run: Run) -> dict[str, CategoryRows]:
        rows = self._counted(run, at_end=True)
        if any(category.lost for category in rows.values()):
            # Only whoever has read all that Kafka has can say that a row is not there.
            at_end = self._rows_topic.is_at_end() and self._dead_topic.is_at_end()
            return rows if at_end else self._counted(run, at_end=False)
        return rows

    def _counted(self, run: Run, *, at_end: bool) -> dict[str, CategoryRows]:
        files, counted = self._verdict.files or {}, {}
        for category in [*run.rows, *sorted(set(self._arrived) - set(run.rows))]:
            manifest = run.rows.get(category, RowCounts())
            forgotten = manifest.confirmed_to if run.state == "running" else manifest.sent
            counted[category] = self._of(category).count(manifest, files.get(category), forgotten if at_end else 0)
        return counted
