"""What the page asks the windows of a job: products, averages, distributions, changes."""

import duckdb
import pytest

from validation.jobs import Job
from validation.kafka_records import _TABLES
from validation.live.ratings import BINS, POINTS, Mover, Product, Windows

JOB = Job("job", 4000, 2000)


@pytest.fixture
def db():
    with duckdb.connect() as db:
        db.execute(_TABLES)
        yield db


def write(db, name, start, values, job="job", end=None):
    """Write a window, of 4 s if no end is given; name: [CATEGORY/]KEY; values: count and average."""
    category, _, key = name.rpartition("/")
    db.execute(
        "INSERT INTO kafka_windows BY NAME SELECT ? AS job, 4000 AS window_size, 2000 AS window_slide, "
        "? AS category, ? AS key, ? AS window_start, ? AS window_end, ? AS n, ? AS average, 1 AS least, 5 AS greatest",
        [job, category or "Books", key, start, end or start + 4000, *values],
    )


def test_products_are_found_by_the_begin_of_their_key_and_their_rows_counted_once(db):
    for start in (0, 2000, 4000):
        write(db, "0001X", start, (2, 4.0))
    write(db, "Music/0001Y", 0, (3, 4.0))
    write(db, "0002Z", 0, (9, 4.0))
    assert Windows(db, JOB).search("0001") == [Product("Books", "0001X", 4), Product("Music", "0001Y", 3)]
    assert Windows(db, JOB, "Music").search("0001") == [Product("Music", "0001Y", 3)]
    assert Windows(db, JOB).search("it's") == []


def test_windows_of_other_jobs_are_left_out(db):
    write(db, "A", 0, (1, 1.0))
    write(db, "A", 0, (1, 2.0), job="it's another")
    assert Windows(db, JOB).series("Books", "A").averages == [1.0]
    assert Windows(db, Job("it's another", 4000, 2000)).series("Books", "A").averages == [2.0]


def test_a_long_line_is_thinned_out_to_its_newest_window_and_says_so(db):
    db.execute(
        "INSERT INTO kafka_windows BY NAME SELECT 'job' AS job, 4000 AS window_size, 2000 AS window_slide, "
        "'Books' AS category, 'A' AS key, i * 2000 AS window_start, i * 2000 + 4000 AS window_end, 1 AS n, "
        "3.0 AS average FROM range(1000) t(i)"
    )
    series = Windows(db, JOB).series("Books", "A")
    assert series.step == 3
    assert len(series.ends) <= POINTS
    assert series.ends[-1] == 999 * 2000 + 4000
    assert len(Windows(db, JOB).sizes()) <= POINTS


def test_the_distribution_of_a_run_counts_each_row_once(db):
    for start, total in ((0, 2), (2000, 9), (4000, 10)):
        write(db, "A", start, (2, total / 2))
        db.execute("UPDATE kafka_windows SET total = ? WHERE window_start = ?", [total, start])
    write(db, "B", 4000, (1, 5.0))
    db.execute("UPDATE kafka_windows SET total = 5 WHERE key = 'B'")
    bins = Windows(db, JOB).distribution_of_run((1.0, 5.0))
    assert {number: products for number, products in enumerate(bins) if products} == {10: 1, BINS - 1: 1}


def test_an_average_on_the_edge_of_a_bin_lies_in_the_one_that_begins_there(db):
    for number, key in enumerate("ABCDEFGHIJKLMNOPQRST"):  # 1.0, 1.2 … 4.8; 3.8 - 1 divided by 0.2 is not quite 14
        write(db, key, 0, (1, round(1 + number / 5, 1)))
    assert Windows(db, JOB).distribution(4000, (1.0, 5.0)) == [1] * BINS


def test_the_newest_window_is_the_last_that_event_time_has_passed(db):
    assert Windows(db, JOB).newest(0) is None
    for start in (0, 2000, 4000):
        write(db, "A", start, (1, 1.0))
    assert Windows(db, JOB).newest(6500) == 6000
    assert Windows(db, JOB).newest(1) == 4000


def test_most_rated_and_most_changed_compare_with_the_window_before(db):
    write(db, "A", 0, (1, 1.0))
    write(db, "B", 0, (1, 3.0))
    write(db, "A", 4000, (1, 5.0))
    write(db, "B", 4000, (7, 3.5))
    write(db, "C", 4000, (2, 2.0))
    windows = Windows(db, JOB)
    assert [mover.key for mover in windows.most_rated(8000)] == ["B", "C", "A"]
    assert windows.most_changed(8000)[0] == Mover("Books", "A", 1, 5.0, 1.0)
    assert windows.most_changed(8000)[-1] == Mover("Books", "C", 2, 2.0, None)


def test_a_distribution_counts_each_product_once_with_the_greatest_in_the_last_bin(db):
    for key, average in (("A", 1.0), ("B", 5.0), ("C", 4.9), ("D", 3.0)):
        write(db, key, 0, (1, average))
    windows = Windows(db, JOB)
    bins = windows.distribution(4000, windows.bounds())
    assert (bins[0], bins[BINS // 2], bins[-1], sum(bins)) == (1, 1, 2, 4)
    assert sum(windows.distribution(6000, (1.0, 1.0))) == 0


def test_of_cumulative_windows_those_of_a_whole_period_count_each_row_once(db):
    for start, end, n in ((0, 2000, 1), (0, 4000, 3), (4000, 6000, 2), (4000, 8000, 2)):
        write(db, "A", start, (n, 4.0), end=end)
    db.execute("UPDATE kafka_windows SET window_kind = 'cumulative', total = 4 * n")
    assert Windows(db, JOB).newest(9000) is None
    job = Job("job", 4000, 2000, "cumulative")
    windows = Windows(db, job)
    assert (windows.newest(7000), job.start_of(6000), job.start_of(8000)) == (6000, 4000, 4000)
    assert windows.search("A")[0].rows == 3 + 2
    assert sum(windows.distribution_of_run((1.0, 5.0))) == 1


def test_without_averages_the_sums_tell_them_and_without_sums_nothing_is_drawn(db):
    write(db, "A", 0, (2, None))
    write(db, "B", 0, (2, None))
    db.execute("UPDATE kafka_windows SET total = 9 WHERE key = 'A'")
    windows = Windows(db, JOB)
    assert windows.series("Books", "A").averages == [4.5]
    assert windows.series("Books", "B").averages == [None]
    assert sum(windows.distribution(4000, (1.0, 5.0))) == 1
    assert {mover.key: mover.average for mover in windows.most_rated(4000)} == {"A": 4.5, "B": None}
