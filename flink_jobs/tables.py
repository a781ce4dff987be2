"""The SQL around the questions of a job: tables of messages and results, and the views that the questions read."""

from collections.abc import Collection, Mapping, Sequence
from math import gcd

from streamproof.core.contract import Contract
from streamproof.core.message import BEFORE_ALL_TIME, END_SEQ, ENVELOPE
from streamproof.core.question import TALLY, Question
from streamproof.core.settings import KafkaSettings
from streamproof.core.sql_quoting import literal
from streamproof.core.window import Window

_TRANSACTION_TIMEOUT_MS = 900_000
"""Kafka's greatest by default: a job that is away for longer loses what it had not yet committed."""

_ALIGNMENT = "100 ms"
"""How often the source's tasks tell each other how far they are; a partition can get as far ahead meanwhile."""

_JSON = {
    "format": "json",
    "json.timestamp-format.standard": "ISO-8601",
    "json.encode.decimal-as-plain-number": "true",
}
"""How a result is written."""

_LONGEST_PANE, _SHORTEST_PANE = 10_000, 100
"""Milliseconds, where the slides of the job's windows leave a choice: what is remembered to tell copies apart are the
rows of a pane, and each pane has its cost."""


_BUCKET = 64
"""Rows of a category, neighbours by their numbers, whose copies are told apart together; each is compared with each."""


def pane_of(questions: Collection[Question]) -> int:
    """Return how long the panes are in which copies are told apart: it divides every slide; milliseconds."""
    slides = gcd(*(question.window.slide for question in questions))
    choices = range(min(slides, _LONGEST_PANE), _SHORTEST_PANE - 1, -1)
    return next((pane for pane in choices if slides % pane == 0), slides)


def kafka_source(
    questions: Collection[Question], contract: Contract, *, label: str, kafka: KafkaSettings, options: Mapping[str, str]
) -> dict[str, str]:
    """Return the options of the table of messages that reads the stream's topic.

    Args:
        questions: what is asked of the stream.
        contract: the stream.
        label: what marks the job's results and its Kafka transactions; the same when it is submitted again.
        kafka: where it is, and the certificate that Flink shows it.
        options: further ones, such as where to start.

    """
    return {
        "connector": "kafka",
        **_brokers(kafka),
        "format": "json",
        "topic": contract.topics.rows,
        "properties.group.id": consumer_group(label),
        "json.ignore-parse-errors": "true",  # one broken line in the topic must not end the job
        "scan.watermark.emit.strategy": "on-event",  # so that no later message hides the end mark
        # Partitions are read in step by event time. Otherwise the state, all that lies above the least of their
        # watermarks, grows with the backlog where one partition has more rows than another.
        "scan.watermark.alignment.group": "partitions",
        "scan.watermark.alignment.max-drift": f"{pane_of(questions)} ms",
        "scan.watermark.alignment.update-interval": _ALIGNMENT,
    } | dict(options)


def kafka_sink(question: Question, contract: Contract, *, label: str, kafka: KafkaSettings) -> dict[str, str]:
    """Return the options of the table that writes a question's results into its topic, exactly once."""
    return {
        "connector": "kafka",
        **_brokers(kafka),
        "topic": question.topic(contract),
        "sink.transactional-id-prefix": f"streamproof-{label}-{question.name}",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transaction-naming-strategy": "pooling",
        "properties.transaction.timeout.ms": str(_TRANSACTION_TIMEOUT_MS),
    }


def _brokers(kafka: KafkaSettings) -> dict[str, str]:
    return {"properties.bootstrap.servers": kafka.servers_for_cluster, **kafka.tls.flink_kafka}


def shared_statements(
    questions: Collection[Question],
    fields: Sequence[str],
    contract: Contract,
    source: Mapping[str, str],
    run: str | None,
    *,
    one_by_one: bool,
) -> list[str]:
    """Return the statements that make what all questions of a job share: the messages and the first copies of rows.

    Args:
        questions: what is asked of the stream.
        fields: the contract's fields that they may read.
        contract: the stream.
        source: the options of the table of messages.
        run: the run to follow, or None for all runs as they come.
        one_by_one: whether copies are told apart row by row, which costs more, and not in arrays of rows.

    """
    return [
        _messages_table(contract, fields, max(question.reach for question in questions), run, source),
        _rows_view([name for name in fields if not contract.fields[name].optional], run),
        _first_copies_view(contract, fields, pane_of(questions), one_by_one=one_by_one),
    ]


def question_views(question: Question, fields: Sequence[str], number: int = 0) -> dict[str, str]:
    """Return the statements that make the views of a question, by the views' names, in their order.

    Args:
        question: what is asked.
        fields: the contract's fields that its job reads.
        number: its place in the job. Each question but the first reads the rows by a condition of its own, which all
            rows meet: Flink would share windows of one shape between questions, and copy each row into all of its
            windows for that instead of counting slices.

    """
    own = "".join(f", `{name}`" for name in fields)
    columns = f"run, category, seq, event_time{own}, window_start, window_end, window_time"
    views = {
        "own_rows": "SELECT * FROM first_copies" + (f" WHERE seq > -{number}" if number else ""),
        "windowed": f"SELECT {columns} FROM {_windows('own_rows', 'pane_time', question.window)}",
    }
    again = question.header.again
    for view in question.views("flink"):
        views[view.name] = view.select
        if again and again.rows == view.name:
            views["again"] = f"SELECT * FROM {_windows(again.rows, again.time, again.window)}"
    return {name: f"CREATE TEMPORARY VIEW `{name}` AS {select}" for name, select in views.items()}


def results_table(name: str, columns: Mapping[str, str], sink: Mapping[str, str]) -> str:
    """Return the statement that makes the table of a question's results.

    Args:
        name: the table's.
        columns: the question's own columns that are written, and their types at Flink.
        sink: the table's options, without its format.

    """
    own = "".join(f", `{column}` {kind}" for column, kind in columns.items())
    return f"""CREATE TEMPORARY TABLE `{name}` (
    job STRING, question STRING, run STRING, window_start TIMESTAMP_LTZ(3), window_end TIMESTAMP_LTZ(3),
    window_size BIGINT, window_slide BIGINT, window_kind STRING{own}
) WITH ({_with(dict(sink) | _JSON)})"""


def tally_views(question: Question) -> dict[str, str]:
    """Return the statements that make the views behind ``tally``, by the views' names, in their order.

    The rows have windows of their own: if they shared the question's, Flink would copy each row into all of its windows
    instead of counting slices.
    """
    again = question.header.again
    rows, time = (again.rows, again.time) if again else ("first_copies", "pane_time")
    return {
        "held_rows": f"CREATE TEMPORARY VIEW held_rows AS SELECT `{time}` FROM `{rows}`",
        "held": "CREATE TEMPORARY VIEW held AS SELECT window_start, window_end "
        f"FROM {_windows('held_rows', time, question.result_window)}",
    }


def tally(question: Question) -> str:
    """Return a SELECT of how many results each window has, also none, where it holds any row."""
    bounds = "window_start, window_end"
    return f"""SELECT held.window_start, held.window_end, COALESCE(told.answers, 0) AS answers
FROM (SELECT {bounds}, COUNT(*) AS held_count FROM held GROUP BY {bounds}) AS held
LEFT JOIN (SELECT {bounds}, COUNT(*) AS answers FROM (
{question.body("flink")}
) AS answered GROUP BY {bounds}) AS told
ON held.window_start = told.window_start AND held.window_end = told.window_end"""


def tally_sink(question: Question, contract: Contract, *, label: str, kafka: KafkaSettings) -> dict[str, str]:
    """Return the options of the table that writes how many results each window has, exactly once, in their order.

    One task writes them, as its topic has one partition: windows close in the order of their ends.
    """
    return kafka_sink(question, contract, label=label, kafka=kafka) | {
        "topic": question.tally_topic(contract),
        "sink.transactional-id-prefix": f"streamproof-{label}-{question.name}-{TALLY}",
        "sink.parallelism": "1",
    }


def results_insert(
    table: str,
    question: Question,
    columns: Collection[str],
    *,
    label: str,
    run: str | None,
    has_run: bool,
    select: str | None = None,
) -> str:
    """Return the statement that writes a question's results, in the order of ``results_table``.

    Args:
        table: where to.
        question: what is asked.
        columns: its own columns that are written.
        label: the job's.
        run: the run that is followed, or None.
        has_run: whether the question itself says of which run a result is.
        select: what is written instead of the question's own answers.

    """
    window = question.window
    own = "".join(f", q.`{column}`" for column in columns)
    followed = "q.run" if has_run else literal(run or "")
    return f"""INSERT INTO `{table}`
SELECT {literal(label)}, {literal(question.label)}, {followed},
    CAST(q.window_start AS TIMESTAMP_LTZ(3)), CAST(q.window_end AS TIMESTAMP_LTZ(3)),
    CAST({window.size} AS BIGINT), CAST({window.slide} AS BIGINT), {literal(window.kind)}{own}
FROM (
{select or question.body("flink")}
) AS q"""


def consumer_group(label: str) -> str:
    """Return the consumer group for which a job commits, at each checkpoint, how far it has read."""
    return f"streamproof-{label}"


def interval(milliseconds: int) -> str:
    """Write a duration as an SQL interval."""
    return f"INTERVAL '{milliseconds // 1000}.{milliseconds % 1000:03}' SECOND(10, 3)"


def _messages_table(
    contract: Contract, fields: Sequence[str], reach: int, run: str | None, options: Mapping[str, str]
) -> str:
    # Fields that no question reads are not even looked for in the messages.
    columns = ", ".join(f"`{name}` {_wire_type(contract, name)}" for name in (*ENVELOPE, *fields))
    # The edge's own low watermark, not a bound on lateness that somebody guessed. Behind a run's last row the end
    # mark moves it on by the longest window, which closes the last ones. Other runs' rows leave it where it is, or
    # begin it: a partition without any watermark would not be waited for by those that have reached the run.
    others = f"WHEN run <> {literal(run)} THEN TO_TIMESTAMP_LTZ({BEFORE_ALL_TIME}, 3)" if run is not None else ""
    watermark = f"""CASE
        {others}
        WHEN seq = {END_SEQ} THEN TO_TIMESTAMP_LTZ(event_time + {reach}, 3)
        ELSE TO_TIMESTAMP_LTZ(low_watermark, 3) END"""
    return f"""CREATE TEMPORARY TABLE messages (
    {columns},
    event_ts AS TO_TIMESTAMP_LTZ(event_time, 3),
    WATERMARK FOR event_ts AS {watermark}
) WITH ({_with(options)})"""


def _rows_view(fields: Sequence[str], run: str | None) -> str:
    # Heartbeats and end marks have done their work when the watermark is taken. A field that is absent, or that Flink
    # cannot read as its type, is NULL: such a row is in no window, not even in its count. It does not count as
    # unreadable, which Flink tells of whole messages alone; the validation, which reads the same topic, finds it.
    needed = ("run", "category", "event_ts", *fields)
    whole = "".join(f" AND `{name}` IS NOT NULL" for name in needed)
    followed = f" AND run = {literal(run)}" if run is not None else ""
    return f"CREATE TEMPORARY VIEW stream_rows AS SELECT * FROM messages WHERE seq > 0{whole}{followed}"


def _first_copies_view(contract: Contract, fields: Sequence[str], pane: int, *, one_by_one: bool) -> str:
    # At-least-once delivery may bring a row several times: only the first copy counts. Copies have the same event
    # time, so they meet in the same pane, a tumbling window. The watermark closes panes and clears their state, so what
    # is remembered does not grow with the run. Windows are whole numbers of panes.
    types = {"seq": "BIGINT", "event_time": "TIMESTAMP(3)"}
    values = {"seq": "seq", "event_time": "CAST(event_ts AS TIMESTAMP(3))"}
    for name in fields:
        is_time = contract.fields[name].type == "time"
        types[name] = "TIMESTAMP(3)" if is_time else contract.fields[name].flink_type
        values[name] = f"CAST(TO_TIMESTAMP_LTZ(`{name}`, 3) AS TIMESTAMP(3))" if is_time else f"`{name}`"
    panes = f"TABLE(TUMBLE(TABLE stream_rows, DESCRIPTOR(event_ts), {interval(pane)}))"
    if one_by_one:
        columns = ", ".join(f"{value} AS `{name}`" for name, value in values.items())
        return f"""CREATE TEMPORARY VIEW first_copies AS
SELECT run, category, {columns}, window_time AS pane_time
FROM (
    SELECT *, ROW_NUMBER() OVER (
        PARTITION BY window_start, window_end, run, category, seq ORDER BY event_ts) AS copy
    FROM {panes})
WHERE copy = 1"""
    # The rows of a bucket travel and are kept as one array: one key and one timer for all of them. Copies are alike in
    # all but the low watermark, which no question reads. The type names the columns, as a plan shows them.
    row = f"CAST(ROW({', '.join(values.values())}) AS ROW<{', '.join(f'`{n}` {kind}' for n, kind in types.items())}>)"
    return f"""CREATE TEMPORARY VIEW first_copies AS
SELECT run, category, r.*, pane_time
FROM (
    SELECT run, category, window_time AS pane_time, ARRAY_DISTINCT(ARRAY_AGG({row})) AS first_copies
    FROM {panes}
    GROUP BY window_start, window_end, window_time, run, category, seq / {_BUCKET})
CROSS JOIN UNNEST(first_copies) AS r"""


def _windows(table: str, time: str, window: Window) -> str:
    function = "CUMULATE" if window.kind == "cumulative" else "HOP"
    return (
        f"TABLE({function}(TABLE `{table}`, DESCRIPTOR(`{time}`), {interval(window.slide)}, {interval(window.size)}))"
    )


def _wire_type(contract: Contract, name: str) -> str:
    if name in contract.fields and contract.fields[name].type != "time":
        return contract.fields[name].flink_type
    return "STRING" if contract.message_fields()[name] == "text" else "BIGINT"


def _with(options: Mapping[str, str]) -> str:
    return ", ".join(f"{literal(name)} = {literal(value)}" for name, value in options.items())


OWN_VIEWS = ("messages", "stream_rows", "first_copies", "own_rows", "windowed", "again", "held_rows", "held", "results")
"""Names that a question's views cannot have."""
