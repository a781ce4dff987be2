"""The scores that there must be: the model goes through all true answers at once, in their order."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

import duckdb
import pyarrow as pa

from streamproof.core.kafka import topics_of
from streamproof.core.model_rule import SCORE, ModelRule
from streamproof.core.question import Question
from streamproof.core.run import Run
from streamproof.core.settings import KafkaSettings
from streamproof.core.sql_quoting import quoted
from streamproof.models.scorer import read_digests
from streamproof.models.scoring import Digest, Scoring
from validation.answers import Answers

_STEP = 20_000


def add_scores(db: duckdb.DuckDBPyConnection, question: Question, answers: str, into: str) -> list[Digest]:
    """Create a table from a question's answers that has their scores, and what the model's alert makes of them.

    Args:
        db: has the answers.
        question: the model, as a question.
        answers: their table.
        into: the new table's name.

    Returns:
        The digests of the model's state.

    """
    model = cast("ModelRule", question.model)
    order = ", ".join(["window_end", "window_start", *(f"{quoted(name)} NULLS LAST" for name in question.key)])
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE _ordered AS SELECT *, row_number() OVER (ORDER BY {order}) AS _place "
        f"FROM {answers}"
    )
    columns = ", ".join(map(quoted, (*question.key, *model.values)))
    db.execute(f"SELECT epoch_ms(window_start), {columns} FROM _ordered ORDER BY _place")
    scoring, keys = Scoring(model), len(question.key) + 1
    scores = [scoring.score(row[1:keys], row[0], row[keys:]) for row in _fetched(db)]
    arrow = pa.table(  # noqa: F841 (found by its name)
        {"_place": pa.array(range(1, len(scores) + 1), pa.int64()), SCORE: pa.array(scores, pa.float64())}
    )
    conditions = question.header.alert.columns if question.header.alert else {}
    more = "".join(f", ({text}) IS TRUE AS {name}" for name, text in conditions.items())
    db.execute(
        f"CREATE OR REPLACE TABLE {into} AS SELECT *{more} FROM "
        f"(SELECT _ordered.* EXCLUDE (_place), arrow.{SCORE} FROM _ordered JOIN arrow USING (_place)) AS q"
    )
    db.execute("DROP TABLE _ordered")
    return scoring.digests


def doubts_of_state(answers: Answers, digests: Iterable[Digest], run: Run, kafka: KafkaSettings) -> Iterator[str]:
    """Say where a model's state first differs from the batch's.

    Raises:
        StreamproofError: Kafka cannot be read.

    """
    question = answers.question
    wrote = question.state_topic(run.contract) in topics_of(kafka)
    found = read_digests(answers.job, question, run.contract, run.created, kafka) if wrote else []
    for each in digests:
        if each not in found:
            yield f"{question.name}: after {each.rows:,} answers the model's state is not that of the batch"
            return


def _fetched(db: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := db.fetchmany(_STEP):
        yield from rows
