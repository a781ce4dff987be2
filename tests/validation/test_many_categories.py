"""Thousands of categories: counted at once, right for each, and few of them shown."""

from collections import Counter

import duckdb
import pytest
from hunting import cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import validation.delivery
from streamproof.core.contract import load_contract
from streamproof.core.run import RowCounts, Run
from validation.audit import Audit
from validation.delivery import RowTotals, audit_rows
from validation.report import print_audit
from validation.stages import ReadByJob

EACH = 20


@pytest.fixture
def run():
    return Run(
        run="R",
        contract=load_contract("ratings"),
        clock="virtual",
        pace="interval",
        interval="1",
        start=0,
        batch_rows=1,
        batch_ms=1,
        sources={},
        rows={f"D{n}": RowCounts(sent=EACH, confirmed=EACH, confirmed_to=EACH) for n in range(300)},
        state="finished",
        created="2026-01-01T00:00:00Z",
    )


@pytest.fixture
def db(run):
    """Kafka as it is when all went well, but for four categories."""
    rows = [(category, seq) for category in run.rows for seq in range(1, EACH + 1)]
    rows.remove(("D7", 3))
    rows.remove(("D7", 9))
    rows.remove(("D8", 20))
    rows += [("D9", 1), ("D9", 1), ("D10", EACH + 1), ("strange", 1)]
    with duckdb.connect() as db:
        db.execute(
            "CREATE TABLE kafka_rows (category VARCHAR, seq BIGINT, kafka_partition INTEGER, kafka_offset BIGINT)"
        )
        db.execute("CREATE TABLE dead_letters AS FROM kafka_rows")
        db.execute(
            "INSERT INTO kafka_rows SELECT unnest(?), unnest(?::BIGINT[]), 0, unnest(range(?))",
            [*map(list, zip(*rows, strict=True)), len(rows)],
        )
        db.execute("INSERT INTO dead_letters VALUES ('D8', 20, 0, 0), ('D8', NULL, 0, 1)")
        yield db


@pytest.mark.parametrize("at_once", [1_000_000, EACH * 70])
def test_each_category_has_its_own_counts_however_many_are_counted_at_once(run, db, monkeypatch, at_once):
    monkeypatch.setattr(validation.delivery, "_ROWS_AT_ONCE", at_once)
    received = {category: (EACH, [[1, EACH]]) for category in run.rows} | {"D7": (19, [[1, 8], [10, EACH]])}
    whole = db.execute("SELECT max(kafka_offset) + 1 FROM kafka_rows").fetchone()[0]
    found = audit_rows(db, run, None, received, ReadByJob("job", {0: (0, whole)}))
    assert list(found) == [*run.rows, "strange"]
    assert RowTotals.of(found).model_dump() == {
        "sent": 6000,
        "resent": 0,
        "received": 5999,
        "kafka": 5997,
        "doubled": 2,
        "dead_letters": 2,
        "read": 5997,
        "lost": 2,
        "under_way": 0,
    }
    assert found["D7"].say_missing() == [
        "1 rows are lost between NiFi and Kafka: seq 3",
        "1 rows are lost between edge and NiFi: seq 9",
    ]
    assert (found["D8"].kafka, found["D8"].dead_letters, found["D8"].only_dead_letters) == (19, 2, 1)
    assert (found["D9"].doubled, found["D10"].never_sent, found["strange"].never_sent) == (2, 1, 1)
    assert (found["D11"].kafka, found["D11"].read, found["D11"].missing) == (EACH, EACH, [])


seqs = st.lists(st.none() | st.integers(-2, 14), max_size=25)


@settings(deadline=None, max_examples=cases(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.integers(0, 12), rows=seqs, letters=seqs, until=st.integers(0, 20), given_up=st.integers(0, 12))
def test_whatever_came_is_counted_as_sets_in_plain_python_count_it(run, sent, rows, letters, until, given_up):
    given_up = min(given_up, sent)
    counts = {"A": RowCounts(sent=7), "B": RowCounts(sent=sent, confirmed_to=given_up)}
    running = run.model_copy(update={"rows": counts, "state": "running"})
    with duckdb.connect() as db:
        db.execute(
            "CREATE TABLE kafka_rows AS "
            "SELECT 'B' AS category, unnest(?::BIGINT[]) AS seq, 0 AS kafka_partition, "
            "unnest(range(?)) AS kafka_offset",
            [rows, len(rows)],
        )
        db.execute("CREATE TABLE dead_letters AS SELECT 'B' AS category, unnest(?::BIGINT[]) AS seq", [letters])
        found = audit_rows(db, running, read=ReadByJob("job", {0: (1, until)}))["B"]
    was_sent = set(range(1, sent + 1))
    absent = was_sent - set(rows) - set(letters)
    assert found.kafka == len(was_sent & set(rows))
    assert found.doubled == sum(copies - 1 for copies in Counter(rows).values())
    assert found.dead_letters == len(was_sent & set(letters)) + letters.count(None)
    assert found.only_dead_letters == len(was_sent & set(letters) - set(rows))
    assert found.read == len(was_sent & set(rows[1:until]))
    assert found.never_sent == len(set(rows) - was_sent)
    assert found.lost == sum(seq <= given_up for seq in absent)
    assert found.under_way == len(absent) - found.lost
    assert absent == {seq for part in found.missing for a, b in part.ranges for seq in range(a, b + 1)}


def test_copies_are_compared_where_somebody_knows_what_they_say(run, db):
    asked = []

    def contents(places):
        asked.extend(places)
        return {place: place[1] for place in places}  # no two alike

    found = audit_rows(db, run, contents=contents)
    assert len(asked) == 3
    assert {c: rows.differing for c, rows in found.items() if rows.differing} == {"D9": 1}


def test_of_many_categories_the_strange_ones_are_shown_and_a_sum(run, db, capsys):
    found = audit_rows(db, run)
    print_audit(
        Audit(
            run="R",
            state="finished",
            checked_at="2026-01-01T00:00:00Z",
            job=None,
            rows=RowTotals.of(found),
            categories=found,
            unreadable=0,
        )
    )
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert len(lines) < 45
    assert {line[0] for line in lines if line} >= {"D7", "D8", "D10", "strange", "D0"}
    assert "all 301 categories" in said
    assert "D7: 2 rows are lost: seq 3, 9" in said
    assert "6,000" in said
