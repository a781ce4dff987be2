import pytest

from flink_jobs.cli import _start, _with_window
from flink_jobs.tables import (
    interval,
    kafka_sink,
    kafka_source,
    pane_of,
    question_views,
    results_insert,
    results_table,
    shared_statements,
)
from streamproof.core.contract import parse_contract
from streamproof.core.errors import UsageError
from streamproof.core.question import parse_question
from streamproof.core.settings import KafkaSettings
from streamproof.core.window import Window, parse_window

KAFKA = KafkaSettings(servers="kafka:9092")
READINGS = parse_contract(
    {
        "name": "readings",
        "partition_by": "sensor",
        "event_time": "taken",
        "topics": {"rows": "plant.readings"},
        "fields": {
            "sensor": {"type": "text"},
            "celsius": {"type": "decimal", "scale": 3},
            "taken": {"type": "time", "unit": "ms"},
            "value": {"type": "integer"},
        },
    },
    "test",
)
HOTTEST = """-- How hot was each sensor?
-- stream = "readings"
-- window = "sliding 30s / 5s"
-- key = ["sensor"]
SELECT window_start, window_end, sensor, MAX(celsius) AS hottest FROM windowed
GROUP BY window_start, window_end, sensor
"""


def question(window=None):
    asked = parse_question("hottest", HOTTEST, "test")
    return asked.with_window(window) if window else asked


def statements(run=None, window=None):
    asked = [question(window)]
    start = {"scan.startup.mode": "earliest-offset"}
    source = kafka_source(asked, READINGS, label="j1", kafka=KAFKA, options=start)
    return shared_statements(asked, ["sensor", "celsius"], READINGS, source, run, one_by_one=False)


@pytest.mark.parametrize(
    ("size", "slide", "reason"),
    [
        (30_000, 7_000, "the slide 7s does not divide the window size 30s"),
        (0, 5_000, "above 0"),
        (5_000, 0, "above 0"),
        (-5_000, 5_000, "above 0"),
        (5_000, 10_000, "the slide 10s is longer than the window 5s"),
        (60_000, 1, "each row lies in 60,000 windows"),
        (20 * 366 * 86_400_000, 20 * 366 * 86_400_000, "longer than ten years"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused_with_the_reason(size, slide, reason):
    with pytest.raises(UsageError, match=reason):
        Window(size, slide)


def test_a_slide_as_long_as_the_window_is_a_tumbling_window():
    assert str(Window(5_000, 5_000)) == "5s/5s"
    assert str(Window(60_000, 5_000, "cumulative")) == "cumulative 1min/5s"


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("tumbling 60s", Window(60_000, 60_000)),
        ("sliding 30s / 5s", Window(30_000, 5_000)),
        ("cumulative 1d/1h", Window(86_400_000, 3_600_000, "cumulative")),
    ],
)
def test_a_window_is_read_as_a_question_has_it(text, window):
    assert parse_window(text) == window


@pytest.mark.parametrize("text", ["30s", "sliding 30s", "tumbling 30s / 5s", "hopping 30s / 5s", "sliding 30 / 5", ""])
def test_a_window_that_cannot_be_read_is_refused(text):
    with pytest.raises(UsageError):
        parse_window(text)


def test_an_interval_keeps_milliseconds_and_long_durations():
    assert interval(1_003) == "INTERVAL '1.003' SECOND(10, 3)"
    assert interval(86_400_000) == "INTERVAL '86400.000' SECOND(10, 3)"


@pytest.mark.parametrize(
    ("slides", "pane"),
    [
        ([5_000], 5_000),
        ([60_000], 10_000),
        ([86_400_000], 10_000),
        ([61_000], 7_625),
        ([1_003], 1_003),
        ([30_000, 45_000], 7_500),
        ([10_007], 10_007),
        ([100_000_000_003], 100_000_000_003),  # a prime, and not looked through
        ([1], 1),
    ],
)
def test_panes_divide_every_slide_and_last_ten_seconds_at_most_where_that_is_possible(slides, pane):
    assert pane_of([question(Window(slide, slide)) for slide in slides]) == pane


def test_the_tables_take_names_and_types_from_the_contract_and_the_columns_from_the_question():
    messages, *_ = statements()
    assert "`low_watermark` BIGINT, `sensor` STRING, `celsius` DECIMAL(18, 3),\n" in messages
    assert "'topic' = 'plant.readings'" in messages
    sink = kafka_sink(question(), READINGS, label="j1", kafka=KAFKA)
    results = results_table("r", {"hottest": "DECIMAL(18, 3)"}, sink)
    assert "window_kind STRING, `hottest` DECIMAL(18, 3)" in results
    assert "'topic' = 'readings.hottest'" in results
    assert "'sink.transactional-id-prefix' = 'streamproof-j1-hottest'" in results


def test_the_text_of_the_question_is_not_touched():
    insert = results_insert("r", question(), ["sensor", "hottest"], label="j1", run="it's", has_run=False)
    body = HOTTEST.partition('key = ["sensor"]\n')[2].strip()
    assert body in insert
    assert f"'j1', 'hottest@{question().digest}', 'it''s'," in insert


def test_the_views_window_the_first_copies_by_the_questions_window():
    views = question_views(question(Window(60_000, 5_000, "cumulative")), ["sensor"])
    assert list(views) == ["own_rows", "windowed"]
    assert "CUMULATE(TABLE `own_rows`" in views["windowed"]


def test_a_followed_run_alone_moves_the_watermark_and_is_counted():
    messages, rows, *_ = statements(run="it's")
    assert "WHEN run <> 'it''s' THEN TO_TIMESTAMP_LTZ(-62135596800000, 3)" in messages
    assert "AND run = 'it''s'" in rows


def test_the_live_stream_counts_every_run():
    messages, rows, *_ = statements(run=None)
    assert "run <>" not in messages
    assert "run =" not in rows


def test_the_end_mark_closes_the_longest_window():
    assert "event_time + 86400000" in statements(window=Window(86_400_000, 3_600_000))[0]


def test_rows_without_what_a_window_needs_are_left_out():
    needed = ("run", "category", "event_ts", "sensor", "celsius")
    assert all(f"`{name}` IS NOT NULL" in statements()[1] for name in needed)
    assert "`value` IS NOT NULL" not in statements()[1]


@pytest.mark.parametrize(
    ("size", "slide", "cumulative", "window"),
    [
        (None, None, False, Window(30_000, 5_000)),
        ("10min", None, False, Window(600_000, 5_000)),
        ("3s", None, False, Window(3_000, 3_000)),
        ("1min", "20s", True, Window(60_000, 20_000, "cumulative")),
        (None, "10s", False, Window(30_000, 10_000)),
    ],
)
def test_a_submission_can_choose_another_window(size, slide, cumulative, window):
    assert _with_window(question(), size, slide, cumulative=cumulative).window == window


@pytest.mark.parametrize("text", ["yesterday", "2024-01-01T00:00:00", ""])
def test_a_start_without_a_meaning_is_refused(text):
    with pytest.raises(UsageError, match="earliest, latest, or a time with a zone"):
        _start(text)


def test_a_start_is_a_word_or_a_time():
    assert [_start(None), _start("latest"), _start("2024-01-01T00:00:00Z")] == [None, "latest", 1_704_067_200_000]
