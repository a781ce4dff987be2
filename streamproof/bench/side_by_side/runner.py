"""The project's job and validation beside other programs that compute the same windows of the same rows.

The others need not be right: what they are asked is compared with the batch truth, and how many windows differ stands
beside their figure. Libraries that do not resolve beside Flink get an environment each, in ``HOME/bench``; the others
are the extra ``benchmarks``.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import duckdb
from pydantic import BaseModel

from streamproof.bench.full_topic import BATCH_ROWS, fill_topic, new_run, remove_topics
from streamproof.bench.ground import CONTRACT, KEY, MEASURE, QUESTION, WINDOW
from streamproof.bench.measure import Benchmark, Once, Result
from streamproof.bench.side_by_side.own_job import from_full_topic
from streamproof.core.errors import StreamproofError
from streamproof.core.run import Run, new_run_id
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.topics import ensure_topics, partitions_of
from validation.answers import Answers, Wanted, results_table, truth_table
from validation.comparison import AnswerCounts, compare
from validation.csv_rows import read_rows
from validation.truth import compute_truth, number_rows
from validation.verdict import open_database, validate

_PACKAGE = Path(__file__).parents[2]
LIBRARIES = {
    "bytewax": "bytewax[kafka]==0.21.1",
    "quixstreams": "quixstreams==3.28.1",
}
"""What does not resolve beside the project's own packages."""

_PATIENCE_S = 1800


class Said(BaseModel):
    """What a program has answered; ``question.Progress`` says what it means."""

    rows: int
    windows: int
    seconds: float
    cpu_seconds: float
    memory_mb: float | None = None


def python_of(library: str | None) -> Path:
    """Return the Python that has a library, which is installed where it is not; None is the project's own.

    Raises:
        StreamproofError: it cannot be installed.

    """
    if library is None:
        return Path(sys.executable)
    folder, wanted = HomeSettings().home / "bench" / library, LIBRARIES[library]
    python, stamp, installed = folder / "bin" / "python", folder / "installed", f"{wanted}, {_PACKAGE}"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != installed:
        uv = str(Path(sys.executable).parent / "uv")
        for command in (
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(python), wanted],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise StreamproofError(f"{wanted} cannot be installed: {done.stderr[-2000:]}")
        # The programs themselves, without what else is installed beside them here.
        (packages,) = folder.glob("lib/python*/site-packages")
        (packages / _PACKAGE.name).symlink_to(_PACKAGE)
        stamp.write_text(installed, encoding="utf-8")
    return python


def windows(program: str, rows: int, *, interval: Fraction, library: str | None = None) -> Once:
    """Let a streaming program compute the windows of a full topic of its own."""
    run, job = fill_topic(new_run(new_run_id(), rows, interval=interval)), program.removeprefix("windows_")
    topics, kafka, results = run.contract.topics, KafkaSettings(), QUESTION.topic(run.contract)
    try:
        ensure_topics([results], kafka)
        said = ask(
            program,
            {
                "servers": kafka.servers,
                "key": KEY,
                "measure": MEASURE,
                "rows": topics.rows,
                "windows": results,
                "run": run.run,
                "job": f"{job}-{run.run}",
                "size": WINDOW.size,
                "slide": WINDOW.slide,
                "partitions": len(partitions_of(topics.rows, kafka)),
                "lateness": int(BATCH_ROWS * interval),
            },
            library,
        )
        wanted = Wanted(f"{job}-{run.run}", WINDOW.size, WINDOW.slide, QUESTION.name)
        found = validate(run.run, HomeSettings(), kafka, wanted=wanted).windows
    finally:
        remove_topics(run)
    return _once(run, said, found)


def batch(program: str, rows: int) -> Once:
    """Let a batch program compute the windows of a run that was never sent."""
    run = new_run(f"batch-{new_run_id()}", rows)
    home = HomeSettings()
    home.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="batch-", dir=home.home) as folder:
        manifest, output = Path(folder) / "manifest.json", Path(folder) / "windows.parquet"
        manifest.write_text(run.model_dump_json(), encoding="utf-8")
        said = ask(program, batch_question(manifest, output))
        found = compare_with_truth(run, output)
    return _once(run, said, found)


def batch_question(manifest: Path, output: Path) -> dict[str, object]:
    """Return what a batch program is asked (``question.BatchQuestion``)."""
    return {
        "manifest": manifest,
        "columns": ",".join(CONTRACT.csv.columns),
        "key": KEY,
        "measure": MEASURE,
        "size": WINDOW.size,
        "slide": WINDOW.slide,
        "output": output,
    }


def ask(program: str, asked: Mapping[str, object], library: str | None = None) -> Said:
    """Run a program of this folder and return its answer.

    Raises:
        StreamproofError: it fails.

    """
    command = [str(python_of(library)), "-m", f"{__package__}.{program}"]
    command += [part for name, value in asked.items() for part in (f"--{name}", str(value))]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    if done.returncode:
        raise StreamproofError(f"{program} failed: {done.stderr[-2000:]}")
    return Said.model_validate(json.loads(done.stdout.splitlines()[-1]))


def compare_with_truth(run: Run, file: Path) -> AnswerCounts:
    """Compare the windows in a Parquet file (see ``question.BatchQuestion``) with those of the validation."""
    with open_database(file.parent) as db:
        number_rows(db, run, read_rows(db, run))
        compute_truth(db, run, QUESTION, truth_table(0))
        _read_windows(db, file)
        return compare(db, Answers(QUESTION, "file", 0))


def _read_windows(db: duckdb.DuckDBPyConnection, file: Path) -> None:
    db.execute(
        f"""
        CREATE TABLE {results_table(0)} AS
        SELECT row_number() OVER () AS _arrival, 'file' AS _job, $size AS _size, $slide AS _slide, 'sliding' AS _kind,
               true AS _whole, category, "{KEY}",
               make_timestamp_ms(window_start) AS window_start, make_timestamp_ms(window_start + $size) AS window_end,
               n AS {MEASURE}_count, total::DECIMAL(38, 1) AS {MEASURE}_sum, total / n AS {MEASURE}_avg,
               least::DECIMAL(38, 1) AS {MEASURE}_min, greatest::DECIMAL(38, 1) AS {MEASURE}_max
        FROM read_parquet($file)
        """,
        {"size": WINDOW.size, "slide": WINDOW.slide, "file": str(file)},
    )


def _once(run: Run, said: Said, found: AnswerCounts) -> Once:
    rows = sum(counts.sent for counts in run.rows.values())
    differ = found.wrong + found.missing + found.extra
    if said.rows != rows or said.windows != found.right + found.wrong + found.extra:
        raise StreamproofError(f"of {rows} rows it read {said.rows}; of {said.windows} windows these came: {found}")
    parts = {
        "CPU, µs/row": said.cpu_seconds / rows * 1e6,
        "windows equal to the batch": float(found.right),
        "windows not equal to the batch": float(differ),
    }
    if differ:
        parts |= {f"windows {what}": float(getattr(found, what)) for what in ("wrong", "missing", "extra")}
    if said.memory_mb:
        parts["memory, MB"] = said.memory_mb
    return Once(said.rows / said.seconds, parts, right=not differ)


DENSE, SPARSE = Fraction(10), Fraction(1000)
"""Milliseconds between two rows of a category. Dense, a window holds 15 rows of a key on average, and what counts
is the adding up; sparse, at the default pace, there are four windows for each row, and what counts is the writing."""

_ROWS = {DENSE: 200_000, SPARSE: 100_000}
_BATCH_ROWS = 1_000_000

_STREAMING = {
    "datastream": ("windows_flink_datastream", "PyFlink's DataStream API and a Python aggregate", None),
    "bytewax": ("windows_bytewax", LIBRARIES["bytewax"], "bytewax"),
    "quixstreams": (
        "windows_quixstreams",
        f"{LIBRARIES['quixstreams']}; each key's last windows stay open",
        "quixstreams",
    ),
}
_BATCH = {
    "duckdb": "DuckDB, the validation's own way",
    "pandas": "pandas",
    "polars": "polars",
}


def _benchmarks() -> dict[str, Benchmark]:
    found = {}
    for ending, rate, interval in (("", "100 rows/s", DENSE), (".sparse", "1 row/s", SPARSE)):
        rows, about = _ROWS[interval], f"30 s / 5 s from a full topic, {rate} a category:"
        own = partial(from_full_topic, interval=interval)
        found[f"windows.flink{ending}"] = Benchmark("rows/s", own, rows, f"{about} the project's job, proven")
        for name, (program, what, library) in _STREAMING.items():
            run = partial(windows, program, interval=interval, library=library)
            found[f"windows.{name}{ending}"] = Benchmark("rows/s", run, rows, f"{about} {what}")
    for name, what in _BATCH.items():
        about, needs = f"30 s / 5 s from CSV files: {what}", (name, "pip install 'streamproof[benchmarks]'")
        run = partial(batch, f"batch_{name}")
        found[f"validate.{name}"] = Benchmark("rows/s", run, _BATCH_ROWS, about, servers=False, program=needs)
    return found


SIDE_BY_SIDE = _benchmarks()
"""Every benchmark of this folder by its name."""

_BESIDE = {f"windows.{name}{density}": f"windows.flink{density}" for density in ("", ".sparse") for name in _STREAMING}
_BESIDE |= {f"validate.{name}": "validate.duckdb" for name in _BATCH if name != "duckdb"}


def say_ratios(results: Sequence[Result]) -> list[str]:
    """Say how the project's own way compares with each of the others that was measured on as many rows."""
    found = {result.name: result for result in results if result.median}
    pairs = [(found[own], found[other]) for other, own in _BESIDE.items() if own in found and other in found]
    return [
        f"{own.name}: {(own.median or 0) / (other.median or 1):.3g} times the rows/s of {other.name}"
        for own, other in pairs
        if own.rows == other.rows
    ]
