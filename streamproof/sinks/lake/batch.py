"""The batch branch: a question answered from the lake's rows, hour by hour as hours close; the answers are kept there.

An hour is closed when the low watermark of the newest snapshot has passed it: every row of the run up to its end is in
the lake. How far the answers go stands in the properties of the snapshot that holds them, so a batch that is killed is
done again, and none is done twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import duckdb
import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import assign_fresh_schema_ids
from pyiceberg.transforms import IdentityTransform

from streamproof.core.batch import columns_of
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.question_text import looks_across_windows, used_fields
from streamproof.core.sql_quoting import literal, quoted
from streamproof.sinks.lake.copies import complete_to, is_finished, low_watermarks_of, partitions_in, write_rows
from streamproof.sinks.lake.query import create_view
from streamproof.sinks.lake.records import OVER
from streamproof.sinks.lake.tables import PROPERTIES, find_table
from validation.stages import LAST
from validation.truth import compute_truth

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from streamproof.core.question import Question
    from streamproof.core.run import Run

DONE = "streamproof.batch-done"
"""Property of a snapshot of answers, in JSON: of each run, up to which window end they are there, milliseconds."""

_HOUR = 3_600_000
_AT_A_TIME = 50_000
_ENVELOPE = ("run", "category", "seq", "event_time")


class Kept(NamedTuple):
    """Answers that are kept: how many are new, and up to which window end there are all, milliseconds; or ``LAST``."""

    new: int
    done_to: int


class AllRuns(NamedTuple):
    """What the lake has of a stream: its runs, those of them of which more rows may come, and how many rows."""

    runs: list[str]
    open: list[str]
    rows: int


def answers_table(question: Question) -> str:
    """Return the name of the table that keeps the answers to a question: another text or window has another one."""
    window = question.window
    chosen = "" if window == question.header.window else f"_{window.size}_{window.slide}"
    return f"batch_{question.name}_{question.digest}{chosen}"


def answer_from_lake(db: duckdb.DuckDBPyConnection, catalogue: Catalog, run: Run, question: Question) -> Kept:
    """Compute what has closed since the last time, keep it, and create the table ``answers`` of all there is.

    Of a question that looks across windows, and of a model, nothing is computed before its run has ended.

    Raises:
        UsageError: the lake has nothing of the stream, or DuckDB refuses the question.
        StreamproofError: another batch has kept answers to the same question meanwhile.

    """
    stream = run.contract.name
    rows = find_table(catalogue, stream, "processed")
    newest = rows.current_snapshot()
    complete = complete_to(low_watermarks_of(newest), run.run, partitions_in(newest)) if newest else None
    table = _find_answers(catalogue, stream, question)
    done = _done(table)
    first, end = done.get(run.run, 0), _closed(complete, question)
    new = 0
    if end > first:
        create_view(db, "main.lake_rows", rows, newest)
        fields = ", ".join(map(quoted, (*_ENVELOPE[1:], *used_fields(question, run.contract.fields))))
        since = max(0, first - question.window.size)
        db.execute(
            f"CREATE OR REPLACE TABLE sent AS SELECT DISTINCT ON (category, seq) {fields} "
            f"FROM main.lake_rows WHERE run = {literal(run.run)} AND event_time >= make_timestamp_ms({since})"
        )
        compute_truth(db, run, question, "closed", None if _needs_all(question) else (first, min(end, LAST)))
        own = "".join(f", {quoted(name)}" for name in db.table("closed").columns if name != "run")
        computed = db.sql(f"SELECT {literal(run.run)} AS run{own} FROM closed")
        answers = _fit_for_iceberg(computed.to_arrow_table())
        table = table or _create_answers(catalogue, stream, question, answers.schema)
        _append(table, answers, done | {run.run: end})
        new = len(answers)
    db.execute(f"CREATE OR REPLACE TABLE answers AS {_kept_answers(db, table, run, question)}")
    return Kept(new, min(max(first, end), LAST))


def answer_all_runs(db: duckdb.DuckDBPyConnection, catalogue: Catalog, question: Question) -> AllRuns:
    """Create the table ``answers`` from all runs of the question's stream, of which each row counts once.

    Raises:
        UsageError: the lake has no row of the stream.
        StreamproofError: the question fails on these rows.

    """
    stream = question.header.stream
    rows = find_table(catalogue, stream, "processed")
    newest = rows.current_snapshot()
    create_view(db, "main.lake_rows", rows, newest)
    known = [field.name for field in rows.schema().fields if field.name not in _ENVELOPE]
    fields = ", ".join(map(quoted, (*_ENVELOPE, *used_fields(question, known))))
    db.execute(f"CREATE TABLE sent AS SELECT DISTINCT ON (run, category, seq) {fields} FROM main.lake_rows")
    counts = dict(db.execute("SELECT run, count(*) FROM sent GROUP BY run ORDER BY run").fetchall())
    if newest is None or not counts:
        raise UsageError(f"the lake has no row of the stream {stream}: `streamproof sink lake --stream {stream}`")
    compute_truth(db, None, question, "answers")
    low_watermarks = low_watermarks_of(newest)
    open_ = [run for run in counts if not is_finished(low_watermarks, run)]
    return AllRuns(list(counts), open_, sum(counts.values()))


@dataclass(frozen=True)
class LakeAnswers:
    """The answers that the batch has kept in the lake, read back for the verdict.

    Attributes:
        name: what people call them.
        catalogue: of the lake.

    """

    name: str
    catalogue: Catalog

    def done_to(self, run: Run, question: Question, *, are_alerts: bool) -> int | None:
        """Return up to which window end it has all answers: as far as the batch was asked for them."""
        table = None if are_alerts else _find_answers(self.catalogue, run.contract.name, question)
        return min(_done(table).get(run.run, 0), LAST) or None

    def read(
        self,
        run: Run,
        question: Question,
        job: str,
        columns: Sequence[str],
        *,
        are_alerts: bool,  # noqa: ARG002 - it has none
    ) -> Iterator[list[tuple[str | None, ...]]]:
        """Yield what it has of a run, as if the job had written it."""
        window = question.window
        fixed = ", ".join(map(literal, (job, str(window.size), str(window.slide), window.kind)))
        own = "".join(f", {quoted(name)}::VARCHAR" for name in columns)
        with duckdb.connect() as db:
            table = _find_answers(self.catalogue, run.contract.name, question)
            answers = db.execute(f"SELECT {fixed}{own} FROM ({_kept_answers(db, table, run, question)})")
            while some := answers.fetchmany(_AT_A_TIME):
                yield some


def _closed(complete: int | None, question: Question) -> int:
    if complete is None:
        return 0
    if complete == OVER:
        return OVER
    return 0 if _needs_all(question) else (complete + 1) // _HOUR * _HOUR


def _needs_all(question: Question) -> bool:
    """Whether an answer can depend on windows that lie before it, so that all are computed at once."""
    return looks_across_windows(question) or question.model is not None


def _find_answers(catalogue: Catalog, stream: str, question: Question) -> Table | None:
    try:
        return catalogue.load_table((stream, answers_table(question)))
    except NoSuchTableError:
        return None


def _create_answers(catalogue: Catalog, stream: str, question: Question, schema: pa.Schema) -> Table:
    columns = assign_fresh_schema_ids(catalogue._convert_schema_if_needed(schema))
    of_run = PartitionSpec(PartitionField(columns.find_field("run").field_id, 1000, IdentityTransform(), "run"))
    return catalogue.create_table(
        (stream, answers_table(question)), columns, partition_spec=of_run, properties=PROPERTIES
    )


def _done(table: Table | None) -> dict[str, int]:
    snapshot = table.current_snapshot() if table else None
    text = snapshot.summary.additional_properties.get(DONE) if snapshot and snapshot.summary else None
    if snapshot and text is None:
        raise StreamproofError(
            f"the snapshot {snapshot.snapshot_id} of the answers does not say how far they go ({DONE}): somebody else "
            "has written to their table. Remove it from the catalogue: the answers are computed anew"
        )
    return cast("dict[str, int]", json.loads(text)) if text else {}


def _fit_for_iceberg(answers: pa.Table) -> pa.Table:
    """Turn whole numbers that Iceberg does not know into wider ones that it knows."""
    wider = {"uint8": pa.int32(), "uint16": pa.int32(), "int8": pa.int32(), "int16": pa.int32(), "uint32": pa.int64()}
    wider["uint64"] = pa.decimal128(20, 0)
    return answers.cast(
        pa.schema([field.with_type(wider.get(str(field.type), field.type)) for field in answers.schema])
    )


def _append(table: Table, answers: pa.Table, done: dict[str, int]) -> None:
    files = list(write_rows(table, answers)) if len(answers) else []
    try:
        with (
            table.transaction() as transaction,
            transaction.update_snapshot({DONE: json.dumps(done)}).fast_append() as append,
        ):
            for file in files:
                append.append_data_file(file)
    except CommitFailedException:
        raise StreamproofError(
            f"{'.'.join(table.name()[-2:])}: another batch has kept answers meanwhile: ask again"
        ) from None


def _kept_answers(db: duckdb.DuckDBPyConnection, table: Table | None, run: Run, question: Question) -> str:
    """Return a query for what is kept of a run, in the question's own columns and types."""
    columns = columns_of(question, run.contract)
    if table is None:
        return f"SELECT {', '.join(f'NULL::{kind} AS {quoted(name)}' for name, kind in columns.items())} WHERE false"
    create_view(db, "main.lake_answers", table, table.current_snapshot())
    own = ", ".join(f"{quoted(name)}::{kind} AS {quoted(name)}" for name, kind in columns.items())
    return f"SELECT {own} FROM main.lake_answers WHERE run = {literal(run.run)}"
