"""A file of SQLite holds each result once, as it stands in Kafka, or says why it cannot."""

import sqlite3
import threading
from contextlib import closing

import pytest

from streamproof.core.errors import UsageError
from streamproof.sinks.sqlite import Sqlite
from streamproof.sinks.tables import Catalogue
from streamproof.sinks.target import FencedError

pytestmark = pytest.mark.usefixtures("own_servers")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "kept.sqlite"


def opened(file):
    catalogue = Catalogue(None)
    catalogue.topics()
    return closing(Sqlite(file, "live", catalogue, lambda _: None))


def store(job, file):
    with opened(file) as target:
        return job.sink(target).run(threading.Event(), lambda: True)


def rows(file, sql):
    with closing(sqlite3.connect(file)) as db:
        return db.execute(sql).fetchall()


def test_results_are_stored_once_with_their_values(new_job, file):
    job = new_job()
    job.write([job.result(n) for n in range(1000)])
    assert store(job, file) == 1000
    assert store(job, file) == 0
    job.write([job.result(n, item=None) for n in (1000, 1100, 1200)])
    assert store(job, file) == 3
    view = f"{job.stream}_sales"
    assert rows(file, f"SELECT count(*), count(DISTINCT window_start || item) FROM {view}") == [(1003, 1000)]
    assert rows(file, f"SELECT * FROM {view} WHERE sales = 107") == [
        ("r1", "2023-11-14T22:13:21Z", "2023-11-14T22:13:22Z", "0007X", 26.75, 107, "2023-11-14T22:13:21Z", 107.1, 1, 0)
    ]


def test_of_one_key_the_first_stays_also_where_it_is_null(new_job, file):
    job = new_job()
    job.write([job.result(7, item=None), job.result(7, item=None, sales=8), job.result(7)], partition=0)
    store(job, file)
    assert rows(file, f"SELECT item, sales FROM {job.stream}_sales ORDER BY 1") == [(None, 7), ("0007X", 7)]


@pytest.mark.parametrize("values", [{"turnover": "1234567890123456.78"}, {"sales": 2**63}, {"is_often": "maybe"}])
def test_a_value_that_does_not_fit_is_named(new_job, file, values):
    job = new_job()
    job.write([job.result(1), job.result(2) | values], partition=0)
    with pytest.raises(UsageError, match=rf"does not fit a column of SQLite .* record {job.topic}/0/1"):
        store(job, file)
    assert rows(file, "SELECT count(*) FROM streamproof_places") == [(0,)]


def test_the_second_of_two_writers_is_refused(new_job, file):
    job = new_job()
    job.write([job.result(n) for n in range(10)])
    with opened(file) as first, opened(file) as second:
        job.sink(first).run(threading.Event(), lambda: True)
        second.places = dict
        with pytest.raises(FencedError, match="another sink has stored what follows"):
            job.sink(second).run(threading.Event(), lambda: True)


def test_a_file_that_is_no_database_is_refused(file):
    file.write_text("no database at all, " * 100)
    with pytest.raises(UsageError, match="file is not a database"):
        opened(file)
