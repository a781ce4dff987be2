"""What the page asks the answers to a question: keys, lines, distributions, changes, alerts."""

from dataclasses import replace
from decimal import Decimal

import pytest
from written_results import WrittenAlerts

from streamproof.core.question import Page, load_question, parse_question
from streamproof.core.window import Window
from validation.answers import Answers
from validation.live.results import BINS, POINTS, AlertSoFar, Mover, Point, QuestionResults

ALL = (0, 10**9)


@pytest.fixture
def written(any_run, averages, results_of):
    return results_of(any_run, averages)


def write(written, name, start, values, end=None, **more):
    """Write a window, of 4 s if no end is given; name: [CATEGORY/]KEY; values: count and average."""
    category, _, key = name.rpartition("/")
    count, average = values
    written.add(
        start, end or start + 4000, category=category or "Books", product_id=key, rating_count=count,
        rating_sum=count * average, rating_avg=average, rating_min=1.0, rating_max=5.0, **more,
    )  # fmt: skip


def read(db, averages, job="job", category=None):
    return QuestionResults(db, Answers(averages, job, 0), category)


def middles(points):
    return [point.middle for point in points]


def test_the_columns_are_the_question_s_and_its_file_says_which_are_drawn(db, written, averages):
    results = read(db, written.question)
    assert results.key == ("category", "product_id")
    assert results.columns == ["rating_count", "rating_sum", "rating_avg", "rating_min", "rating_max"]
    assert results.numbers == results.columns
    assert (results.value, results.weight) == ("rating_avg", "rating_count")
    silent = averages.header.model_copy(update={"page": Page()})
    results = read(db, replace(averages, header=silent))
    assert (results.value, results.weight) == ("rating_count", "rating_count")


def test_keys_are_found_by_the_begin_of_one_of_their_values_those_with_most_weight_first(db, written, averages):
    for start in (0, 2000, 4000):
        write(written, "0001X", start, (2, 4.0))
    write(written, "Music/0001Y", 0, (3, 4.0))
    write(written, "0002Z", 0, (9, 4.0))
    x, y, z = ("Books", "0001X"), ("Music", "0001Y"), ("Books", "0002Z")
    assert read(db, averages).search("0001") == [x, y]
    assert read(db, averages).search("mus") == [y]
    assert read(db, averages).search("") == [z, x, y]
    assert read(db, averages, category="Music").search("0001") == [y]
    assert read(db, averages).search("it's") == []


def test_answers_of_other_jobs_are_left_out(db, written, averages):
    write(written, "A", 0, (1, 1.0))
    write(written, "A", 0, (1, 2.0), job="it's another")
    assert middles(read(db, averages).series(("Books", "A"), "rating_avg", ALL)) == [1.0]
    assert middles(read(db, averages, "it's another").series(("Books", "A"), "rating_avg", ALL)) == [2.0]


def test_of_a_long_line_each_point_has_the_least_middle_and_greatest_of_several_windows(db, written, averages):
    write(written, "A", 0, (1, 3.0))
    db.execute(
        "INSERT INTO results_0 BY NAME SELECT r.* REPLACE ("
        "make_timestamp_ms(i * 2000) AS window_start, make_timestamp_ms(i * 2000 + 4000) AS window_end, "
        "i % 3 AS rating_avg) FROM results_0 r, range(1, 1000) t(i)"
    )
    results = read(db, averages)
    span = results.span(None, 0)
    assert span == (4000, 999 * 2000 + 4000)
    assert results.windows_a_point(span) == 10
    points = results.series(("Books", "A"), "rating_avg", span)
    assert len(points) <= POINTS + 1
    assert points[-1].end == span[1]
    assert points[1] == Point(2000 * 19, 1.0, 0.0, 2.0, 10)
    assert sum(point.windows for point in points) == 1000
    assert len(results.sizes(span)) <= POINTS + 1
    newest = results.span(60, closed_by=span[1] + 1)
    assert newest == (span[1] - 59 * 2000, span[1])
    assert [point.windows for point in results.series(("Books", "A"), "rating_avg", newest)] == [1] * 60


def test_the_newest_window_is_the_last_that_event_time_has_passed(db, written, averages):
    assert read(db, averages).newest(0) is None
    assert read(db, averages).span(None, 0) is None
    for start in (0, 2000, 4000):
        write(written, "A", start, (1, 1.0))
    assert read(db, averages).newest(6500) == 6000
    assert read(db, averages).newest(1) == 4000


def test_the_window_has_most_weight_first_and_what_changed_most_is_told(db, written, averages):
    write(written, "A", 0, (1, 1.0))
    write(written, "B", 0, (1, 3.0))
    write(written, "A", 4000, (1, 5.0))
    write(written, "B", 4000, (7, 3.5))
    write(written, "C", 4000, (2, 2.0))
    results = read(db, averages)
    columns, rows = results.window(8000)
    assert columns == ["category", "product_id", *results.columns]
    assert [row[1] for row in rows] == ["B", "C", "A"]
    assert rows[0][3] == Decimal("24.5")
    moved = results.most_changed("rating_avg", 8000)
    assert moved[0] == Mover(("Books", "A"), 1.0, 5.0, 1.0)
    assert moved[-1] == Mover(("Books", "C"), 2.0, 2.0, None)


def test_the_value_of_the_batch_stands_beside_that_of_the_stream_with_the_difference(db, written, averages):
    for key, count in (("A", 3), ("B", 2), ("C", 1)):
        write(written, key, 4000, (count, 3.5))
    write(written, "A", 0, (9, 1.0))
    off = "CASE product_id WHEN 'A' THEN 1e-14 WHEN 'B' THEN 0.5 ELSE 0 END"
    db.execute(f"CREATE TABLE truth_0 AS SELECT * REPLACE (rating_avg + {off} AS rating_avg) FROM results_0")
    db.execute("DELETE FROM truth_0 WHERE product_id = 'C'")
    columns, rows = read(db, averages).window(8000, beside="rating_avg")
    assert columns[-2:] == ["rating_avg of the batch", "difference"]
    assert [(row[1], *row[-2:]) for row in rows] == [("A", 3.5 + 1e-14, 0), ("B", 4.0, -0.5), ("C", None, None)]


def test_a_distribution_counts_each_answer_once_with_the_greatest_in_the_last_bin(db, written, averages):
    for key, average in (("A", 1.0), ("B", 5.0), ("C", 4.9), ("D", 3.0)):
        write(written, key, 0, (1, average))
    write(written, "A", 2000, (1, 5.0))
    results = read(db, averages)
    bins = results.distribution("rating_avg", results.bounds("rating_avg"), 4000)
    assert (bins[0], bins[BINS // 2], bins[-1], sum(bins)) == (1, 1, 2, 4)
    assert sum(results.distribution("rating_avg", (1.0, 5.0))) == 5
    assert sum(results.distribution("rating_avg", (1.0, 1.0), 8000)) == 0


def test_an_average_on_the_edge_of_a_bin_lies_in_the_one_that_begins_there(db, written, averages):
    for number, key in enumerate("ABCDEFGHIJKLMNOPQRST"):  # 1.0, 1.2 … 4.8; 3.8 - 1 divided by 0.2 is not quite 14
        write(written, key, 0, (1, round(1 + number / 5, 1)))
    assert read(db, averages).distribution("rating_avg", (1.0, 5.0), 4000) == [1] * BINS


def test_of_cumulative_windows_the_one_before_is_that_of_the_period_before(db, any_run, averages, results_of):
    question = averages.with_window(Window(4000, 2000, "cumulative"))
    written = results_of(any_run, question)
    for start, end, average in ((0, 2000, 1.0), (0, 4000, 3.0), (4000, 6000, 2.0), (4000, 8000, 4.0)):
        write(written, "A", start, (1, average), end)
    results = read(db, question)
    assert results.newest(7000) == 6000
    assert results.most_changed("rating_avg", 8000) == [Mover(("Books", "A"), 1.0, 4.0, 3.0)]
    assert read(db, averages).newest(9000) is None


def test_infinity_and_null_are_no_points_of_a_line_and_stand_in_the_table(db, written, averages):
    write(written, "A", 0, (1, 3.0))
    db.execute("UPDATE results_0 SET rating_avg = 'infinity', rating_sum = NULL")
    results = read(db, averages)
    assert results.series(("Books", "A"), "rating_avg", ALL) == []
    assert results.bounds("rating_avg") == (0.0, 1.0)
    assert results.window(4000).rows[0][3:5] == (None, float("inf"))


def test_a_key_of_numbers_is_text_and_has_its_own_line(db, any_run, results_of):
    question = load_question("rating_histogram")
    written = results_of(any_run, question)
    for rating, times in ((4.5, 2), (5.0, 7)):
        written.add(0, 30_000, category="Books", product_id="0000143502", rating=rating, times=times)
    results = QuestionResults(db, Answers(question, "job", 0))
    assert results.search("00001") == [("Books", "0000143502", "5.0"), ("Books", "0000143502", "4.5")]
    assert middles(results.series(("Books", "0000143502", "4.5"), "times", ALL)) == [2.0]
    assert (results.numbers, results.value) == (["times"], "times")


def test_without_a_key_each_window_has_one_line_and_alerts_that_fire_are_listed_before_the_past(
    db, any_run, results_of
):
    question = parse_question(
        "busy",
        "-- Is it busy?\n-- stream = 'ratings'\n-- window = 'tumbling 4s'\n-- key = []\n-- alert = 'n > 1'\n"
        "SELECT run, window_start, window_end, COUNT(*) AS n, MAX(user_id) AS who FROM windowed\n"
        "GROUP BY run, window_start, window_end",
        "busy.sql",
    )
    written = results_of(any_run, question)
    for start, n in ((0, 1), (4000, 2), (8000, 3)):
        written.add(start, start + 4000, n=n, who="u", alert=n > 1)
    alerts = WrittenAlerts(db, any_run, question)
    alerts.add("a", "firing", 0, 4000, 4000, n=2, who="u")
    alerts.add("a", "resolved", 4000, 8000, 4000, n=1, who="u")
    alerts.add("b", "firing", 8000, 12_000, 12_000, n=3, who="u")
    alerts.add("b", "repeated", 12_000, 16_000, 12_000, number=1, n=4, who="u")
    alerts.add("c", "pending", 12_000, 16_000, 16_000, n=3, who="u")
    results = QuestionResults(db, Answers(question, "job", 0))
    assert results.search("x") == [()]
    assert middles(results.series((), "n", results.span(None, 0))) == [1.0, 2.0, 3.0]
    assert results.alerts() == [
        AlertSoFar("firing", (), 12_000, 12_000, None, 1, 3),
        AlertSoFar("pending", (), 16_000, None, None, 0, None),
        AlertSoFar("resolved", (), 4000, 4000, 8000, 0, 2),
    ]
    assert results.count_alerts() == (1, 1, 2)
    assert results.most_changed("n", 12_000) == [Mover((), 3.0, 3.0, 2.0)]


def test_a_question_without_alerts_has_no_list_of_them(db, written):
    assert read(db, written.question).alerts() is None
