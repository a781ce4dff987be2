"""The results that a job wrote, as CSV, JSON, Parquet or a table for Excel."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import duckdb

from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.question import Question
from streamproof.core.run import load_run
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.sql_quoting import literal, quoted
from validation.answers import Wanted, find_answers, why_no_answers
from validation.kafka_records import RunRecords
from validation.stages import Stages
from validation.verdict import open_database, questions_of

Format = Literal["csv", "json", "parquet", "xlsx"]
FOR_PROGRAMS = {"parquet", "xlsx"}
"""The forms that cannot be shown on a terminal."""

_EXCEL_ROWS, _EXCEL_CHARACTERS = 1_048_576, 32_767
_COPY = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json, ARRAY true", "parquet": "FORMAT parquet, COMPRESSION zstd"}


def export_results(
    run: str,
    home: HomeSettings,
    kafka: KafkaSettings,
    *,
    wanted: Wanted,
    form: Format,
    output: Path | None,
    stages: Stages = Stages(),  # noqa: B008 - frozen
) -> None:
    """Write a question's results of a run to ``output``, or to standard output, ordered by key and window.

    The columns are the key, the window's bounds, and the question's others. In CSV and JSON times are ISO 8601 in UTC;
    in Parquet and Excel they are timestamps. Results are given as they were written: one that was written twice stands
    there twice.

    Raises:
        UsageError: the run was asked several questions, and none is named.
        StreamproofError: there are no such results, or Kafka or the file does not let itself be used.

    """
    manifest = load_run(run, home)
    by_jobs = stages.jobs(manifest) if stages.jobs else []
    questions = questions_of(manifest, by_jobs, wanted)
    with open_database(home.runs / run) as db, RunRecords(db, manifest, kafka, questions, only="results") as records:
        records.read()
        found = [
            a for a in find_answers(db, questions, by_jobs, wanted) if db.execute(f"{a.select} LIMIT 1").fetchone()
        ]
        if not found:
            raise StreamproofError(why_no_answers(db, manifest, questions, wanted))
        if len(found) > 1:
            names = ", ".join(sorted(answers.question.name for answers in found))
            raise UsageError(f"run {run} was asked several questions: name one of {names}")
        as_text = None if form in FOR_PROGRAMS else in_iso
        write_answers(db, found[0].select, found[0].question, form, output, home.runs / run, as_text, last="_arrival")


def write_answers(  # noqa: PLR0917 - all that there is of a table and its file
    db: duckdb.DuckDBPyConnection,
    select: str,
    question: Question,
    form: Format,
    output: Path | None,
    folder: Path,
    as_text: Callable[[str], str] | None,
    last: str | None = None,
) -> None:
    """Write answers, ordered by key and window: the key, the window's bounds, and the question's other columns.

    Args:
        db: has what is selected.
        select: the answers; columns that begin with ``_`` are not written.
        question: what was asked.
        form: of the file.
        output: the file; None is standard output.
        folder: what goes to standard output is written here first.
        as_text: writes a column of times as SQL; None leaves them as they are.
        last: what orders answers of one key and window.

    Raises:
        StreamproofError: the file does not let itself be written.

    """
    kinds = {name: kind for name, kind, *_ in db.execute(f"DESCRIBE {select}").fetchall() if name[0] != "_"}
    first = [*question.key, "window_start", "window_end"]
    columns = ", ".join(
        f"{as_text(name)} AS {quoted(name)}" if as_text and kinds[name] == "TIMESTAMP" else quoted(name)
        for name in [*first, *(each for each in kinds if each not in first)]
    )
    order = ", ".join(f"a.{quoted(name)}" for name in (*first, *([last] if last else [])))
    db.execute("SET preserve_insertion_order = true")
    db.execute(f"CREATE TABLE exported AS SELECT {columns} FROM ({select}) AS a ORDER BY {order}")
    write_exported(db, form, output, folder)


def in_iso(column: str) -> str:
    """Write a column of times as SQL, in ISO 8601, UTC; milliseconds only where there are any."""
    name = quoted(column)
    whole, part = (f"strftime({name}, '%Y-%m-%dT%H:%M:%S{digits}Z')" for digits in ("", ".%g"))
    return f"CASE WHEN epoch_ms({name}) % 1000 = 0 THEN {whole} ELSE {part} END"


def write_exported(db: duckdb.DuckDBPyConnection, form: Format, output: Path | None, folder: Path) -> None:
    """Write the table ``exported`` to a file; None is standard output, by way of a file in ``folder``.

    Raises:
        StreamproofError: the file does not let itself be written.

    """
    half = folder / f"results.{form}.half" if output is None else output.with_name(output.name + ".half")
    try:
        if form == "xlsx":
            _write_excel(db, half)
        else:
            db.execute(f"COPY exported TO {literal(str(half))} ({_COPY[form]})")
        if output:
            half.replace(output)
        else:
            with half.open(encoding="utf-8", newline="") as file:
                shutil.copyfileobj(file, sys.stdout)
    except BrokenPipeError:
        raise  # whoever reads has seen enough
    except (OSError, duckdb.IOException) as error:
        raise StreamproofError(f"the results cannot be written to {output or 'standard output'}: {error}") from error
    finally:
        half.unlink(missing_ok=True)


def _write_excel(db: duckdb.DuckDBPyConnection, file: Path) -> None:
    from xlsxwriter import Workbook  # no other command needs it

    table = db.table("exported")
    count, columns = len(table), table.columns
    if count >= _EXCEL_ROWS:
        raise StreamproofError(
            f"{count:,} results do not fit into a table of Excel, which has {_EXCEL_ROWS:,} rows: "
            "choose --format parquet"
        )
    # Strings are never taken for numbers, formulas or links: ids stay as they are.
    options: dict[str, bool | str] = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    options |= {"default_date_format": "yyyy-mm-dd hh:mm:ss.000"}
    with file.open("wb") as out, Workbook(out, options) as book:
        sheet = book.add_worksheet("windows")
        sheet.freeze_panes(1, 0)
        sheet.write_row(0, 0, columns)
        found = db.execute("FROM exported")
        for number in range(1, count + 1):
            if sheet.write_row(number, 0, found.fetchone()):
                raise StreamproofError(
                    f"result {number:,} has a text of more than {_EXCEL_CHARACTERS:,} characters, which a cell of "
                    "Excel would cut: choose --format parquet"
                )
