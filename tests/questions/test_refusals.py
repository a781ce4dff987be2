# ruff: noqa: E501 (SQL)
"""What is refused before anything runs, each with the rule that mends it, and what is only noted."""

import re

import pytest
from shop_questions import ALL, GROWING, MINUTE, SHOP, SLIDING, STEPS, USERS, expressions, question

from flink_jobs.local import plan_question
from flink_jobs.planner import check_question
from streamproof.core.errors import UsageError
from streamproof.core.question import parse_question
from streamproof.core.window import MOST_WINDOWS, parse_window

W = "window_start, window_end"
G = f"GROUP BY {W}"
CITIES = f"SELECT {W}, city, COUNT(*) AS n FROM windowed {G}, city"


def asked(body, key=(), window=MINUTE, **header):
    return question("asked", window, list(key), body, **header)


def top(rank, limit="WHERE place <= 3"):
    return f"SELECT {W}, city, place FROM (SELECT *, {rank} AS place FROM ({CITIES}) AS c) AS r {limit}"


BY_DUCKDB = {
    "unknown field": (f"SELECT {W}, SUM(prize) AS s FROM windowed {G}", "there is no column prize: windowed has run, "),
    "one engine's function": (
        f"SELECT {W}, ELT(1, 'a') AS s FROM windowed {G}",
        "DuckDB has no function elt: use one ",
    ),
    "NOW": (f"SELECT {W}, MAX(NOW()) AS s FROM windowed {G}", "NOW answers differently each time"),
    "CURRENT_DATE": (f"SELECT {W}, CURRENT_DATE AS s FROM windowed {G}", "CURRENT_DATE answers differently each time"),
    "RAND": (f"SELECT {W}, COUNT(*) AS n FROM windowed WHERE RAND() < 0.5 {G}", "RAND answers differently each time"),
    "order of arrival": (f"SELECT {W}, LISTAGG(city) AS s FROM windowed {G}", "LISTAGG answers by the order in which"),
    "a SELECT as a value": (
        f"SELECT {W}, COUNT(*) AS n FROM windowed WHERE price > (SELECT MIN(price) FROM windowed) {G}",
        "a SELECT stands in the place of a value",
    ),
    "QUALIFY": (f"{CITIES} QUALIFY ROW_NUMBER() OVER (PARTITION BY {W} ORDER BY city) < 3", "QUALIFY beside GROUP BY"),
    "GROUP BY ALL": (f"SELECT {W}, COUNT(*) AS n FROM windowed GROUP BY ALL", "GROUP BY ALL is read by DuckDB alone"),
    "ties": (top(f"ROW_NUMBER() OVER (PARTITION BY {W} ORDER BY n DESC)"), "two rows can tie .*: add city at its end"),
    "ties of rows": (
        f"SELECT {W}, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY {W} ORDER BY price) AS place FROM windowed) "
        "AS r WHERE place = 1",
        "two rows can tie .*: add category, seq at its end",
    ),
    "NULLS LAST": (
        top(f"ROW_NUMBER() OVER (PARTITION BY {W} ORDER BY n NULLS LAST, city)"),
        r"Flink ranks NULL as the least, .* ORDER BY COALESCE\(x, …\), x",
    ),
    "NULLS FIRST": (
        top(f"ROW_NUMBER() OVER (PARTITION BY {W} ORDER BY n DESC NULLS FIRST, city)"),
        r"Flink ranks NULL as the least, .* ORDER BY COALESCE\(x, …\), x",
    ),
    "a name twice": (f"SELECT {W}, COUNT(*) AS n, SUM(quantity) AS n FROM windowed {G}", "two columns are called n:"),
    "another table": (f"SELECT {W}, COUNT(*) AS n FROM orders {G}", "it reads 'orders': only windowed"),
    "a file": (f"SELECT {W}, COUNT(*) AS n FROM read_csv('a.csv') {G}", "it calls a table function"),
    "again without a header": (f"SELECT {W}, COUNT(*) AS n FROM again {G}", r"again where the header has \[again\]"),
    "no SELECT": ("DELETE FROM windowed", "Only SELECT statements"),
    "wrong SQL": (f"SELECT {W} COUNT(*) AS n FROM windowed {G}", "DuckDB cannot read its SQL: syntax error"),
    "a reserved view": (
        f"CREATE TEMPORARY VIEW messages AS SELECT * FROM windowed; SELECT {W}, COUNT(*) AS n FROM messages {G}",
        "a view cannot be called messages: choose another name",
    ),
}


@pytest.mark.parametrize(("body", "rule"), BY_DUCKDB.values(), ids=list(BY_DUCKDB))
def test_a_text_that_has_no_one_answer_is_refused_with_the_rule_that_mends_it(body, rule):
    with pytest.raises(UsageError, match=f"^asked: .*{rule}"):
        check_question(asked(body), SHOP)


def test_an_alert_on_a_column_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="there is no column m"):
        check_question(asked(f"SELECT {W}, COUNT(*) AS n FROM windowed {G}", alert="m > 5"), SHOP)


@pytest.mark.parametrize(
    ("page", "rule"),
    [
        ('value = "m"', "page.value: the answer has no column m: it has window_start, window_end, city, n"),
        ('weight = "city"', "page.weight: city is no column of numbers beside the key; these are: n"),
        ('label = "name"', "page.label: the answer has no column name"),
        ('latitude = "n", longitude = "city"', "page.longitude: city is VARCHAR, and must be a number of degrees"),
    ],
)
def test_a_page_that_the_answer_has_no_columns_for_is_refused(page, rule):
    with pytest.raises(UsageError, match=f"^asked: {rule}"):
        check_question(asked(CITIES, ["city"], more=f"page = {{ {page} }}\n"), SHOP)


def test_bars_without_numbers_are_refused():
    silent = f"SELECT {W}, MIN(city) AS city FROM windowed {G}"
    with pytest.raises(UsageError, match="bars needs a column of numbers"):
        check_question(asked(silent, more='page = { draw = ["bars"] }\n'), SHOP)


BY_FLINK = {
    "no window_start": (f"SELECT window_end, COUNT(*) AS n FROM windowed {G}", "no column window_start: add it to SELECT"),
    "no key": (f"SELECT {W}, COUNT(*) AS n FROM windowed {G}, city", "no column city: add it to SELECT, and to GROUP BY"),
    "a reserved field": (f"SELECT {W}, SUM(bytes) AS city FROM windowed {G}", "bytes is a word that Flink reserves: write it as `bytes`"),
    "a reserved name": (f"SELECT {W}, MIN(city) AS city, COUNT(*) AS count FROM windowed {G}", "write it as `count`, which both"),
    "AVG of whole numbers": (f"SELECT {W}, city, AVG(quantity) AS mean FROM windowed {G}, city", r"mean is BIGINT in Flink, but DOUBLE in DuckDB.* Flink cuts .*AVG\(CAST\(x AS DOUBLE\)\)"),
    "whole / whole": (f"SELECT {W}, city, SUM(quantity) / COUNT(*) AS m FROM windowed {G}, city", r"m is BIGINT.* CAST\(SUM\(x\) AS DOUBLE\) / COUNT\(\*\)"),
    "AVG of decimals": (f"SELECT {W}, city, AVG(price) AS m FROM windowed {G}, city", r"m is DECIMAL\(38, 6\).*Flink rounds .*CAST"),
    "STDDEV": (f"SELECT {W}, city, STDDEV_POP(quantity) AS m FROM windowed {G}, city", r"m is BIGINT.*CAST"),
    "a list": (f"SELECT {W}, city, COLLECT(DISTINCT note) AS m FROM windowed {G}, city", "COLLECT|collect"),
    "Flink has no function": (f"SELECT {W}, city, MEDIAN(price) AS m FROM windowed {G}, city", "Flink has no function MEDIAN for this: use one that both"),
    "!=": (f"{CITIES} HAVING COUNT(*) != 1", "write <> instead of !="),
    "GROUP BY 1": (f"SELECT {W}, city, COUNT(*) AS n FROM windowed GROUP BY 1, 2, 3", "stands in GROUP BY by its name"),
    "a name in HAVING": (f"{CITIES} HAVING n > 1", "repeat what n stands for in WHERE, HAVING"),
    "no windows": ("SELECT MIN(window_start) AS window_start, MAX(window_end) AS window_end, city FROM windowed GROUP BY city", "must go by window_start and window_end .*GroupAggregate"),
    "window_end alone": ("SELECT MIN(window_start) AS window_start, window_end, city FROM windowed GROUP BY window_end, city", "must go by window_start and window_end"),
    "IN": (f"{CITIES.replace('windowed', 'windowed WHERE user_id IN (SELECT user_id FROM windowed)')}", r"IN \(SELECT …\) must go by"),
    "RANK": (top(f"RANK() OVER (PARTITION BY {W} ORDER BY n DESC, city)"), "use ROW_NUMBER instead of RANK"),
    "a ranking without limit": (top(f"ROW_NUMBER() OVER (PARTITION BY {W} ORDER BY n DESC, city)", ""), "WHERE place <= n"),
    "a ranking over all windows": (top(f"ROW_NUMBER() OVER (ORDER BY n DESC, city, {W})"), r"must be OVER \(PARTITION BY window_start"),
    "ORDER BY": (f"{CITIES} ORDER BY n", "leave ORDER BY at the end out"),
    "LIMIT": (f"{CITIES} LIMIT 3", "leave LIMIT out: .* ROW_NUMBER"),
    "ORDER BY LIMIT": (f"{CITIES} ORDER BY n, city LIMIT 3", "leave LIMIT out"),
    "a JOIN on one bound": (f"SELECT u.window_start, u.window_end, u.city, a.total FROM ({CITIES}) AS u JOIN ({ALL}) AS a ON u.window_end = a.window_end", "a JOIN must compare window_start and window_end"),
    "a total OVER": (f"SELECT {W}, city, SUM(n) OVER (PARTITION BY {W}) AS total FROM ({CITIES}) AS c", "JOIN a second aggregation on window_start and window_end"),
    "a difference of times": (f"SELECT {W}, city, window_end - window_start AS s FROM windowed {G}, city", "two times have no difference"),
    "DISTINCT of two": (f"SELECT {W}, city, COUNT(DISTINCT (city, note)) AS n FROM windowed {G}, city", r"COUNT\(DISTINCT a \|\| '/' \|\| b\)"),
    "a float as a key": (f"SELECT {W}, CAST(price AS DOUBLE) AS city FROM windowed {G}, CAST(price AS DOUBLE)", "key: city is a DOUBLE"),
    "no name": (f"SELECT {W}, city, COUNT(*) FROM windowed {G}, city", r"count_star\(\) is no name for a column"),
    "capitals": (f"SELECT {W}, city, COUNT(*) AS N FROM windowed {G}, city", "N is no name for a column"),
    "a name of the results' own": (f"SELECT {W}, city, COUNT(*) AS job FROM windowed {G}, city", "the column job is written with each result"),
}  # fmt: skip
BY_FLINK.pop("a list")


@pytest.mark.parametrize(("body", "rule"), BY_FLINK.values(), ids=list(BY_FLINK))
def test_what_flink_would_answer_otherwise_or_never_is_refused_with_the_rule_that_mends_it(body, rule):
    with pytest.raises(UsageError, match=f"^asked: .*{rule}"):
        plan_question(asked(body, ["city"]), SHOP)


def test_without_a_run_a_question_must_not_mix_runs():
    with pytest.raises(UsageError, match="add run to SELECT and GROUP BY, or choose a run with --run"):
        plan_question(asked(CITIES, ["city"]), SHOP, run=None)
    by_run = CITIES.replace("city,", "city, run,", 1) + ", run"
    assert "run" not in plan_question(asked(by_run, ["city"]), SHOP, run=None).columns


HEADERS = {
    "no comment": ("SELECT 1", "the file must begin with comment lines"),
    "no TOML": ("-- Title\n-- stream is shop\nSELECT 1", "must be TOML"),
    "a key that there is not": ('-- T\n-- stream = "shop"\n-- window = "tumbling 60s"\n-- key = []\n-- keys = []\nSELECT 1', "keys: there is no such key"),
    "no window": ('-- T\n-- stream = "shop"\n-- key = []\nSELECT 1', "window: Field required"),
    "a window in other words": ('-- T\n-- stream = "shop"\n-- window = "60s"\n-- key = []\nSELECT 1', "is no window: write 'tumbling SIZE'"),
    "a bound as a key": ('-- T\n-- stream = "shop"\n-- window = "tumbling 60s"\n-- key = ["window_end"]\nSELECT 1', "is always part of it"),
    "the run as a key": ('-- T\n-- stream = "shop"\n-- window = "tumbling 60s"\n-- key = ["run"]\nSELECT 1', "'run' is written with each result"),
    "no SELECT": ('-- T\n-- stream = "shop"\n-- window = "tumbling 60s"\n-- key = []\n', "none is there"),
    "two SELECTs": ('-- T\n-- stream = "shop"\n-- window = "tumbling 60s"\n-- key = []\nSELECT 1; SELECT 2', "stand only views"),
    "again without its view": ('-- T\n-- stream = "shop"\n-- window = "tumbling 60s"\n-- key = []\n-- [again]\n-- rows = "paced"\n-- time = "noted"\n-- window = "tumbling 60s"\nSELECT 1', "there is no view 'paced'"),
    "a map of nowhere": ('-- T\n-- stream = "shop"\n-- window = "tumbling 60s"\n-- key = []\n-- page = { draw = ["map"] }\nSELECT 1', "page: a map needs to know where its marks are"),
    "half a place": ('-- T\n-- stream = "shop"\n-- window = "tumbling 60s"\n-- key = []\n-- page = { latitude = "lat" }\nSELECT 1', "page: latitude and longitude belong together"),
    "drawn twice": ('-- T\n-- stream = "shop"\n-- window = "tumbling 60s"\n-- key = []\n-- page = { draw = ["bars", "bars"] }\nSELECT 1', "page: draw: each can be drawn once"),
    "drawn as what is not": ('-- T\n-- stream = "shop"\n-- window = "tumbling 60s"\n-- key = []\n-- page = { draw = ["pie"] }\nSELECT 1', "page.draw.1: Input should be 'table'"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "rule"), HEADERS.values(), ids=list(HEADERS))
def test_a_wrong_header_is_refused_with_what_was_expected(text, rule):
    with pytest.raises(UsageError, match=rf"^a\.sql: .*{re.escape(rule)}"):
        parse_question("asked", text, "a.sql")


def test_more_windows_a_row_than_a_cluster_can_bear_are_refused():
    parse_window(f"sliding {MOST_WINDOWS}s / 1s")
    parse_window("sliding 1d / 1min")
    with pytest.raises(UsageError, match="choose a longer slide"):
        parse_window(f"sliding {MOST_WINDOWS + 1}s / 1s")
    with pytest.raises(UsageError, match="choose a longer slide"):
        parse_window("sliding 1min / 1ms")


def notes(asked_question):
    return " ".join(plan_question(asked_question, SHOP).notes)


def test_what_keeps_flink_from_counting_slices_is_noted():
    late = "COUNT(*) FILTER (WHERE event_time >= window_end - INTERVAL '10' SECOND)"
    assert "copies each row into its 6 windows" in notes(expressions("late", [late], SLIDING))
    assert "copies each row into its 5 windows" in notes(expressions("late", [late], GROWING))
    assert not notes(expressions("late", [late], MINUTE))  # each row is in one
    assert not notes(expressions("sliced", ["COUNT(DISTINCT user_id)", "SUM(price)"], SLIDING))


def test_what_keeps_something_of_each_key_is_noted():
    lag = f"SELECT {W}, user_id, LAG(n) OVER (PARTITION BY user_id ORDER BY window_time) AS n FROM " + (
        f"({USERS.replace('window_end, user_id', 'window_end, window_time, user_id')}) AS u"
    )
    assert "OVER keeps something of each key" in notes(asked(lag, ["user_id"]))


def test_windows_of_the_second_relation_are_noted_as_well():
    again = '[again]\nrows = "paced"\ntime = "noted"\nwindow = "sliding 10min / 60s"\n'
    body = f"{STEPS} SELECT {W}, user_id, MAX(hourly) AS n FROM again WHERE window_end > noted {G}, user_id"
    assert "copies each row into its 10 windows" in notes(asked(body, ["user_id"], more=again))
