"""The windows that a job wrote, as CSV, JSON, Parquet or a table for Excel."""

import shutil
import sys
from pathlib import Path
from typing import Literal

import duckdb

from streamproof.core.contract import Contract
from streamproof.core.errors import StreamproofError
from streamproof.core.measures import Measure, column
from streamproof.core.run import load_run
from streamproof.core.settings import HomeSettings, KafkaSettings
from validation.jobs import COLUMNS, Wanted, find_job, why_no_job, windows_of
from validation.kafka_records import RunRecords
from validation.verdict import open_database

Format = Literal["csv", "json", "parquet", "xlsx"]
FOR_PROGRAMS = {"parquet", "xlsx"}
"""The forms that cannot be shown on a terminal."""

_MOST_SHARES = 100
_EXCEL_ROWS, _EXCEL_CHARACTERS = 1_048_576, 32_767
_COPY = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json, ARRAY true", "parquet": "FORMAT parquet, COMPRESSION zstd"}


def export_windows(
    run: str, home: HomeSettings, kafka: KafkaSettings, *, wanted: Wanted, form: Format, output: Path | None
) -> None:
    """Write the wanted job's windows of a run to ``output``, or to standard output, ordered by category, key and start.

    In CSV and JSON the window bounds are ISO 8601 in UTC; in Parquet and Excel they are timestamps. A histogram is JSON
    as text, and a column for each value says which share of the rows has it, where there are not over a hundred.
    Windows are given as they were written: one that was written twice stands there twice.

    Raises:
        StreamproofError: there are no such windows, or Kafka or the file does not let itself be used.

    """
    manifest = load_run(run, home)
    with open_database(home.runs / run) as db, RunRecords(db, manifest, kafka, only="windows") as records:
        records.read()
        job = find_job(db, wanted)
        if not job or not job.name:
            raise StreamproofError(why_no_job(db, manifest, wanted))
        contract = manifest.contract
        columns = {column(contract, measure): _value(contract, measure) for measure in job.measures}
        db.execute(f"CREATE VIEW of_job AS {windows_of(job)}")
        if "histogram" in job.measures:
            columns |= _shares(db, contract)
        db.execute("SET preserve_insertion_order = true")
        db.execute(
            f"""
            CREATE TABLE exported AS
            SELECT category, key AS {contract.key},
                   {_bound("window_start", form)} AS window_start, {_bound("window_end", form)} AS window_end,
                   {", ".join(f'{value} AS "{name}"' for name, value in columns.items())}
            FROM of_job ORDER BY category, key, of_job.window_start, of_job.window_end, arrival
            """
        )
        _write(db, form, output, home.runs / run)


def _value(contract: Contract, measure: Measure) -> str:
    scale = contract.fields[contract.measure].scale or 0
    digits = {"sum": 38, "min": 18, "max": 18}.get(measure)
    return f"{COLUMNS[measure]}::DECIMAL({digits}, {scale})" if digits else COLUMNS[measure]


def _shares(db: duckdb.DuckDBPyConnection, contract: Contract) -> dict[str, str]:
    """Return a column for the share of each value, where there are few enough for a table."""
    found = db.execute("SELECT DISTINCT unnest(json_keys(histogram)) AS v FROM of_job ORDER BY v::DECIMAL(38, 9)")
    values = [value for (value,) in found.fetchall()]
    if len(values) > _MOST_SHARES:
        return {}
    share = "coalesce((histogram ->> '$.\"{}\"')::BIGINT, 0) / n"
    return {f"{contract.measure}_share_{value}": share.format(value) for value in values}


def _bound(column: str, form: Format) -> str:
    moment = f"make_timestamp_ms({column})"
    if form in FOR_PROGRAMS:
        return moment
    whole, part = (f"strftime({moment}, '%Y-%m-%dT%H:%M:%S{digits}Z')" for digits in ("", ".%g"))
    return f"CASE WHEN {column} % 1000 = 0 THEN {whole} ELSE {part} END"


def _write(db: duckdb.DuckDBPyConnection, form: Format, output: Path | None, folder: Path) -> None:
    half = folder / f"windows.{form}.half" if output is None else output.with_name(output.name + ".half")
    try:
        if form == "xlsx":
            _write_excel(db, half)
        else:
            quoted = str(half).replace("'", "''")
            db.execute(f"COPY exported TO '{quoted}' ({_COPY[form]})")
        if output:
            half.replace(output)
        else:
            with half.open(encoding="utf-8", newline="") as file:
                shutil.copyfileobj(file, sys.stdout)
    except BrokenPipeError:
        raise  # whoever reads has seen enough
    except (OSError, duckdb.IOException) as error:
        raise StreamproofError(f"the windows cannot be written to {output or 'standard output'}: {error}") from error
    finally:
        half.unlink(missing_ok=True)


def _write_excel(db: duckdb.DuckDBPyConnection, file: Path) -> None:
    from xlsxwriter import Workbook  # no other command needs it

    table = db.table("exported")
    count, columns = len(table), table.columns
    if count >= _EXCEL_ROWS:
        raise StreamproofError(
            f"{count:,} windows do not fit into a table of Excel, which has {_EXCEL_ROWS:,} rows: "
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
                    f"window {number:,} has a text of more than {_EXCEL_CHARACTERS:,} characters, which a cell of "
                    "Excel would cut: choose --format parquet"
                )
