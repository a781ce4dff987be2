"""Files that belong to no run, read as if they had been replayed by their own time."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from streamproof.core.contract import Contract
from streamproof.core.errors import UsageError
from streamproof.core.question import Question
from streamproof.core.question_text import used_fields
from streamproof.core.run import RowCounts, Run, Source, source_of
from validation.csv_rows import read_rows
from validation.truth import number_rows


def read_files(
    db: duckdb.DuckDBPyConnection, question: Question, contract: Contract, files: Mapping[str, Path], run: str
) -> Run:
    """Read into a database what a question asks of files, and return the run in which they would have been replayed.

    Args:
        db: gets the rows.
        question: what is asked.
        contract: of the stream.
        files: by their categories.
        run: the run's id, which no manifest has.

    Raises:
        UsageError: the stream has no time of its own, or a file is not there.
        StreamproofError: a file cannot be read.

    """
    if contract.event_time is None:
        raise UsageError(f"the contract {contract.name} names no event_time, so its files do not say when a row was")
    unsent = Run(
        run=run,
        contract=contract,
        clock="virtual",
        pace="file",
        batch_rows=1,
        batch_ms=1,
        sources={category: _source(file) for category, file in files.items()},
        rows={},
        state="finished",
        created=datetime.now(UTC),
    )
    counts = read_rows(db, unsent, used_fields(question, contract.fields))
    unsent.rows.update({category: RowCounts(sent=count.accepted) for category, count in counts.items()})
    number_rows(db, unsent, counts)
    return unsent


def _source(file: Path) -> Source:
    try:
        return source_of(file)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
