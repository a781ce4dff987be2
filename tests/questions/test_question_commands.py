"""``streamproof question list | show | check | plan | test``, in this process."""

import json

import pytest
from typer.testing import CliRunner

from flink_jobs.plan_in_words import plan_in_words
from flink_jobs.question_cli import app
from streamproof.core.contract import STREAMS
from streamproof.core.errors import UsageError
from streamproof.core.question import load_question, question_files, stream_questions

CASES = sorted(STREAMS.glob("*/*.test.toml"))

TOP = """-- Which products are rated most?
-- stream = "ratings"
-- window = "sliding 30s / 10s"
-- key = ["place"]

SELECT window_start, window_end, place, product_id, times FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY times DESC, product_id) AS place FROM (
        SELECT window_start, window_end, product_id, COUNT(*) AS times
        FROM windowed WHERE rating > 4 GROUP BY window_start, window_end, product_id) AS counted) AS ranked
WHERE place <= 2
"""
CASE = """rows = [
    { event_time = 2024-01-01T00:00:01Z, product_id = "a", rating = 5.0 },
    { event_time = 2024-01-01T00:00:02Z, product_id = "b", rating = 5.0 },
    { event_time = 2024-01-01T00:00:03Z, product_id = "b", rating = 4.5 },
    { event_time = 2024-01-01T00:00:04Z, product_id = "c", rating = 1.0 },
]
window = "tumbling 30s"
answers = [
    { window_start = 2024-01-01T00:00:00Z, window_end = 2024-01-01T00:00:30Z, place = 1, product_id = "b", times = 2 },
    { window_start = 2024-01-01T00:00:00Z, window_end = 2024-01-01T00:00:30Z, place = 2, product_id = "a", times = 1 },
]
"""


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def top(tmp_path):
    (tmp_path / "top_products.sql").write_text(TOP)
    (tmp_path / "top_products.test.toml").write_text(CASE)
    return tmp_path / "top_products.sql"


def test_the_list_has_every_question_of_every_stream():
    listed = {each["name"]: each for each in json.loads(run("list", "--json").stdout)["questions"]}
    assert set(listed) == {path.stem for path in question_files()}
    assert listed["rating_averages"] == {
        "name": "rating_averages",
        "stream": "ratings",
        "window": "30s/5s",
        "title": "How is each product rated?",
    }
    assert "rating_averages" in run("list").stdout


def test_show_prints_the_text():
    assert run("show", "rating_averages").stdout == load_question("rating_averages").text


def test_check_prints_the_columns_and_their_types(top):
    done = run("check", "rating_averages", top)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["rating_avg", "DOUBLE"] in lines
    assert ["times", "BIGINT"] in lines
    assert ["product_id", "STRING"] in lines
    assert done.stdout.count("it does not tell runs apart") == 1


def test_check_names_the_rule_of_each_question_that_is_refused_and_goes_on(top, tmp_path):
    (tmp_path / "wrong.sql").write_text(TOP.replace("COUNT(*) AS times", "AVG(rating) AS times"))
    done = run("check", tmp_path / "wrong.sql", tmp_path / "none.sql", top)
    assert done.exit_code == 2
    assert "CAST(SUM(x) AS DOUBLE) / COUNT(*)" in done.stderr
    assert "none.sql: cannot be read" in done.stderr
    assert "both engines take it" in done.stdout


def test_plan_says_in_words_what_flink_does(top):
    done = run("plan", top)
    assert done.stdout.splitlines() == [
        "1. read the stream's messages; their low watermarks are the clock",
        "2. keep the first copy of each row; copies are told apart in panes of 10 s",
        "3. keep what fulfils >(rating, 4)",
        "4. before the shuffle, aggregate slices of 10 s, by product_id",
        "5. put slices together into windows of 30 s, one each 10 s, by product_id",
        "6. within each window, order by times DESC, product_id ASC and keep the first 2",
    ]
    assert "GlobalWindowAggregate(groupBy=[product_id]" in run("plan", top, "--raw").stdout


def test_an_operator_that_has_no_words_is_shown_as_it_is():
    assert plan_in_words("New(a=[b])\n+- Exchange(x)\n   +- TableSourceScan(y)") == [
        "read the stream's messages; their low watermarks are the clock",
        "New: a=[b]",
    ]


def test_every_question_of_every_stream_has_a_test_of_six_rows_or_more():
    assert {path.with_name(path.name.replace(".test.toml", ".sql")) for path in CASES} == set(question_files())
    assert all(path.read_text().count("event_time =") >= 6 for path in CASES)


@pytest.mark.parametrize(
    "stream", ["ratings", *(pytest.param(each, marks=pytest.mark.long) for each in ("clicks", "purchases", "traffic"))]
)
def test_the_tests_of_all_questions_pass_in_both_engines(stream):
    cases = [path for path in CASES if path.parent.name == stream]
    done = run("test", *cases)
    assert done.exit_code == 0, done.output
    batch = len(stream_questions(stream, "batch"))
    assert done.stdout.count("Flink and DuckDB give the") == len(cases) - batch
    assert done.stdout.count(": DuckDB gives the") == batch


def test_answers_that_are_not_as_expected_are_told_for_each_engine(top):
    case = top.with_name("top_products.test.toml")
    case.write_text(CASE.replace("times = 2", "times = 3").replace("place = 2", "place = 3"))
    done = run("test", case)
    assert done.exit_code == 1
    window = "window_start 2024-01-01T00:00:00Z, window_end 2024-01-01T00:00:30Z"
    for engine in ("Flink", "DuckDB"):
        assert f"{engine}: wrong: {window}, place 1: times is 2, not 3" in done.stdout
        assert f"{engine}: missing: {window}, place 3, product_id a, times 1" in done.stdout
        assert f"{engine}: extra: {window}, place 2, product_id a, times 1" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("event_time = 2024-01-01T00:00:01Z,", "", "row 1: event_time must be a time with a zone"),
        ("event_time = 2024-01-01T00:00:01Z", "event_time = 5", "row 1: event_time must be a time with a zone"),
        ("rating = 1.0", "stars = 1.0", "row 4: 'stars' is no field of ratings: user_id, "),
        ("rating = 1.0", 'rating = "good"', r"row 4: rating is a DECIMAL\(18, 1\), which 'good' is not"),
        ("times = 2", "count = 2", "answer 1: 'count' is no column of the answers: window_start, "),
        ("times = 2", "times = 2.5", "answer 1: times is a BIGINT, which 2.5 is not"),
        ("answers", "expected", "expected: there is no such key"),
    ],
)
def test_a_test_that_cannot_be_read_is_refused_with_the_place(top, old, new, reason):
    case = top.with_name("top_products.test.toml")
    case.write_text(CASE.replace(old, new))
    done = run("test", case)
    with pytest.raises(UsageError, match=reason):
        raise done.exception


def test_a_row_without_a_field_that_the_question_reads_is_refused(top):
    case = top.with_name("top_products.test.toml")
    case.write_text(CASE.replace(", rating = 1.0", ""))
    with pytest.raises(UsageError, match="row 4: it has no rating, which the question reads"):
        raise run("test", case).exception
