"""Answers that sinks have kept elsewhere, read back and judged like those in Kafka."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import duckdb
import pyarrow as pa
from pydantic import BaseModel

from streamproof.core.errors import StreamproofError
from streamproof.core.run import Run
from streamproof.core.sql_quoting import quoted
from validation.answers import Answers, alerts_of, results_table, truth_table
from validation.comparison import AnswerCounts, Difference, compare, first_not_right
from validation.stages import LAST, Target

Found = TypeVar("Found")

_OF_TARGETS = 100_000
_ASK_SECONDS = 1.0
_FIXED = ("_job", "_size", "_slide", "_kind")


class KeptAnswers(AnswerCounts):
    """The answers to a question that a target has.

    Attributes:
        alerts: likewise of its alerts; None where it has none.
        not_right: the earliest answers and alerts that are wrong, missing, extra or doubled.

    """

    alerts: AnswerCounts | None = None
    not_right: tuple[Difference, ...] = ()


class JudgedTarget(BaseModel):
    """What was found in a target.

    Attributes:
        questions: by their names.
        problem: why it could not be read; None where it could.

    """

    questions: dict[str, KeptAnswers] = {}
    problem: str | None = None


def judge_targets(
    db: duckdb.DuckDBPyConnection,
    run: Run,
    targets: Collection[Target],
    *,
    questions: Sequence[tuple[Answers, bool]],
    in_kafka: int,
    wait: float,
) -> dict[str, JudgedTarget]:
    """Read back what targets have of a run and compare it with the truth.

    Args:
        db: has the tables of the true answers, and of the alerts that there must be.
        run: the run's manifest.
        targets: who has kept it.
        questions: what was asked, and of each whether its alerts are judged.
        in_kafka: how many answers and alerts Kafka lacks itself.
        wait: seconds: while a target lacks more than Kafka does, go on reading until nothing new came for so long.

    """
    judged = {
        target.name: wait_for(partial(_judge, db, run, target, _OF_TARGETS * number, questions), in_kafka, wait)
        for number, target in enumerate(targets, 1)
    }
    return {name: target for name, target in judged.items() if target.questions or target.problem}


def doubts_of_targets(targets: Mapping[str, JudgedTarget]) -> list[str]:
    """Say what speaks against what targets have."""
    found = []
    for name, target in targets.items():
        if target.problem:
            found.append(f"{name}: cannot be read back: {target.problem}")
        for question, answers in target.questions.items():
            kinds: dict[str, AnswerCounts | None] = {"answers": answers, "alerts": answers.alerts}
            for what, counts in kinds.items():
                for how in ("wrong", "missing", "extra"):
                    if counts and (count := getattr(counts, how)):
                        found.append(f"{name}: {question}: {count} {what} are {how}")
    return found


def wait_for(judge: Callable[[], tuple[Found, int | None]], in_kafka: int, wait: float) -> Found:
    """Judge what is kept somewhere, again and again while it lacks more than Kafka does and something new comes.

    Args:
        judge: returns what it finds, and how much is missing; None where that is not known.
        in_kafka: how much Kafka lacks itself.
        wait: seconds: it is over when nothing new came for so long.

    """
    least, deadline = None, time.monotonic() + wait
    while True:
        found, missing = judge()
        if missing is not None:
            if missing <= in_kafka:
                return found
            if least is None or missing < least:
                least, deadline = missing, time.monotonic() + wait
        if time.monotonic() >= deadline:
            return found
        time.sleep(_ASK_SECONDS)


def _judge(
    db: duckdb.DuckDBPyConnection, run: Run, target: Target, first: int, questions: Sequence[tuple[Answers, bool]]
) -> tuple[JudgedTarget, int | None]:
    def judge(kept: Answers, *, are_alerts: bool) -> tuple[AnswerCounts, list[Difference]] | None:
        if (done_to := target.done_to(run, kept.question, are_alerts=are_alerts)) is None:
            return None
        columns = _create_tables(db, kept, first + kept.number)
        rows = target.read(run, kept.question, kept.job, columns, are_alerts=are_alerts)
        return _compare(db, run, replace(kept, number=first + kept.number), columns, rows, done_to=done_to)

    found: dict[str, KeptAnswers] = {}
    try:
        for answers, with_alerts in questions:
            if judged := judge(answers, are_alerts=False):
                alerts, more = (with_alerts and judge(alerts_of(answers), are_alerts=True)) or (None, [])
                not_right = (*judged[1], *more)
                kept = KeptAnswers(**judged[0].model_dump(), alerts=alerts, not_right=not_right)
                found[answers.question.name] = kept
    except StreamproofError as error:
        return JudgedTarget(problem=str(error)), None
    missing = sum(each.missing + (each.alerts.missing if each.alerts else 0) for each in found.values())
    return JudgedTarget(questions=found), missing


def _create_tables(db: duckdb.DuckDBPyConnection, answers: Answers, number: int) -> list[str]:
    """Create a table like that of Kafka's results, and name the truth anew; return the question's columns in it."""
    table = results_table(number)
    db.execute(f"CREATE OR REPLACE TABLE {table} AS FROM {results_table(answers.number)} LIMIT 0")
    db.execute(f"CREATE OR REPLACE VIEW {truth_table(number)} AS FROM {truth_table(answers.number)}")
    found = db.execute(f"DESCRIBE {table}").fetchall()
    return [name for name, *_ in found if name not in {"_arrival", "_written_at", "_whole", *_FIXED}]


def _compare(
    db: duckdb.DuckDBPyConnection,
    run: Run,
    kept: Answers,
    columns: Sequence[str],
    rows: Iterator[list[tuple[str | None, ...]]],
    *,
    done_to: int,
) -> tuple[AnswerCounts, list[Difference]]:
    table, compared = results_table(kept.number), f"compared_{kept.number}"
    kinds = {name: kind for name, kind, *_ in db.execute(f"DESCRIBE {table}").fetchall()}
    names = [*_FIXED, *columns]
    read = {name: f"TRY_CAST({quoted(name)} AS {kinds[name]})" for name in names}
    whole = " AND ".join(f"({quoted(name)} IS NULL OR {value} IS NOT NULL)" for name, value in read.items())
    for some in rows:
        values = zip(*some, strict=True)
        arrow = pa.table(  # noqa: F841 (found by its name)
            {name: pa.array(column, pa.string()) for name, column in zip(names, values, strict=True)}
        )
        db.execute(
            f"INSERT INTO {table} BY NAME SELECT {', '.join(f'{value} AS {quoted(n)}' for n, value in read.items())}, "
            f"{whole} AS _whole, nextval('arrivals') AS _arrival FROM arrow"
        )
    where = "true" if done_to >= LAST else f"window_end <= make_timestamp_ms({done_to})"
    counts = compare(db, kept, into=compared, where=where)
    return counts, first_not_right(db, compared, run)
