"""The SQL around a job's query: the tables of messages and windows, made from the stream's contract."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from flink_jobs.window import Window, interval
from streamproof.core.contract import Contract
from streamproof.core.measures import USUAL, Measure, WindowKind, column
from streamproof.core.message import END_SEQ

JOBS = {"rating_averages": "ratings"}
"""Each job (its query is NAME.sql beside this module) and the stream that it is for when none is named."""

_TRANSACTION_TIMEOUT_MS = 900_000
"""Kafka's greatest by default: a job that is away for longer loses what it had not yet committed."""

_BEFORE_ALL_TIME = -62_135_596_800_000
"""Milliseconds: the beginning of year 1, Flink's earliest timestamp."""

_ALIGNMENT = "100 ms"
"""How often the source's tasks tell each other how far they are; a partition can get as far ahead meanwhile."""

_FUNCTIONS: dict[WindowKind, str] = {"sliding": "HOP", "cumulative": "CUMULATE"}

_EXPRESSIONS: dict[Measure, str] = {
    "count": "COUNT(*)",
    "sum": "SUM(`${measure}`)",
    # A double: AVG over whole numbers would be cut to a whole number.
    "avg": "CAST(SUM(`${measure}`) AS DOUBLE) / COUNT(*)",
    "min": "MIN(`${measure}`)",
    "max": "MAX(`${measure}`)",
    # In units of the measure's last digit sums and squares are whole numbers, and nothing is rounded before the root.
    "stddev": "SQRT(CAST(COUNT(*) * SUM(${units} * ${units}) - SUM(${units}) * SUM(${units}) AS DOUBLE))"
    " / (COUNT(*) * ${unit}E0)",
    "histogram": "COLLECT(CAST(`${measure}` AS STRING))",
    "distinct": "COUNT(DISTINCT `${actor}`)",
}
"""What each measure is in Flink SQL."""


def job_statements(
    job: str,
    contract: Contract,
    window: Window,
    measures: Sequence[Measure] = USUAL,
    *,
    label: str,
    run: str | None,
    kafka_servers: str,
    source_options: Mapping[str, str],
) -> list[str]:
    """Return all SQL statements of a job; the last one is its INSERT.

    Args:
        job: a name in ``JOBS``.
        contract: the stream.
        window: the window's shape.
        measures: what is written of each window.
        label: what marks the job's results and its Kafka transactions; the same when it is submitted again.
        run: the run to follow, or None for all runs as they come.
        kafka_servers: the brokers as Flink sees them.
        source_options: further options of the source table, such as where to start.

    Raises:
        UsageError: a measure needs what the contract does not name.

    """
    needed = [contract.measure] + ([contract.actor] if contract.actor and "distinct" in measures else [])
    query = (Path(__file__).parent / f"{job}.sql").read_text(encoding="utf-8")
    filled = Template(query).substitute(
        job=label,
        key=contract.key,
        needed=", ".join(f"`{name}`" for name in needed),
        measures=",\n    ".join(_expression(contract, measure) for measure in measures),
        function=_FUNCTIONS[window.kind],
        kind=window.kind,
        size=interval(window.size),
        slide=interval(window.slide),
        size_ms=window.size,
        slide_ms=window.slide,
    )
    common = {"connector": "kafka", "properties.bootstrap.servers": kafka_servers, "format": "json"}
    source = (
        common | {"topic": contract.topics.rows, "properties.group.id": consumer_group(label)} | dict(source_options)
    )
    sink = common | {"topic": contract.topics.windows, "sink.transactional-id-prefix": f"streamproof-{label}"}
    tables = [
        _messages_table(contract, window, run, source),
        _rows_view(contract, needed, run),
        _windows_table(contract, measures, sink),
    ]
    return tables + [s.strip() for s in filled.split(";\n") if s.strip()]


def consumer_group(label: str) -> str:
    """Return the consumer group for which a job commits, at each checkpoint, how far it has read."""
    return f"streamproof-{label}"


def _messages_table(contract: Contract, window: Window, run: str | None, options: Mapping[str, str]) -> str:
    columns = ", ".join(f"`{name}` {_sql_type(contract, name)}" for name in contract.message_fields())
    # The edge's own low watermark, not a bound on lateness that somebody guessed. Behind a run's last row the end
    # mark moves it on by a window, which closes the last ones. Other runs' rows leave it where it is, or begin it: a
    # partition without any watermark would not be waited for by those that have reached the run.
    others = f"WHEN run <> {_text(run)} THEN TO_TIMESTAMP_LTZ({_BEFORE_ALL_TIME}, 3)" if run is not None else ""
    watermark = f"""CASE
        {others}
        WHEN seq = {END_SEQ} THEN TO_TIMESTAMP_LTZ(event_time + {window.size}, 3)
        ELSE TO_TIMESTAMP_LTZ(low_watermark, 3) END"""
    defaults = {
        "json.ignore-parse-errors": "true",  # one broken line in the topic must not end the job
        "scan.watermark.emit.strategy": "on-event",  # so that no later message hides the end mark
        # Partitions are read in step by event time. Otherwise the state, all that lies above the least of their
        # watermarks, grows with the backlog where one partition has more rows than another.
        "scan.watermark.alignment.group": "partitions",
        "scan.watermark.alignment.max-drift": f"{window.slide} ms",
        "scan.watermark.alignment.update-interval": _ALIGNMENT,
    }
    return f"""CREATE TEMPORARY TABLE messages (
    {columns},
    event_ts AS TO_TIMESTAMP_LTZ(event_time, 3),
    WATERMARK FOR event_ts AS {watermark}
) WITH ({_with(defaults | dict(options))})"""


def _expression(contract: Contract, measure: Measure) -> str:
    unit = 10 ** (contract.fields[contract.measure].scale or 0)
    units = f"CAST(`{contract.measure}` * {unit} AS DECIMAL(18, 0))"
    return Template(_EXPRESSIONS[measure]).substitute(
        measure=contract.measure, actor=contract.actor, unit=unit, units=units
    )


def _rows_view(contract: Contract, fields: Sequence[str], run: str | None) -> str:
    # Heartbeats and end marks have done their work when the watermark is taken. A field that is absent, or that Flink
    # cannot read as its type, is NULL: such a row is in no window, not even in its count. It does not count as
    # unreadable, which Flink tells of whole messages alone; the validation, which reads the same topic, finds it.
    needed = ("run", "category", "event_ts", contract.key, *fields)
    whole = "".join(f" AND `{name}` IS NOT NULL" for name in needed)
    followed = f" AND run = {_text(run)}" if run is not None else ""
    return f"CREATE TEMPORARY VIEW stream_rows AS SELECT * FROM messages WHERE seq > 0{whole}{followed}"


def _windows_table(contract: Contract, measures: Sequence[Measure], options: Mapping[str, str]) -> str:
    scale = contract.fields[contract.measure].scale
    single = _sql_type(contract, contract.measure)
    types: dict[Measure, str] = {
        "count": "BIGINT",
        "sum": "BIGINT" if scale is None else f"DECIMAL(38, {scale})",
        "avg": "DOUBLE",
        "min": single,
        "max": single,
        "stddev": "DOUBLE",
        "histogram": "MULTISET<STRING>",
        "distinct": "BIGINT",
    }
    columns = ", ".join(f"`{column(contract, measure)}` {types[measure]}" for measure in measures)
    delivery = {
        "sink.delivery-guarantee": "exactly-once",
        "sink.transaction-naming-strategy": "pooling",
        "properties.transaction.timeout.ms": str(_TRANSACTION_TIMEOUT_MS),
        "json.timestamp-format.standard": "ISO-8601",
        "json.encode.decimal-as-plain-number": "true",
    }
    return f"""CREATE TEMPORARY TABLE windows (
    job STRING, run STRING, category STRING, `{contract.key}` STRING,
    window_start TIMESTAMP_LTZ(3), window_end TIMESTAMP_LTZ(3),
    window_size BIGINT, window_slide BIGINT, window_kind STRING,
    {columns}
) WITH ({_with(delivery | dict(options))})"""


def _sql_type(contract: Contract, name: str) -> str:
    kind = contract.message_fields()[name]
    if kind == "decimal":
        return f"DECIMAL(18, {contract.fields[name].scale})"
    return "STRING" if kind == "text" else "BIGINT"


def _with(options: Mapping[str, str]) -> str:
    return ", ".join(f"{_text(name)} = {_text(value)}" for name, value in options.items())


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
