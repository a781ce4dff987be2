"""The states of alerts: as windows come, in SQL over all of them, and by the rule said plainly, all alike."""

from datetime import datetime, timedelta

import duckdb
import pytest
from hunting import cases
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamproof.alerts.identity import alert_id
from streamproof.alerts.states import AlertStates, Answer
from streamproof.core.alert_rule import AlertRule
from streamproof.core.question import parse_question
from validation.alerts import compute_alerts

STEP, SIZE = 10_000, 30_000
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as DuckDB has it


def question_with(rule):
    repeat = f"-- repeat = '{rule.repeat}ms'\n" if rule.repeat else ""
    clear = "-- clear = 'n < 1'\n" if rule.clear else ""
    text = (
        "-- Is there much?\n-- stream = 'ratings'\n-- window = 'sliding 30s / 10s'\n-- key = ['who']\n"
        f"-- [alert]\n-- when = 'n > 2'\n-- for = {rule.for_windows}\n-- clear_for = {rule.clear_for}\n"
        f"-- absent = '{rule.absent}'\n{clear}{repeat}\n"
        "SELECT window_start, window_end, product_id AS who, COUNT(*) AS n FROM windowed "
        "GROUP BY window_start, window_end, product_id"
    )
    return parse_question("much", text, "test")


def as_they_come(rule, windows, last):
    """The events of the code that runs beside the job."""
    states, events = AlertStates(rule, STEP), []
    for number in sorted(set(windows) | {last}):
        answers = {
            (key,): Answer(n > 2, n < 1 if rule.clear else n <= 2, f"{key}{number}")
            for key, n in windows.get(number, {}).items()
        }
        events += states.window(number * STEP, answers)
    assert [event.end for event in events] == sorted(event.end for event in events)
    return sorted((e.key[0], e.state, e.end, e.begin, e.number) for e in events)


def plainly(rule, windows, last):  # noqa: PLR0912 - one branch for each sentence of the rule
    """The rule, window for window, for each key that has an answer at all."""
    events = []
    for key in {key for answers in windows.values() for key in answers}:
        first = min(number for number, answers in windows.items() if key in answers)
        breaches = clears = repeats = begin = fired = 0
        is_firing = False
        for number in range(first, last + 1):
            n = windows.get(number, {}).get(key)
            if n is None:
                kind = {"clear": "clear", "breach": "breach", "keep": None}[rule.absent]
            elif n > 2:
                kind = "breach"
            else:
                kind = "clear" if n < 1 or not rule.clear else "neither"
            if kind == "breach":
                breaches, clears = breaches + 1, 0
                if not is_firing:
                    begin = number if breaches == 1 else begin
                    if breaches == rule.for_windows:
                        is_firing, fired, repeats = True, number, 0
                        events.append((key, "firing", number, begin, 0))
                        continue
                    if breaches == 1:
                        events.append((key, "pending", number, begin, 0))
            elif kind is not None:
                if breaches and not is_firing:
                    events.append((key, "withdrawn", number, begin, 0))
                breaches, clears = 0, clears + 1 if kind == "clear" else 0
                if is_firing and clears == rule.clear_for:
                    is_firing = False
                    events.append((key, "resolved", number, begin, 0))
            if is_firing and rule.repeat and number * STEP >= fired * STEP + (repeats + 1) * rule.repeat:
                repeats += 1
                events.append((key, "repeated", number, begin, repeats))
    return sorted((key, state, number * STEP, begin * STEP, repeats) for key, state, number, begin, repeats in events)


def in_sql(rule, windows, last, database):
    database.execute(
        "CREATE OR REPLACE TABLE sent (category VARCHAR, seq BIGINT, event_time TIMESTAMP, product_id VARCHAR)"
    )
    database.execute("INSERT INTO sent VALUES ('c', 1, ?, 'x')", [EPOCH + timedelta(milliseconds=last * STEP - SIZE)])
    clear = ", alert_clear BOOLEAN" if rule.clear else ""
    database.execute(
        "CREATE OR REPLACE TABLE truth (window_start TIMESTAMP, window_end TIMESTAMP, who VARCHAR, n BIGINT, "
        f"alert BOOLEAN{clear})"
    )
    end = {number: EPOCH + timedelta(milliseconds=number * STEP) for number in windows}
    rows = [
        [end[number] - timedelta(milliseconds=SIZE), end[number], key, n, n > 2, *([n < 1] if rule.clear else [])]
        for number, answers in windows.items()
        for key, n in answers.items()
    ]
    if rows:
        database.executemany(f"INSERT INTO truth VALUES ({', '.join('?' * len(rows[0]))})", rows)
    question = question_with(rule)
    compute_alerts(database, question, "r", "truth", "alerts")
    found = database.execute(
        "SELECT who, alert_state, epoch_ms(window_end), epoch_ms(alert_begin), alert_number, epoch_ms(window_start), "
        "alert_id, n FROM alerts"
    ).fetchall()
    for who, _, end, begin, _, start, name, n in found:
        assert start == end - SIZE
        assert n == windows.get(end // STEP, {}).get(who)
        assert name == alert_id(question, "r", {"who": f'"{who}"'.encode()}, {"who": "VARCHAR"}, begin)
    return sorted(row[:5] for row in found)


rules = st.builds(
    AlertRule,
    when=st.just("n > 2"),
    clear=st.sampled_from([None, "n < 1"]),
    for_windows=st.integers(1, 4),
    clear_for=st.integers(1, 4),
    repeat=st.sampled_from([None, "10s", "25s", "60s"]),
    absent=st.sampled_from(["clear", "breach", "keep"]),
)
runs = st.dictionaries(
    st.one_of(st.integers(1_000, 1_040), st.integers(2_000, 2_010)),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3).map(lambda n: n if n < 2 else 3), max_size=3),
    max_size=45,
)


@pytest.fixture(scope="module")
def database():
    with duckdb.connect(config={"threads": 1}) as db:
        yield db


@settings(max_examples=cases(30))
@given(rules, runs, st.integers(0, 5))
@example(AlertRule(when="n > 2", for_windows=3, absent="breach", repeat="25s"), {1000: {"a": 0}, 1001: {"b": 3}}, 5)
def test_alerts_are_the_same_as_they_come_in_sql_and_by_the_rule_said_plainly(database, rule, windows, more):
    last = max(windows, default=1_000) + more
    said = plainly(rule, windows, last)
    assert as_they_come(rule, windows, last) == said
    assert in_sql(rule, windows, last, database) == said


def test_nothing_is_kept_of_keys_that_nothing_can_happen_to():
    states = AlertStates(AlertRule(when="n > 2", for_windows=2), STEP)
    for number in range(1, 50):
        states.window(number * STEP, {(b"%d" % k,): Answer(k == number, k != number, "") for k in range(1_000)})
    assert len(states._watched) == 1
    assert len(states._due) <= 2


def test_an_event_names_the_places_of_the_answers_that_decided_it():
    states = AlertStates(AlertRule(when="n > 2", for_windows=2, clear_for=2), STEP)
    events = []
    for number, breach in enumerate([False, True, True, True, False, False], 1):
        events += states.window(number * STEP, {(b"a",): Answer(breach, not breach, f"t/0/{number}")})
    assert [(e.state, e.places) for e in events] == [
        ("pending", ("t/0/2",)),
        ("firing", ("t/0/2", "t/0/3")),
        ("resolved", ("t/0/5", "t/0/6")),
    ]
