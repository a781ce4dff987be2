"""The verdict while a run goes on: each answer is compared as it arrives with what the files say it must be.

An answer that Flink has written is made of rows that were confirmed, so sent. The truth of its window is therefore the
same whether it is computed from the rows sent so far or from more of the file. It is computed for about twice as many
rows as were sent, and anew when the run comes near that. An answer that is not there may be open still. It is missing
when the run has ended, or when later ones of the same job were there some seconds ago: a job's answers to a question
become readable in the order of their windows' ends.
"""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import cast

import duckdb

from streamproof.core.errors import StreamproofError
from streamproof.core.question import Question
from streamproof.core.run import RowCounts, Run
from validation.answers import Answers, Wanted, find_answers, judged_table, results_table, truth_table
from validation.comparison import AnswerCounts, Difference, add_judged, compare, create_judged, first_not_right
from validation.csv_rows import FileCounts, read_rows
from validation.live.whole_run import BatchAnswers, answer_whole_run
from validation.stages import AskedBy
from validation.truth import compute_truth, number_rows

_AHEAD = 500_000
"""Rows a category for which the truth is computed at least, where the file has so many."""

_LONGEST_LIST = 50

_OVERDUE_SECONDS = 10.0
"""How much later than others an answer can be read whose window ends no later: a commit, a hesitating TaskManager."""

_NEVER = -(2**62)
"""Microseconds: before all windows."""

Rows = tuple[tuple[str, int], ...]
"""How many rows of each category a truth is made of."""


@dataclass(frozen=True)
class SoFar:
    """What is known of a question so far.

    Attributes:
        answers: which answers are judged.
        counts: how many are right, wrong, missing (overdue, while the run goes on) and extra.
        not_right: the earliest that are wrong or should not be there, or at the end are missing.
        is_judging: whether there is a truth to compare with.
        judged_to: the arrival up to which all answers are judged.

    """

    answers: Answers
    counts: AnswerCounts = field(default_factory=AnswerCounts)
    not_right: tuple[Difference, ...] = ()
    is_judging: bool = False
    judged_to: int = 0


class LiveVerdict:
    """Judges the answers to each question that a run was asked, those of the newest job.

    Args:
        db: the database whose tables of results grow; the truth is computed in it by a thread of its own.
        run: the run's manifest as it was when the reading began.
        questions: the questions whose results are read, in the order of their tables.

    Attributes:
        files: what the run's files hold; None until they are read.
        problem: why the truth cannot be computed; None while it can.
        batch: what the batch says of the whole run; nothing until the run has ended.

    """

    def __init__(self, db: duckdb.DuckDBPyConnection, run: Run, questions: Sequence[Question]) -> None:
        self._judging = db.cursor()
        self._computing = db.cursor()
        self._questions = questions
        self.files: dict[str, FileCounts] | None = None
        self.problem: str | None = None
        self.batch: tuple[BatchAnswers, ...] = ()
        self._judges: dict[str, _Judge] = {}
        self._chosen_for: tuple[Sequence[AskedBy], int] | None = None
        self._looked = time.monotonic()
        self._worker = ThreadPoolExecutor(1, "truth")
        self._work: Future[None] | None = self._worker.submit(self._read_files, run)
        self._next: tuple[Rows, list[_Judge]] | None = None
        self._numbered: Rows | None = None
        self._asked_whole: tuple[Rows, Sequence[Question]] | None = None

    @property
    def answers(self) -> list[Answers]:
        """The answers that are judged, of each question those of one job."""
        return [judge.answers for judge in self._judges.values()]

    @property
    def is_computing(self) -> bool:
        """Whether the files or the truth are still being worked on, so that nothing can be said of the end."""
        return self._work is not None and self.problem is None

    def close(self) -> None:
        """Wait for the computing that is under way."""
        self._worker.shutdown(cancel_futures=True)

    def step(
        self,
        run: Run,
        by_jobs: Sequence[AskedBy] = (),
        *,
        is_over: bool,
        all_read: Callable[[], bool] = lambda: True,
    ) -> None:
        """Judge what came since the last call.

        Args:
            run: the manifest as it is now.
            by_jobs: the questions that jobs were asked of the run; newest first.
            is_over: the run has ended and nothing more comes, so that what is not there is missing.
            all_read: tells whether all results that can be read now are in the database; asked every few seconds.

        """
        if self.problem or not self._is_computed():
            return
        self._choose(by_jobs)
        if not self._judges:
            return
        rows = self._rows_to_plan(run)
        judges = self._judges.values()
        if behind := [each for each in judges if each.truth is None or not _covers(each.truth, rows, run)]:
            self._next = rows, behind
            self._work = self._worker.submit(self._compute, run, rows, [each.answers for each in behind])
            return
        if time_has_come := time.monotonic() - self._looked >= _OVERDUE_SECONDS and all_read():
            self._looked = time.monotonic()
        for judge in judges:
            judge.step(is_over=is_over, time_has_come=time_has_come)

    def answer_whole_run(self, run: Run, questions: Sequence[Question]) -> None:
        """Let the batch answer questions about the whole run, once the answers to the others are judged.

        Args:
            run: the manifest of a run that has ended.
            questions: those for a batch alone.

        """
        wanted = self._rows_to_plan(run), questions
        if self.problem is None and self.files is not None and wanted != self._asked_whole:
            self._asked_whole = wanted
            self._worker.submit(self._answer_whole_run, run, *wanted)

    def unanswered(self) -> list[str]:
        """Return the jobs of which not all answers are there that the rows so far must give."""
        return [judge.answers.job for judge in self._judges.values() if not judge.is_answered()]

    def questions(self) -> dict[str, SoFar]:
        """Return what is known of each question so far, by its name."""
        return {
            name: SoFar(judge.answers, judge.counts(), tuple(judge.not_right), judge.truth is not None, judge.judged_to)
            for name, judge in self._judges.items()
        }

    def _is_computed(self) -> bool:
        """Take over what the other thread has finished; False while it works."""
        if self._work is None:
            return True
        if not self._work.done():
            return False
        try:
            self._work.result()
        except (StreamproofError, duckdb.Error) as error:
            self.problem = str(error)
            return False
        self._work = None
        if self._next:
            (rows, judges), self._next = self._next, None
            for judge in judges:
                judge.renew_truth(rows)
        return True

    def _choose(self, by_jobs: Sequence[AskedBy]) -> None:
        """Choose the job of each question anew where results came or jobs did; another job is judged from nothing."""
        arrivals = " UNION ALL ".join(
            f"SELECT max(_arrival) AS last FROM {results_table(number)}" for number in range(len(self._questions))
        )
        last = _only(self._judging, f"SELECT max(last) FROM ({arrivals})") if arrivals else None
        if self._chosen_for == (by_jobs, last or 0):
            return
        self._chosen_for = by_jobs, last or 0
        chosen = find_answers(self._judging, self._questions, list(by_jobs), Wanted())
        before, self._judges = self._judges, {}
        for answers in chosen:
            name = answers.question.name
            is_known = name in before and before[name].answers == answers
            self._judges[name] = before[name] if is_known else _Judge(self._judging, answers)

    def _rows_to_plan(self, run: Run) -> Rows:
        """Return how many rows of each category the truth must cover: at the end those sent, before that more."""
        if run.state != "running":
            return tuple((category, rows.sent) for category, rows in run.rows.items())
        planned = []
        for category, rows in run.rows.items():
            file = (self.files or {}).get(category, FileCounts(0, 0))
            most = run.limit if run.limit is not None else (None if run.loop else file.accepted)
            ahead = 2 * rows.sent + _AHEAD
            planned.append((category, ahead if most is None else min(ahead, most)))
        return tuple(planned)

    def _read_files(self, run: Run) -> None:
        self.files = read_rows(self._computing, run)

    def _compute(self, run: Run, rows: Rows, answers: list[Answers]) -> None:
        as_planned = self._number_rows(run, rows)
        for each in answers:
            self._computing.begin()  # who looks meanwhile finds all true answers, or those of before
            compute_truth(self._computing, as_planned, each.question, truth_table(each.number))
            self._computing.commit()

    def _answer_whole_run(self, run: Run, rows: Rows, questions: Sequence[Question]) -> None:
        if questions and self._numbered != rows:
            self._number_rows(run, rows)
        self.batch = tuple(answer_whole_run(self._computing, run, question) for question in questions)

    def _number_rows(self, run: Run, rows: Rows) -> Run:
        as_planned = run.model_copy(update={"rows": {category: RowCounts(sent=count) for category, count in rows}})
        number_rows(self._computing, as_planned, self.files or {})
        self._numbered = rows
        return as_planned


class _Judge:
    """Judges the answers of one job to one question.

    Args:
        db: has the tables of results and of the truth.
        answers: what is judged.

    Attributes:
        truth: the rows that the truth is made of; None while there is none.
        not_right: the earliest answers that are not right.
        judged_to: the arrival up to which all answers are judged.

    """

    def __init__(self, db: duckdb.DuckDBPyConnection, answers: Answers) -> None:
        self._db, self.answers = db, answers
        self.truth: Rows | None = None
        self.not_right: list[Difference] = []
        self.judged_to = 0
        self._judged, self._compared = judged_table(answers.number), f"compared_so_far_{answers.number}"
        create_judged(db, answers)
        self._examples: dict[tuple[str, ...], Difference] = {}
        self._is_whole = False
        self._due = self._next_due = self._newest_end = _NEVER

    def renew_truth(self, rows: Rows) -> None:
        """Take note of a truth made of other rows; it says the same of what was judged, and only the end differs."""
        self.truth, self._is_whole = rows, False

    def counts(self) -> AnswerCounts:
        """Return how many answers are right, wrong, missing (overdue, while the run goes on) and extra so far."""
        found = self._db.execute(f"SELECT verdict, sum(n)::BIGINT FROM {self._judged} GROUP BY verdict").fetchall()
        counts = dict(found)
        counts["extra"] = counts.get("extra", 0) + counts.pop("doubled", 0)
        return AnswerCounts.model_validate(counts)

    def is_answered(self) -> bool:
        """Whether all answers are there, right or wrong."""
        if self.truth is None:
            return False
        counts = self.counts()
        due = _only(self._db, f"SELECT count(*) FROM {truth_table(self.answers.number)}")
        return counts.right + counts.wrong >= (due or 0)

    def step(self, *, is_over: bool, time_has_come: bool) -> None:
        """Judge what came since the last call.

        Args:
            is_over: what is not there is missing.
            time_has_come: all is read, and some seconds have passed since it was so the last time.

        """
        due_before = self._due
        if time_has_come:
            # Overdue is what ends no later than an answer that was there some seconds ago.
            self._due, self._next_due = self._next_due, self._newest_end
        arrival, first, last = self._arrivals()
        if is_over and (arrival is not None or not self._is_whole):
            where = "true"
        elif arrival is not None or self._due > due_before:
            became_due = (due_before, self._due) if self._due > due_before else ()
            ends = [end for end in (first, last, *became_due) if end is not None]
            within = f"window_end BETWEEN {_moment(min(ends))} AND {_moment(max(ends))}" if ends else "false"
            where = f"({within} OR window_end IS NULL)"
        else:
            return
        compare(self._db, self.answers, into=self._compared, where=where)
        if not is_over:
            self._db.execute(
                f"DELETE FROM {self._compared} WHERE verdict = 'missing' AND window_end > {_moment(self._due)}"
            )
        self._db.begin()  # who looks meanwhile finds each answer judged as before
        self._db.execute(f"DELETE FROM {self._judged} WHERE {where}")
        add_judged(self._db, self.answers, self._compared)
        self._db.commit()
        self._newest_end = max(self._newest_end, self._last_end())
        self._keep_examples(is_over=is_over)
        self.judged_to = arrival if arrival is not None else self.judged_to
        self._is_whole = is_over

    def _keep_examples(self, *, is_over: bool) -> None:
        if is_over:
            self._examples.clear()
        for each in first_not_right(self._db, self._compared):
            if is_over or each.verdict != "missing":
                self._examples[each.window_start, each.window_end, json.dumps(each.key), each.verdict] = each
        self._examples = {key: self._examples[key] for key in sorted(self._examples)[:_LONGEST_LIST]}
        self.not_right = list(self._examples.values())

    def _arrivals(self) -> tuple[int | None, int | None, int | None]:
        """Return the newest arrival since the last look, and the least and greatest end of windows that came."""
        found = self._db.execute(
            "SELECT max(_arrival), min(epoch_us(window_end)), max(epoch_us(window_end)) "
            f"FROM ({self.answers.select}) WHERE _arrival > ?",
            [self.judged_to],
        ).fetchone()
        return cast("tuple[int | None, int | None, int | None]", found)

    def _last_end(self) -> int:
        # Windows that should not be there can lie anywhere in time.
        last = _only(
            self._db, f"SELECT max(epoch_us(window_end)) FROM {self._compared} WHERE verdict IN ('right', 'wrong')"
        )
        return _NEVER if last is None else last


def _only(db: duckdb.DuckDBPyConnection, sql: str) -> int | None:
    return cast("tuple[int | None]", db.execute(sql).fetchone())[0]


def _moment(microseconds: int) -> str:
    return f"make_timestamp({microseconds})" if microseconds != _NEVER else "'-infinity'::TIMESTAMP"


def _covers(truth: Rows, wanted: Rows, run: Run) -> bool:
    if run.state != "running":
        return truth == wanted
    planned, most = dict(truth), dict(wanted)
    margin = _AHEAD // 2
    return all(
        planned.get(category, 0) >= min(most[category], rows.sent + margin) for category, rows in run.rows.items()
    )
