"""The windows that a job wrote, as CSV, JSON or Parquet."""

import shutil
import sys
from pathlib import Path
from typing import Literal

import duckdb

from streams.errors import StreamproofError
from streams.run import load_run
from streams.settings import HomeSettings, KafkaSettings
from validation.jobs import Wanted, find_job, why_no_job
from validation.kafka_records import RunRecords
from validation.verdict import open_database

Format = Literal["csv", "json", "parquet"]
_COPY = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json, ARRAY true", "parquet": "FORMAT parquet, COMPRESSION zstd"}


def export_windows(  # noqa: PLR0913 - where from, what, and where to
    run: str, home: HomeSettings, kafka: KafkaSettings, *, wanted: Wanted, form: Format, output: Path | None
) -> None:
    """Write the wanted job's windows of a run to ``output``, or to standard output, ordered by category, key and start.

    In CSV and JSON the window bounds are ISO 8601 in UTC; in Parquet they are timestamps. Windows are given as they
    were written: one that was written twice stands there twice.

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
        measure, scale = contract.measure, contract.fields[contract.measure].scale or 0
        sums, values = f"DECIMAL(38, {scale})", f"DECIMAL(18, {scale})"
        db.execute("SET preserve_insertion_order = true")
        db.execute(
            f"""
            CREATE TABLE exported AS
            SELECT category, key AS {contract.key},
                   {_bound("window_start", form)} AS window_start, {_bound("window_end", form)} AS window_end,
                   n AS {measure}_count, total::{sums} AS {measure}_sum, average AS {measure}_avg,
                   least::{values} AS {measure}_min, greatest::{values} AS {measure}_max
            FROM kafka_windows WHERE job = ? AND window_size = ? AND window_slide = ?
            ORDER BY category, key, kafka_windows.window_start, arrival
            """,
            [job.name, job.size, job.slide],
        )
        _write(db, form, output, home.runs / run)


def _bound(column: str, form: Format) -> str:
    moment = f"make_timestamp_ms({column})"
    if form == "parquet":
        return moment
    whole, part = (f"strftime({moment}, '%Y-%m-%dT%H:%M:%S{digits}Z')" for digits in ("", ".%g"))
    return f"CASE WHEN {column} % 1000 = 0 THEN {whole} ELSE {part} END"


def _write(db: duckdb.DuckDBPyConnection, form: Format, output: Path | None, folder: Path) -> None:
    half = folder / f"windows.{form}.half" if output is None else output.with_name(output.name + ".half")
    try:
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
