"""The batch truth against the same thing said in plain Python, over runs of every kind."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from statistics import pstdev

import duckdb
import pytest
from files_of_a_run import manifest, written
from hunting import cases
from hypothesis import example, given, settings
from hypothesis import strategies as st
from true_windows import true_windows

from streamproof.core.errors import StreamproofError
from streamproof.core.question import load_question
from streamproof.core.run import Run
from streamproof.core.window import Window as Shape
from validation.csv_rows import read_rows
from validation.truth import compute_truth, number_rows

Window = tuple[str, str, int, int, int, Decimal, Decimal, Decimal]


AVERAGES, SPREAD, HISTOGRAM = map(load_question, ("rating_averages", "rating_spread", "rating_histogram"))


def truth(run: Run, size: int, slide: int) -> list[Window]:
    with duckdb.connect() as db:
        number_rows(db, run, read_rows(db, run))
        compute_truth(db, run, AVERAGES.with_window(Shape(size, slide)), "truth")
        return db.execute(
            "SELECT category, product_id, epoch_ms(window_start), epoch_ms(window_end), rating_count, rating_sum, "
            "rating_min, rating_max FROM truth ORDER BY ALL"
        ).fetchall()


def windows(rows: Iterable[tuple[str, str, int, Decimal]], size: int, slide: int) -> list[Window]:
    """Return what ``truth`` must be."""
    found = true_windows(rows, size, slide).items()
    return sorted((*window, len(values), sum(values), min(values), max(values)) for window, values in found)


ratings = st.integers(-99, 99).map(lambda tenths: Decimal(tenths) / 10)
products = st.sampled_from(["0000143502", "000107461X", "143502", "B00004Z5M1", 'é,"\n', "1e5"])
file_rows = st.lists(st.tuples(products, ratings, st.integers(0, 5000)), min_size=1, max_size=40)
shapes = st.sampled_from([(30_000, 30_000), (30_000, 5_000), (7, 1), (600_000, 60_000), (999, 333)])


def csv_of(rows: list[tuple[str, Decimal, int]], folder: Path, name: str = "A") -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(["u", product, rating, time] for product, rating, time in rows)
    return written(folder / f"{name}.csv", text.getvalue())


thorough = settings(max_examples=cases(20))


@thorough
@given(
    rows=file_rows,
    shape=shapes,
    interval=st.fractions(min_value=Fraction(1, 7), max_value=20_000, max_denominator=1000),
    start=st.integers(-100_000, 1_704_067_203_750),
    sent=st.integers(1, 100),
)
def test_windows_at_an_interval_are_those_of_plain_python(tmp_path, rows, shape, interval, start, sent):
    run = manifest({"A": csv_of(rows, tmp_path)}, {"A": sent}, interval=interval, start=start, loop=True)
    expected = []
    for seq in range(1, sent + 1):
        product, rating, _ = rows[(seq - 1) % len(rows)]
        expected.append(("A", product, start + (seq - 1) * interval.numerator // interval.denominator, rating))
    assert truth(run, *shape) == windows(expected, *shape)


@thorough
@given(
    rows=st.tuples(file_rows, file_rows),
    shape=shapes,
    speed=st.fractions(min_value=Fraction(1, 3), max_value=100_000, max_denominator=1000),
    start=st.none() | st.integers(0, 1_704_067_203_750),
    limit=st.integers(1, 40),
)
def test_windows_over_the_files_own_time_are_those_of_plain_python(tmp_path, rows, shape, speed, start, limit):
    files = {name: csv_of(part, tmp_path, name) for name, part in zip("AB", rows, strict=True)}
    sent = {name: min(limit, len(part)) for name, part in zip("AB", rows, strict=True)}
    run = manifest(files, sent, pace="file", speed=speed, start=start, limit=limit)
    first = min(time for part in rows for _, _, time in part) * 1000
    expected = []
    for name, part in zip("AB", rows, strict=True):
        for product, rating, time in sorted(part, key=lambda row: row[2])[:limit]:  # stable: by time, then line
            ms = time * 1000
            due = ms if start is None else start + (ms - first) * speed.denominator // speed.numerator
            expected.append((name, product, due, rating))
    assert truth(run, *shape) == windows(expected, *shape)


@thorough
@given(rows=file_rows, shape=shapes, interval=st.integers(1, 20_000), start=st.integers(-100_000, 100_000))
@example(rows=[("p", Decimal(5), 0)], shape=(30_000, 5_000), interval=1, start=-1)
def test_all_measures_of_sliding_and_cumulative_windows_are_those_of_plain_python(
    tmp_path, rows, shape, interval, start
):
    size, slide = shape
    text = "".join(f"u{i * i % 3},{json.dumps(p)},{r},{t}\n" for i, (p, r, t) in enumerate(rows) if '"' not in p)
    rows = [row for row in enumerate(rows) if '"' not in row[1][0]]
    run = manifest({"A": written(tmp_path / "A.csv", text)}, {"A": len(rows)}, interval=interval, start=start)
    for kind in ("sliding", "cumulative"):
        timed = (
            ("A", product, start + number * interval, (rating, f"u{i * i % 3}"))
            for number, (i, (product, rating, _)) in enumerate(rows)
        )
        true = true_windows(timed, size, slide, cumulative=kind == "cumulative").items()
        spread = {
            window: (
                len(values),
                len({user for _, user in values}),
                pytest.approx(pstdev([float(r) for r, _ in values]), abs=1e-12),
            )
            for window, values in true
        }
        histogram = {
            (*window, rating): times
            for window, values in true
            for rating, times in Counter(r for r, _ in values).items()
        }
        with duckdb.connect() as db:
            number_rows(db, run, read_rows(db, run))
            shape_of = Shape(size, slide, kind)
            compute_truth(db, run, SPREAD.with_window(shape_of), "spread")
            compute_truth(db, run, HISTOGRAM.with_window(shape_of), "histogram")
            key = "category, product_id, epoch_ms(window_start), epoch_ms(window_end)"
            got = db.execute(f"SELECT {key}, rating_count, users, rating_stddev FROM spread").fetchall()
            counted = db.execute(f"SELECT {key}, rating, times FROM histogram").fetchall()
        assert {row[:4]: row[4:] for row in got} == spread
        assert {row[:5]: row[5] for row in counted} == histogram
        assert (len(got), len(counted)) == (len(spread), len(histogram))


@thorough
@given(
    lines=st.lists(st.sampled_from(["u,p,{},1", "", "u,p,much,1", "u,p"]), min_size=1, max_size=12),
    loop=st.booleans(),
    sent=st.integers(0, 20),
)
@example(lines=["u,p,{},1", "", "u,p,{},1"], loop=False, sent=2)
def test_rows_are_numbered_in_their_order_whatever_lies_between(tmp_path, lines, loop, sent):
    lines = ["user_id,product_id,rating,timestamp", *lines]
    text = "".join(line.format(number) + "\n" for number, line in enumerate(lines, 1))
    fitting = [number for number, line in enumerate(lines, 1) if "{}" in line]
    numbered = enumerate(fitting * (sent if loop else 1), 1)
    run = manifest({"A": written(tmp_path / "A.csv", text)}, {"A": sent}, interval="5/2", start=1, loop=loop)
    with duckdb.connect() as db:
        number_rows(db, run, read_rows(db, run))
        found = db.execute("SELECT seq, _line, rating, epoch_ms(event_time) FROM sent ORDER BY seq").fetchall()
    assert found == [(seq, line, line, 1 + (seq - 1) * 5 // 2) for seq, line in numbered if seq <= sent]


def test_a_standard_deviation_is_exact_where_doubles_would_cancel_out(tmp_path):
    big = Decimal("99999999999999.1")
    rows = [("p", big, 0), ("p", big + Decimal("0.1"), 1)]
    run = manifest({"A": csv_of(rows, tmp_path)}, {"A": 2}, interval=1, start=0)
    with duckdb.connect() as db:
        number_rows(db, run, read_rows(db, run))
        compute_truth(db, run, SPREAD.with_window(Shape(1000, 1000)), "truth")
        assert db.execute("SELECT rating_stddev FROM truth").fetchall() == [(0.05,)]


def test_250_rows_every_1003_ms_from_3750_ms_past_a_window_start(tmp_path):
    rows = [("000107461X", Decimal(i % 5 + 1), i) for i in range(250)]
    start = 1_704_067_203_750
    run = manifest({"A": csv_of(rows, tmp_path)}, {"A": 250}, interval="1003", start=start)
    expected = [("A", product, start + i * 1003, rating) for i, (product, rating, _) in enumerate(rows)]
    found = truth(run, 30_000, 5_000)
    assert found == windows(expected, 30_000, 5_000)
    assert found[0][2] == start - 3750 - 25_000


def test_a_row_at_a_windows_very_edge_is_in_the_window_that_begins_there(tmp_path):
    run = manifest({"A": csv_of([("p", Decimal(1), 0)] * 2, tmp_path)}, {"A": 2}, interval="9999", start=1)
    assert [(w[2], w[4]) for w in truth(run, 10_000, 10_000)] == [(0, 1), (10_000, 1)]


def test_sums_stay_exact_where_doubles_are_not(tmp_path):
    rows = [("p", Decimal("0.1"), 0)] * 1000
    run = manifest({"A": csv_of(rows, tmp_path)}, {"A": 1000}, interval="1", start=0)
    assert truth(run, 10_000, 10_000)[0][5] == Decimal(100)


def test_a_missing_file_is_named(tmp_path):
    file = written(tmp_path / "a.csv", "u,p,1.0,1\n")
    run = manifest({"Books": file}, {"Books": 1})
    file.unlink()
    with pytest.raises(StreamproofError, match=r"a\.csv \(category Books\) cannot be read"):
        truth(run, 1000, 1000)
