"""The ranks of a question's windows, what became of each mark, and the rows behind one."""

from datetime import datetime

import pytest

from streamproof.core.question import parse_question
from validation.answers import Answers
from validation.comparison import AnswerCounts, create_judged
from validation.live.results import POINTS, QuestionResults
from validation.live.rows_over_time import PARTS, rows_over_time

RANKED = """-- Who is rated most?
-- stream = "ratings"
-- window = "tumbling 4s"
-- key = ["product_id"]
-- page = { value = "n", label = "who", latitude = "lat", longitude = "lon", draw = ["map"] }
SELECT window_start, window_end, product_id, COUNT(*) AS n, MIN(user_id) AS who,
       CAST(1.5 AS DOUBLE) AS lat, CAST(2.5 AS DOUBLE) AS lon
FROM windowed GROUP BY window_start, window_end, product_id"""


@pytest.fixture
def written(any_run, results_of):
    return results_of(any_run, parse_question("ranked", RANKED, "ranked.sql"))


def write(written, start, counts):
    for key, n in counts.items():
        written.add(start, start + 4000, product_id=key, n=n, who=f"of {key}", lat=1.5, lon=2.5)


def ranked(db, written):
    return QuestionResults(db, Answers(written.question, "job", 0))


def test_the_greatest_values_of_each_window_are_its_marks_by_label_and_place(db, written):
    write(written, 0, {"a": 1, "b": 3, "c": 3})
    write(written, 4000, {"a": 2})
    results = ranked(db, written)
    assert results.numbers == ["n"]  # where something is, is nothing to draw
    marks = results.marks("n", [4000, 8000], most=2)
    assert [(mark.key, mark.value) for mark in marks[4000]] == [(("b",), 3), (("c",), 3)]
    assert [mark[2:] for mark in marks[8000]] == [(2, "of a", 1.5, 2.5)]
    write(written, 4000, {"a": 2})
    assert len(results.marks("n", [8000])[8000]) == 1  # written twice, it is one mark
    assert list(results.ranked_windows(4001)) == [4000]
    assert list(results.ranked_windows(8000)) == [4000, 8000]


def test_of_many_windows_the_last_of_each_few_is_ranked(db, written):
    for number in range(POINTS + 1):
        write(written, 4000 * number, {"a": 1})
    ends = list(ranked(db, written).ranked_windows(10**9))
    assert len(ends) <= POINTS
    assert ends[-1] == 4000 * (POINTS + 1)


def test_a_mark_is_right_unless_the_comparison_says_otherwise_and_a_window_counts_all(db, written):
    write(written, 0, {"a": 1, "b": 3})
    write(written, 4000, {"a": 2})
    results, answers = ranked(db, written), Answers(written.question, "job", 0)
    create_judged(db, answers)
    marks = results.marks("n", [4000, 8000])
    assert results.judged(marks) == ({}, {})
    end = datetime(1970, 1, 1, 0, 0, 4)  # noqa: DTZ001 - as DuckDB has it
    for verdict, key, n in (("right", None, 1), ("wrong", ["b"], 1), ("missing", None, 4), ("doubled", ["z"], 2)):
        db.execute("INSERT INTO judged_0 VALUES (?, ?, ?, ?)", [end, verdict, key, n])
    counts, not_right = results.judged(marks)
    assert counts == {4000: AnswerCounts(right=1, wrong=1, missing=4, extra=2)}
    assert not_right == {(4000, ("b",)): "wrong"}


def test_rows_are_counted_part_by_part_beside_the_mean_of_a_longer_time(db):
    db.execute(
        "CREATE TABLE sent AS SELECT 'B' AS category, make_timestamp_ms(n * 500) AS event_time, "
        "CASE WHEN n % 4 = 0 THEN 'x' ELSE 'y' END AS product_id FROM range(0, 600) AS t(n)"
    )  # five minutes, two rows a second; every other second one is x
    found = rows_over_time(db, [{"place": "1"}, {"place": "1", "product_id": "x"}], 240_000, 4_000)
    assert (found.fields, found.begin, found.part) == ({"product_id": "x"}, 180_000, 1000)
    assert found.counts == [1, 0] * (PARTS // 2)
    assert (found.since, found.mean) == (0, 0.5)
    assert rows_over_time(db, [{"product_id": "x"}], 240_000, 120_000).counts == [1] * PARTS
    assert rows_over_time(db, [{"place": "1"}, {}], 240_000, 4_000) is None
