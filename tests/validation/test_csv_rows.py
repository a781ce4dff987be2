"""Which lines of a file are rows, and which are rejected."""

import gzip
import io
import re
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from files_of_a_run import RATINGS, manifest, written
from hunting import cases
from hypothesis import example, given, settings
from hypothesis import strategies as st

import validation.csv_rows
from streamproof.core.contract import Contract
from validation.csv_rows import read_rows

NAMES = ["user_id", "product_id", "rating", "timestamp"]


HEADERLESS = RATINGS.model_copy(update={"csv": RATINGS.csv.model_copy(update={"header": False})})


def accepted(file: Path, contract: Contract = RATINGS) -> tuple[list[tuple[int, str, str, Decimal, int]], int]:
    """Return the accepted rows of a file, with their lines, and how many were rejected."""
    with duckdb.connect() as db:
        counts = read_rows(db, manifest({"A": file}, {"A": 0}, contract=contract))["A"]
        rows = db.execute("SELECT _line, product_id, rating, _time FROM accepted ORDER BY _line").fetchall()
        assert len(rows) == counts.accepted
        return rows, counts.rejected


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
            rows.append((cells[1], Decimal(cells[2]), int(Decimal(cells[3]) * 1000)))
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


thorough = settings(max_examples=cases(20))


@thorough
@example(text=b"\r\n", block=1, cut=1)  # nothing but a lone CR
@given(text=st.lists(lines, min_size=1, max_size=30).map(b"".join), block=st.integers(1, 50), cut=st.integers(0, 3))
def test_ragged_broken_and_cut_lines_are_told_from_rows(tmp_path, text, block, cut):
    text = text[: len(text) - cut]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation.csv_rows, "_BLOCK", block)  # so that lines lie across blocks
        rows, rejected = accepted(written(tmp_path / "a.csv", text), HEADERLESS)
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
        (b"\n\r\r\n", [], 1),
        (b"rating,asin,x,Timestamp,user_id\n1.0,a,x,1,u\n", ["a"], 0),
        ("rating,asin,x\u2028x,Timestamp,user_id\n1.0,a,x,1,u\n".encode(), ["a"], 0),
        (b"", [], 0),
    ],
)
@pytest.mark.parametrize("block", [7, 8 << 20])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_lines_that_need_care(tmp_path, monkeypatch, text, keys, rejected, block, name):
    monkeypatch.setattr(validation.csv_rows, "_BLOCK", max(block, len(text) // 1000))
    contract = RATINGS if b"asin" in text else HEADERLESS
    found = accepted(written(tmp_path / name, gzip.compress(text) if name.endswith("gz") else text), contract)
    assert ([row[1] for row in found[0]], found[1]) == (keys, rejected)


def test_the_order_of_a_large_file_is_kept(tmp_path):
    file = written(tmp_path / "a.csv", "".join(f"u,p{i},1.0,{i}\n" for i in range(400_000)))
    rows, _ = accepted(file)
    assert [(line, key) for line, key, *_ in rows] == [(i + 1, f"p{i}") for i in range(400_000)]


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
