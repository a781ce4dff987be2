"""What Kafka holds of a question stands in PostgreSQL, each result once, whatever becomes of sink and server."""

import itertools
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from waiting import until

pytestmark = pytest.mark.usefixtures("own_servers")


def test_results_are_stored_once_with_their_types(new_job, query):
    job = new_job()
    job.write([job.result(n) for n in range(1000)])
    job.write([job.result(n) for n in range(1000, 1200)], commit=False)
    assert job.store() == 1000
    assert job.store() == 0
    job.write([job.result(n) for n in range(1000, 1500)])
    assert job.store() == 500
    view = f"{job.stream}_sales"
    assert query(f"SELECT count(*), count(DISTINCT (window_start, item)) FROM {view}") == [(1500, 1500)]
    assert query(f"SELECT * FROM {view} WHERE sales = 107") == [
        ("r1", datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC), datetime(2023, 11, 14, 22, 13, 22, tzinfo=UTC), "0007X",
         Decimal("26.75"), 107, datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC), 107.1, True, False),
    ]  # fmt: skip


class Killed:
    """A sink as a process, which a test kills."""

    def __init__(self):
        command = [sys.executable, "-m", "streamproof.sinks", "postgres"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=pytest.mark.long)])
def test_a_sink_that_is_killed_at_any_moment_stores_each_result_once(new_job, query, kills):
    job, chance = new_job(), random.Random(kills)
    count = 20_000 * kills
    job.write([job.result(0)])
    assert job.store() == 1
    view = f"{job.stream}_sales"
    query(f'DROP INDEX "{view}_v1_key"')  # offsets alone are to tell what is stored
    job.write(job.result(n) for n in range(1, count))
    stored = [1]
    # Later and later, and as often as it takes: a machine may be too slow to commit anything between the first kills.
    for number in itertools.takewhile(lambda n: n < kills or len(set(stored)) == 1, itertools.count()):
        sink = Killed()
        until(lambda: is_writing(query, "COPY%") or rows_in(query, view) == count, look=0.002)
        moment = time.monotonic() + chance.random() / 3 * max(1, number / kills)
        until(lambda moment=moment: time.monotonic() >= moment, look=0.001)
        sink.kill()
        until(lambda: not is_writing(query, "%"), look=0.01)
        stored.append(rows_in(query, view))
    job.store(rows=20_000)
    assert query(f"SELECT count(*), count(DISTINCT (window_start, item)) FROM {view}") == [(count, count)]
    assert len(set(stored)) > 1, stored
    print(stored)


def rows_in(query, view):
    return query(f"SELECT count(*) FROM {view}")[0][0]


def is_writing(query, what):
    return query(
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE application_name = 'streamproof' AND state <> 'idle' AND query LIKE '{what}'"
    )[0][0]
