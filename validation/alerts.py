"""The alerts that there must be, in SQL over all true answers at once.

A key's windows are cut into islands, runs of windows that all breach or all clear. An island that is long enough
decides something: that the alert fires, or that it is over. What happens follows from an island and the last decision
before it. Windows without an answer are one stretch, however many they are. None of it is shared with the code that
computes alerts while windows come (``streamproof.alerts.states``).
"""

from typing import cast

import duckdb
from confluent_kafka import KafkaException, TopicPartition

from streamproof.core.alert_rule import CLEAR_COLUMN, GROUP, ID_DIGITS, AlertRule
from streamproof.core.batch import create_views
from streamproof.core.brokers import kafka_at
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import new_consumer
from streamproof.core.question import Question
from streamproof.core.run import Run
from streamproof.core.settings import KafkaSettings
from streamproof.core.sql_quoting import literal, quoted
from validation.answers import Answers, truth_table
from validation.comparison import AnswerCounts, Difference

_EVENTS = """
CREATE OR REPLACE TABLE {into} AS
WITH keyed AS (SELECT *, {key_text} AS _key, epoch_ms(window_end) // {step} AS w FROM {truth}),
seen AS (
    SELECT _key, w, bool_or(alert) AS breach, bool_and({clear}) AND NOT bool_or(alert) AS clear
    FROM keyed WHERE {may_matter} GROUP BY _key, w
),
spaced AS (SELECT *, coalesce(lead(w) OVER (PARTITION BY _key ORDER BY w), {last} + 1) AS following FROM seen),
stretches AS (
    SELECT _key, w AS first, 1 AS windows,
           CASE WHEN breach THEN 'breach' WHEN clear THEN 'clear' ELSE 'neither' END AS kind
    FROM seen
    UNION ALL
    SELECT _key, w + 1, following - w - 1, {absent} FROM spaced WHERE {absent} <> 'keep' AND following > w + 1
),
edges AS (SELECT *, kind IS DISTINCT FROM lag(kind) OVER (PARTITION BY _key ORDER BY first) AS is_edge FROM stretches),
numbered AS (SELECT *, sum(is_edge::INTEGER) OVER (PARTITION BY _key ORDER BY first) AS island FROM edges),
measured AS (
    SELECT *, (sum(windows) OVER (PARTITION BY _key, island ORDER BY first))::BIGINT AS up_to,
           CASE kind WHEN 'breach' THEN {needed} WHEN 'clear' THEN {needed_to_clear} END AS needed
    FROM numbered
),
islands AS (
    SELECT _key, island, any_value(kind) AS kind, min(first) AS first,
           min(first + needed - (up_to - windows) - 1) FILTER (needed BETWEEN up_to - windows + 1 AND up_to) AS decided
    FROM measured GROUP BY _key, island
),
told AS (
    SELECT *, lead(first) OVER (PARTITION BY _key ORDER BY island) AS following,
           last_value(CASE WHEN decided IS NOT NULL THEN kind END IGNORE NULLS) OVER (
               PARTITION BY _key ORDER BY island ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
           ) IS NOT DISTINCT FROM 'breach' AS was_firing
    FROM islands
),
turns AS (
    SELECT _key, decided AS w, kind, first,
           lead(decided) OVER (PARTITION BY _key ORDER BY island) AS until,
           lag(first) OVER (PARTITION BY _key ORDER BY island) AS fired_first
    FROM told WHERE decided IS NOT NULL AND ((kind = 'breach' AND NOT was_firing) OR (kind = 'clear' AND was_firing))
),
events AS (
    SELECT _key, first AS w, 'pending' AS state, first AS begin, 0 AS number
    FROM told WHERE kind = 'breach' AND NOT was_firing AND {needed} > 1
    UNION ALL
    SELECT _key, following, 'withdrawn', first, 0
    FROM told WHERE kind = 'breach' AND NOT was_firing AND decided IS NULL AND following IS NOT NULL
    UNION ALL
    SELECT _key, w, 'firing', first, 0 FROM turns WHERE kind = 'breach'
    UNION ALL
    SELECT _key, w, 'resolved', fired_first, 0 FROM turns WHERE kind = 'clear'
    {repeats}
),
answers AS (SELECT * FROM keyed QUALIFY row_number() OVER (PARTITION BY _key, w ORDER BY window_start) = 1),
keys AS (SELECT DISTINCT ON (_key) _key{key_columns} FROM keyed)
SELECT make_timestamp_ms({start}) AS window_start, make_timestamp_ms(events.w * {step}) AS window_end{key_values}{own},
       left(sha256({identity} || ':' || (begin * {step}) || ':' || events._key), {digits}) AS alert_id,
       state AS alert_state, make_timestamp_ms(begin * {step}) AS alert_begin, number::BIGINT AS alert_number
FROM events JOIN keys USING (_key) LEFT JOIN answers ON answers._key = events._key AND answers.w = events.w
"""

_REPEATS = """
    UNION ALL
    SELECT _key, repeated, 'repeated', first, number FROM (
        SELECT _key, first, until,
               unnest(range(1, (coalesce(until, {last} + 1) - w) * {step} // {repeat} + 1)) AS number,
               (w * {step} + number * {repeat} + {step} - 1) // {step} AS repeated
        FROM turns WHERE kind = 'breach'
    ) WHERE repeated < coalesce(until, {last} + 1)
"""

_TIMEOUT_S = 15

_NULL = "n"
"""How a key's NULL stands in an alert's identity; texts begin with their length."""


class JudgedAlerts(AnswerCounts):
    """The alerts of a question: each event that was written, or must be, is right, wrong, missing or extra.

    Attributes:
        breaches: how many true answers meet the alert's condition.
        behind: how many windows there are whose alerts are not computed yet; None where no alerter has begun.
        not_right: the earliest that are wrong, missing, extra or doubled.

    """

    breaches: int = 0
    behind: int | None = None
    not_right: tuple[Difference, ...] = ()


def doubts_of_alerts(name: str, alerts: JudgedAlerts) -> list[str]:
    """Say what speaks against the alerts of a question."""
    found = []
    if alerts.behind is None:
        found.append(
            f"{name}: nobody has computed its alerts: the process that does runs beside `streamproof up`, and `submit "
            "--run` starts it where no such servers run"
        )
    elif alerts.behind:
        found.append(f"{name}: the alerts of {alerts.behind:,} windows are not computed yet")
    for count, what in ((alerts.wrong, "wrong"), (alerts.missing, "missing"), (alerts.extra, "extra")):
        if count:
            found.append(f"{name}: {count} alerts are {what}")
    return found


def windows_behind(db: duckdb.DuckDBPyConnection, run: Run, answers: Answers, kafka: KafkaSettings) -> int | None:
    """Return how many windows an alerter has still to look at; None where none has begun.

    Args:
        db: has the table ``tallies``.
        run: the run's manifest.
        answers: the job and the question.
        kafka: keeps how far its alerts are computed.

    Raises:
        StreamproofError: Kafka does not tell.

    """
    label, job = answers.question.label, answers.job
    consumer = new_consumer(kafka, GROUP.format(job=job, question=answers.question.name))
    try:
        asked = TopicPartition(answers.question.tally_topic(run.contract), 0)
        (place,) = consumer.committed([asked], timeout=_TIMEOUT_S)
    except KafkaException as error:
        raise StreamproofError(f"Kafka at {kafka_at(kafka)}: {error.args[0].str()}") from error
    finally:
        consumer.close()
    if place.offset < 0:
        return None
    found = db.execute(
        "SELECT count(*) FROM tallies WHERE job = ? AND question = ? AND kafka_offset >= ?", [job, label, place.offset]
    ).fetchone()
    return cast("tuple[int]", found)[0]


def breaches(db: duckdb.DuckDBPyConnection, answers: Answers) -> int:
    """Return how many true answers meet the alert's condition."""
    found = db.execute(f"SELECT count(*) FILTER (alert) FROM {truth_table(answers.number)}").fetchone()
    return cast("tuple[int]", found)[0]


def compute_alerts(db: duckdb.DuckDBPyConnection, question: Question, run: str, truth: str, into: str) -> None:
    """Create the table of the alerts of a question: each event with the answer's columns, NULL where there is none.

    Args:
        db: has the table ``sent``.
        question: it has an alert.
        run: the run's id.
        truth: the table of all of its true answers.
        into: the table's name.

    """
    rule = cast("AlertRule", question.header.alert)
    window, step = question.result_window, question.result_window.slide
    kinds = {name: kind for name, kind, *_ in db.execute(f"DESCRIBE {truth}").fetchall()}
    own = [name for name in kinds if name not in {"window_start", "window_end", *question.key}]
    end = f"events.w * {step}"
    period = f"({end} - 1 - (({end} - 1) % {window.size} + {window.size}) % {window.size})"
    last = _last_window(db, question, run)
    fill = {
        "into": into,
        "truth": truth,
        "step": step,
        "last": last,
        "key_text": " || ".join(_netstring(_as_text(quoted(name), kinds[name])) for name in question.key) or "''",
        "key_columns": "".join(f", {quoted(name)}" for name in question.key),
        "key_values": "".join(f", keys.{quoted(name)}" for name in question.key),
        "own": "".join(f", answers.{quoted(name)}" for name in own),
        "clear": CLEAR_COLUMN if rule.clear else "NOT alert",
        # Of most keys nothing is ever told.
        "may_matter": "true" if rule.absent == "breach" else "_key IN (SELECT _key FROM keyed WHERE alert)",
        "absent": literal(rule.absent),
        "needed": rule.for_windows,
        "needed_to_clear": rule.clear_for,
        "repeats": _REPEATS.format(last=last, step=step, repeat=rule.repeat) if rule.repeat else "",
        "start": period if window.kind == "cumulative" else f"{end} - {window.size}",
        "identity": literal(f"{question.label}:{run}:{question.window}"),
        "digits": ID_DIGITS,
    }
    db.execute(_EVENTS.format(**fill))


def _last_window(db: duckdb.DuckDBPyConnection, question: Question, run: str) -> int:
    """Return the number of the last window that holds any row; -1 where there is none."""
    create_views(db, question, run)
    rows, newest = (
        ("again", "true") if question.header.again else ("windowed", "event_time = (SELECT max(event_time) FROM sent)")
    )
    found = db.execute(f"SELECT max(epoch_ms(window_end)) FROM {rows} WHERE {newest}").fetchone()
    end = cast("tuple[int | None]", found)[0]
    return -1 if end is None else end // question.result_window.slide


def _as_text(column: str, kind: str) -> str:
    """Write a key's value as text that does not depend on how an engine prints its type."""
    if kind.startswith("TIMESTAMP"):
        return f"epoch_ms({column})::VARCHAR"
    if kind.startswith("DECIMAL"):
        text = f"{column}::VARCHAR"
        return f"CASE WHEN contains({text}, '.') THEN rtrim(rtrim({text}, '0'), '.') ELSE {text} END"
    return f"{column}::VARCHAR"


def _netstring(text: str) -> str:
    return f"coalesce(length({text}) || ':' || {text}, {literal(_NULL)})"
