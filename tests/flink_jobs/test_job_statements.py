import pytest

from flink_jobs.cli import _start
from flink_jobs.tables import job_statements
from flink_jobs.window import Window, interval
from streamproof.core.contract import parse_contract
from streamproof.core.errors import UsageError
from streamproof.core.measures import USUAL, parse_measures

READINGS = {
    "name": "readings",
    "key": "sensor",
    "measure": "celsius",
    "event_time": "taken",
    "topics": {"rows": "plant.readings"},
    "fields": {
        "sensor": {"type": "text"},
        "celsius": {"type": "decimal", "scale": 3},
        "taken": {"type": "time", "unit": "ms"},
        "value": {"type": "integer"},
    },
}


def statements(contract=READINGS, run=None, window=Window(30_000, 5_000), measures=USUAL):  # noqa: B008 (it is frozen)
    return job_statements(
        "rating_averages",
        parse_contract(contract, "test"),
        window,
        measures,
        label="j1",
        run=run,
        kafka_servers="kafka:9092",
        source_options={"scan.startup.mode": "earliest-offset"},
    )


@pytest.mark.parametrize(
    ("size", "slide", "reason"),
    [
        (30_000, 7_000, "the slide 7s does not divide the window size 30s"),
        (0, 5_000, "above 0"),
        (5_000, 0, "above 0"),
        (-5_000, 5_000, "above 0"),
        (5_000, 10_000, "the slide 10s is longer than the window 5s"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused_with_the_reason(size, slide, reason):
    with pytest.raises(UsageError, match=reason):
        Window(size, slide)


def test_a_slide_as_long_as_the_window_is_a_tumbling_window():
    assert str(Window(5_000, 5_000)) == "5s/5s"
    assert str(Window(60_000, 5_000, "cumulative")) == "cumulative 1min/5s"


def test_an_interval_keeps_milliseconds_and_long_durations():
    assert interval(1_003) == "INTERVAL '1.003' SECOND(10, 3)"
    assert interval(86_400_000) == "INTERVAL '86400.000' SECOND(10, 3)"


def test_the_tables_take_names_and_types_from_the_contract():
    messages, _rows, windows, *_ = statements()
    assert "`sensor` STRING, `celsius` DECIMAL(18, 3), `taken` BIGINT, `value` BIGINT" in messages
    assert "'topic' = 'plant.readings'" in messages
    assert "`celsius_sum` DECIMAL(38, 3), `celsius_avg` DOUBLE, `celsius_min` DECIMAL(18, 3)" in windows
    assert "'topic' = 'readings.averages'" in windows


def test_the_query_knows_no_name_of_another_contract():
    text = "\n".join(statements())
    assert "rating" not in text
    assert "product" not in text
    assert "$" not in text


def test_a_whole_number_measure_keeps_whole_number_sums():
    assert "`value_sum` BIGINT, `value_avg` DOUBLE" in statements(READINGS | {"measure": "value"})[2]


def test_the_choice_of_measures_decides_the_columns_and_what_is_read():
    _, rows, windows, copies, insert = statements(
        READINGS | {"actor": "sensor"}, measures=("count", "stddev", "distinct")
    )
    assert (
        "window_kind STRING,\n    `celsius_count` BIGINT, `celsius_stddev` DOUBLE, `sensor_distinct` BIGINT\n"
        in windows
    )
    assert "AVG" not in insert
    assert "COUNT(DISTINCT `sensor`)" in insert
    assert "SUM(CAST(`celsius` * 1000 AS DECIMAL(18, 0)) * CAST(" in insert
    assert "AND `sensor` IS NOT NULL" in rows
    assert "`celsius`, `sensor`, window_time" in copies
    assert "CUMULATE(" in statements(window=Window(30_000, 5_000, "cumulative"))[-1]


@pytest.mark.parametrize(("text", "measures"), [("avg", ("count", "avg")), ("max, sum,count", ("count", "sum", "max"))])
def test_measures_are_read_in_their_order_with_the_count_among_them(text, measures):
    assert parse_measures(text) == measures


@pytest.mark.parametrize("text", ["median", "avg,", ""])
def test_an_unknown_measure_is_refused_with_those_there_are(text):
    with pytest.raises(UsageError, match="name some of count, sum, avg, min, max, stddev, histogram, distinct"):
        parse_measures(text)


def test_to_count_actors_the_contract_must_name_one():
    with pytest.raises(UsageError, match='the contract of readings names none: add actor = "FIELD"'):
        statements(measures=("count", "distinct"))


def test_a_followed_run_alone_moves_the_watermark_and_is_counted():
    messages, rows, *_ = statements(run="it's")
    assert "WHEN run <> 'it''s' THEN TO_TIMESTAMP_LTZ(-62135596800000, 3)" in messages
    assert "AND run = 'it''s'" in rows


def test_the_live_stream_counts_every_run():
    messages, rows, *_ = statements(run=None)
    assert "run <>" not in messages
    assert "run =" not in rows


def test_rows_without_what_a_window_needs_are_left_out():
    needed = ("run", "category", "event_ts", "sensor", "celsius")
    assert all(f"`{name}` IS NOT NULL" in statements()[1] for name in needed)


def test_results_and_transactions_carry_the_jobs_label():
    text = statements()
    assert "'j1', run" in text[-1]
    assert "'sink.transactional-id-prefix' = 'streamproof-j1'" in text[2]


@pytest.mark.parametrize("text", ["yesterday", "2024-01-01T00:00:00", ""])
def test_a_start_without_a_meaning_is_refused(text):
    with pytest.raises(UsageError, match="earliest, latest, or a time with a zone"):
        _start(text)


def test_a_start_is_a_word_or_a_time():
    assert [_start(None), _start("latest"), _start("2024-01-01T00:00:00Z")] == [None, "latest", 1_704_067_200_000]
