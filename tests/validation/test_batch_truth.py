"""The batch truth against the same thing said in plain Python, over files of every kind."""

import csv
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from statistics import pstdev

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import validation.csv_rows
from streamproof.core.contract import load_contract
from streamproof.core.errors import StreamproofError
from streamproof.core.measures import MEASURES
from streamproof.core.run import RowCounts, Run, Source
from validation.batch_windows import compute_windows, number_rows
from validation.csv_rows import read_rows
from validation.jobs import Job

RATINGS = load_contract("ratings")
NAMES = ["user_id", "product_id", "rating", "timestamp"]
Window = tuple[str, str, int, int, int, Decimal, Decimal, Decimal]


def manifest(files: dict[str, Path], sent: dict[str, int], **pace) -> Run:
    return Run.model_validate(
        {
            "run": "r",
            "contract": pace.pop("contract", RATINGS),
            "clock": "virtual",
            "pace": "interval",
            "batch_rows": 1,
            "batch_ms": 1,
            "sources": {c: Source(file=f, sha256=sha256(f.read_bytes()).hexdigest(), size=0) for c, f in files.items()},
            "rows": {c: RowCounts(sent=n) for c, n in sent.items()},
            "created": datetime.now(UTC),
        }
        | pace
    )


def truth(run: Run, size: int, slide: int) -> list[Window]:
    with duckdb.connect() as db:
        number_rows(db, run, read_rows(db, run))
        compute_windows(db, run, Job(None, size, slide))
        return db.execute(
            "SELECT category, key, window_start, window_end, n, total, least, greatest FROM truth ORDER BY ALL"
        ).fetchall()


def windows(rows: Iterator[tuple[str, str, int, Decimal]], size: int, slide: int) -> list[Window]:
    """The same by definition: each multiple of the slide begins a window, each row is in all that hold its time."""
    found: dict[tuple[str, str, int], list[Decimal]] = {}
    for category, key, time, value in rows:
        start = time // slide * slide
        while start > time - size:
            found.setdefault((category, key, start), []).append(value)
            start -= slide
    return sorted((c, k, s, s + size, len(v), sum(v), min(v), max(v)) for (c, k, s), v in found.items())


def accepted(file: Path) -> tuple[list[tuple[int, str, str, Decimal, int]], int]:
    """Return the accepted rows of a file, with their lines, and how many were rejected."""
    with duckdb.connect() as db:
        counts = read_rows(db, manifest({"A": file}, {"A": 0}))["A"]
        rows = db.execute("SELECT line, key, measure, time FROM accepted ORDER BY line").fetchall()
        assert len(rows) == counts.accepted
        return rows, counts.rejected


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


ratings = st.integers(-99, 99).map(lambda tenths: Decimal(tenths) / 10)
products = st.sampled_from(["0000143502", "000107461X", "143502", "B00004Z5M1", 'é,"\n', "1e5"])
file_rows = st.lists(st.tuples(products, ratings, st.integers(0, 5000)), min_size=1, max_size=40)
shapes = st.sampled_from([(30_000, 30_000), (30_000, 5_000), (7, 1), (600_000, 60_000), (999, 333)])


def csv_of(rows: list[tuple[str, Decimal, int]], folder: Path, name: str = "A") -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(["u", product, rating, time] for product, rating, time in rows)
    return written(folder / f"{name}.csv", text.getvalue())


thorough = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


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


def own(value: Decimal, scale: Decimal = Decimal("0.1")) -> str:
    return str(value.quantize(scale))


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
        found: dict[tuple[str, int, int], list[tuple[Decimal, str]]] = {}
        for number, (i, (product, rating, _)) in enumerate(rows):
            time = start + number * interval
            first = time // size * size
            ends = range(first + slide, first + size + 1, slide)
            if kind == "sliding":
                ends = range(time // slide * slide + slide, time // slide * slide + size + 1, slide)
            for end in ends:
                begin = end - size if kind == "sliding" else first
                if begin <= time < end:
                    found.setdefault((product, begin, end), []).append((rating, f"u{i * i % 3}"))
        expected = {
            window: (
                len(values),
                "{" + ", ".join(f'"{own(r)}": {n}' for r, n in sorted(Counter(r for r, _ in values).items())) + "}",
                len({user for _, user in values}),
                pytest.approx(pstdev([float(r) for r, _ in values]), abs=1e-12),
            )
            for window, values in found.items()
        }
        with duckdb.connect() as db:
            number_rows(db, run, read_rows(db, run))
            compute_windows(db, run, Job(None, size, slide, kind, MEASURES))
            got = db.execute(
                "SELECT key, window_start, window_end, n, histogram, actors, deviation FROM truth"
            ).fetchall()
        assert {row[:3]: row[3:] for row in got} == expected
        assert len(got) == len(expected)


def test_a_standard_deviation_is_exact_where_doubles_would_cancel_out(tmp_path):
    big = Decimal("99999999999999.1")
    rows = [("p", big, 0), ("p", big + Decimal("0.1"), 1)]
    run = manifest({"A": csv_of(rows, tmp_path)}, {"A": 2}, interval=1, start=0)
    with duckdb.connect() as db:
        number_rows(db, run, read_rows(db, run))
        compute_windows(db, run, Job(None, 1000, 1000, measures=("count", "stddev")))
        assert db.execute("SELECT deviation FROM truth").fetchall() == [(0.05,)]


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


def reference(text: bytes) -> tuple[list[tuple[str, Decimal, int]], int]:
    """The accepted rows of a file without quotes, and how many lines are rejected."""
    rows, rejected = [], 0
    for ended in io.BytesIO(text):
        if ended in (b"\n", b"\r\n"):
            continue
        line = ended.removesuffix(b"\n")
        try:
            cells = line.decode().rstrip("\r").split(",")
        except UnicodeDecodeError:
            cells = []
        specs = [RATINGS.fields[name].pattern for name in NAMES]
        if len(cells) >= 4 and b"\r" not in line.rstrip(b"\r") and all(map(re.fullmatch, specs, cells)):
            rows.append((cells[1], Decimal(cells[2]), int(cells[3]) * 1000))
        else:
            rejected += 1
    return rows, rejected


cells = st.sampled_from(
    [b"u", b"0001", b"000107461X", b"5.0", b"3", b"+4.5", b"-0.5", b"abc", b"", b" ", b"1.55", b"7", b"1388534400",
     b"\xff", b"\xc3\xa9", b"x\ry", b"1e3", b"\x00", b"12345678901234567", "٣".encode()]
)  # fmt: skip
valid = st.tuples(st.just(b"u"), cells, st.sampled_from([b"5.0", b"3"]), st.just(b"7")).map(list)
lines = st.tuples(st.lists(cells, max_size=6) | valid, st.sampled_from([b"\n", b"\r\n"])).map(
    lambda p: b",".join(p[0]) + p[1]
)


@thorough
@example(text=b"\r\n", block=1, cut=1)  # nothing but a lone CR
@given(text=st.lists(lines, min_size=1, max_size=30).map(b"".join), block=st.integers(1, 50), cut=st.integers(0, 3))
def test_ragged_broken_and_cut_lines_are_told_from_rows(tmp_path, text, block, cut):
    text = text[: len(text) - cut]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation.csv_rows, "_BLOCK", block)  # so that lines lie across blocks
        rows, rejected = accepted(written(tmp_path / "a.csv", text))
    assert ([row[1:] for row in rows], rejected) == reference(text)


@pytest.mark.parametrize(
    ("text", "keys", "rejected"),
    [
        (b"\xef\xbb\xbfu,a,1.0,1\r\n\r\nu,b,1.0,1", ["a", "b"], 0),
        (b'u,"a,""b""",1.0,1\n', ['a,"b"'], 0),
        (b'u,"a\r\nb",1.0,1\nu,c,"1.0",1\n', ["a\r\nb", "c"], 0),
        (b'u,"a,1.0,1\nu,b,1.0,1\n', ["b"], 1),
        (b'u,"a"b,1.0,1\nu,b"c"",1.0,1\n', ['b"c""'], 1),
        (b'u,a,1.0,1\nu,"b,1.0,', ["a"], 1),
        (b'u,"a\xff",1.0,1\n\nu,b,1.0,1\n', ["b"], 1),
        (b'u,"' + b"a" * (1 << 20) + b'",1.0,1\nu,b,1.0,1\n', ["b"], 1),
        (b"u,a,1.0,1,extra,extra\nu,b,1.0,1,\xff\n", ["a"], 1),
        (b"u,a,1.0,1\n\r", ["a"], 1),
        (b"rating,asin,x,Timestamp,user_id\n1.0,a,x,1,u\n", ["a"], 0),
        ("rating,asin,x\u2028x,Timestamp,user_id\n1.0,a,x,1,u\n".encode(), ["a"], 0),
        (b"", [], 0),
    ],
)
@pytest.mark.parametrize("block", [7, 8 << 20])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_lines_that_need_care(tmp_path, monkeypatch, text, keys, rejected, block, name):
    monkeypatch.setattr(validation.csv_rows, "_BLOCK", max(block, len(text) // 1000))
    found = accepted(written(tmp_path / name, gzip.compress(text) if name.endswith("gz") else text))
    assert ([row[1] for row in found[0]], found[1]) == (keys, rejected)


def test_the_order_of_a_large_file_is_kept(tmp_path):
    file = written(tmp_path / "a.csv", "".join(f"u,p{i},1.0,{i}\n" for i in range(400_000)))
    rows, _ = accepted(file)
    assert [(line, key) for line, key, *_ in rows] == [(i + 1, f"p{i}") for i in range(400_000)]


def test_a_missing_file_is_named(tmp_path):
    file = written(tmp_path / "a.csv", "u,p,1.0,1\n")
    run = manifest({"Books": file}, {"Books": 1})
    file.unlink()
    with pytest.raises(StreamproofError, match=r"a\.csv \(category Books\) cannot be read"):
        truth(run, 1000, 1000)


@pytest.mark.parametrize(
    ("name", "count"),
    [("ratings_Electronics.csv", 50_698), ("Musical_Instruments_5.csv", 10_261), ("All_Beauty_2023.csv", 2_535)],
)
def test_every_row_of_the_real_files_fits(shared_data, name, count):
    in_milliseconds = RATINGS.fields["timestamp"].model_copy(update={"unit": "ms"})
    contract = RATINGS.model_copy(update={"fields": RATINGS.fields | {"timestamp": in_milliseconds}})
    with duckdb.connect() as db:
        run = manifest({"A": shared_data / name}, {"A": count}, contract=contract)
        files = read_rows(db, run)
        assert (files["A"].accepted, files["A"].rejected) == (count, 0)
