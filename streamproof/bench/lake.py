"""The lake: how fast rows get into it from a full topic, and how fast SQL reads them there."""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import duckdb

from streamproof.bench.full_topic import fill_topic, new_run
from streamproof.bench.measure import Benchmark, NotProvenError, Once
from streamproof.core.run import Run, new_run_id
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.sql_quoting import literal
from streamproof.sinks.lake.catalogue import LakeSettings, open_catalogue
from streamproof.sinks.sink import Limits, Sink

_LIMITS = Limits(rows=150_000, seconds=1.0)
_ASKED = 5
_QUERY = """
SELECT category, product_id, date_trunc('day', event_time) AS day, count(*), sum(rating), max(user_id)
FROM {rows} GROUP BY ALL
"""


@cache
def _filled(rows: int) -> Run:
    return fill_topic(new_run(f"lake-{new_run_id()}", rows))


@contextmanager
def _stored(run: Run) -> Iterator[tuple[HomeSettings, float, float]]:
    """Store a run in a lake of its own, and prove it there; yield the home that it lies in, and what that took.

    The seconds are of the clock and of processors.
    """
    from streamproof.sinks.lake.check import check_lake
    from streamproof.sinks.lake.target import LakeTarget

    with tempfile.TemporaryDirectory(prefix="bench-", dir=HomeSettings().home) as folder:
        home = HomeSettings(home=Path(folder))
        catalogue = open_catalogue(LakeSettings(), home)
        target = LakeTarget("the lake", catalogue, run.contract, KafkaSettings())
        topics = [run.contract.topics.rows, run.contract.topics.dead_letters]
        began, worked = time.monotonic(), time.process_time()
        Sink(target, lambda: topics, KafkaSettings(), limits=_LIMITS).run(threading.Event(), lambda: True)
        seconds, cpu = time.monotonic() - began, time.process_time() - worked
        found = check_lake(run.run, HomeSettings(), catalogue, target.name)
        if not found.is_right:
            raise NotProvenError("; ".join(found.doubts()))
        target.look_after()
        yield home, seconds, cpu


def _sink(rows: int) -> Once:
    with _stored(_filled(rows)) as (_, seconds, cpu):
        return Once(rows / seconds, {"processors, µs/row": cpu / rows * 1e6})


def _sql(rows: int) -> Once:
    """Ask the same of the lake, with all that it takes to find its files, and of one Parquet file of the same rows."""
    from streamproof.sinks.lake.query import create_lake_views

    run = _filled(rows)
    with _stored(run) as (home, _, _), duckdb.connect() as db:
        catalogue = open_catalogue(LakeSettings(), home)
        create_lake_views(db, catalogue, run.contract.name)
        file = home.home / "rows.parquet"
        db.execute(f"COPY (FROM processed) TO {literal(str(file))}")

        def of_lake() -> None:
            create_lake_views(db, catalogue, run.contract.name)
            db.execute(_QUERY.format(rows="processed")).fetchall()

        def of_file() -> None:
            db.execute(_QUERY.format(rows=literal(str(file)))).fetchall()

        lake, one_file = zip(*((_seconds(of_lake), _seconds(of_file)) for _ in range(_ASKED)), strict=True)
    seconds = {"in the lake, s": statistics.median(lake), "in one file, s": statistics.median(one_file)}
    return Once(statistics.median(lake) / statistics.median(one_file), seconds)


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


LAKE = {
    "lake.sink": Benchmark(
        "rows/s", _sink, 2_000_000, "a full topic into the lake's three tables; it needs Kafka alone", servers=False
    ),
    "lake.sql": Benchmark(
        "times", _sql, 5_000_000, "a question to the lake, after compaction, against one Parquet file", servers=False
    ),
}
