"""Which rows of a file are accepted, what they become, and what is said of the others."""

import csv
import gzip
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_replayer import csv_rows
from edge_replayer.csv_rows import CsvRows
from streamproof.core.contract import parse_contract
from streamproof.core.errors import StreamproofError, UsageError

PLAIN = b"u1,0000143502,5.0,100\n"


def read(contract, path: Path, content: bytes | None = None):
    if content is not None:
        path.write_bytes(content)
    rejected = []
    rows = [
        (line, time, json.loads("{" + body))
        for line, time, body in CsvRows(contract, path).rows(lambda n, why, text: rejected.append((n, why, text)))
    ]
    return rows, rejected


def headerless(contract):
    return contract.model_copy(update={"csv": contract.csv.model_copy(update={"header": False})})


def users(rows) -> list[str]:
    return [fields["user_id"] for _, _, fields in rows]


def test_a_row_has_its_line_number_its_time_in_milliseconds_and_its_typed_fields(ratings, tmp_path):
    rows, rejected = read(ratings, tmp_path / "a.csv", PLAIN)
    fields = {"user_id": "u1", "product_id": "0000143502", "rating": 5.0, "timestamp": 100_000}
    assert (rows, rejected) == ([(1, 100_000, fields)], [])


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("header", [[], [b"UserId,ItemId,rating,timestamp"]])
def test_line_endings_byte_order_mark_header_and_gzip_make_no_difference(ratings, tmp_path, ending, mark, header):
    content = mark + ending.join([*header, b"u1,B,5.0,1", b'"u2",B,4,2'])
    for name, stored in (("a.csv", content), ("a.csv.gz", gzip.compress(content))):
        rows, rejected = read(ratings, tmp_path / name, stored)
        first = 1 + len(header)
        assert [(line, fields["user_id"]) for line, _, fields in rows] == [(first, "u1"), (first + 1, "u2")]
        assert rejected == []


def test_a_header_is_found_though_another_column_is_not_utf8(ratings, tmp_path):
    content = b"Gr\xf6\xdfe,timestamp,overall,asin,reviewerID\nx,7,3.5,B,u\n"
    rows, rejected = read(ratings, tmp_path / "a.csv", content)
    assert (users(rows), rejected) == (["u"], [])


def test_columns_are_found_by_their_names_and_others_are_ignored(ratings, tmp_path):
    content = b'x,timestamp,overall,"note, long",asin,reviewerID\n1,7,3.5,"a\nb",B,u\n1,8,3.5,,B,v\n'
    rows, _ = read(ratings, tmp_path / "a.csv", content)
    expected = {"user_id": "u", "product_id": "B", "rating": 3.5, "timestamp": 7000}
    assert rows == [(2, 7000, expected), (4, 8000, expected | {"user_id": "v", "timestamp": 8000})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"u,B,5.0", "timestamp: the column is missing: 3 columns, needed 4"),
        (b"u,B,abc,1", "rating: expected a number with at most 1 digits behind the point, found 'abc'"),
        (b"u,B, 5.0,1", "rating: expected a number .* found ' 5.0'"),
        (b"u,B,5.25,1", "rating: expected a number .* found '5.25'"),
        (b",B,5.0,1", "user_id: expected a text that is not empty, found ''"),
        (b'u,"",5.0,1', "product_id: expected a text that is not empty"),
        (
            b"u,B,5.0,-1",
            "timestamp: expected a time in seconds since 1970, 11 digits at most before the point, found '-1'",
        ),
        (b"u,B,5.0,1388534400000", "timestamp: expected a time in seconds since 1970, 11 digits at most"),
        ("u,B,5.0,\u0661".encode(), "timestamp: expected a time"),
        (b"\xff,B,5.0,1", "not UTF-8: byte 0xff"),
        (b"u,B,5.0,1,\xc3", "not UTF-8: byte 0xc3"),
        (b'"u"x,B,5.0,1', "malformed: .* expected after"),
        (b"u\rv,B,5.0,1", "malformed: a carriage return outside quotes"),
        (b" ", "product_id: the column is missing|user_id"),
    ],
)
def test_a_row_that_does_not_fit_is_rejected_with_its_line_number_and_reason(ratings, tmp_path, line, reason):
    rows, rejected = read(ratings, tmp_path / "a.csv", PLAIN + b"\n" + line + b"\n" + PLAIN)
    assert [number for number, *_ in rows] == [1, 4]
    [(number, why, text)] = rejected
    assert (number, text) == (3, line + b"\n")
    assert re.match(reason, why)


def test_a_last_line_that_is_cut_is_rejected_and_a_whole_one_without_its_line_end_is_not(ratings, tmp_path):
    rows, rejected = read(ratings, tmp_path / "a.csv", PLAIN + b"u2,B,5.0")
    assert (len(rows), [n for n, *_ in rejected]) == (1, [2])
    rows, rejected = read(ratings, tmp_path / "a.csv", PLAIN + b"u2,B,5.0,1")
    assert (len(rows), rejected) == (2, [])


@pytest.mark.parametrize("rest", [b"", b'"u3",B,5.0,3\n', b'u3,"B",5.0,3\n'])
def test_a_quote_that_is_never_closed_costs_only_its_own_line(ratings, tmp_path, rest):
    rows, rejected = read(ratings, tmp_path / "a.csv", PLAIN + b'"u2,B,5.0,2\n' + PLAIN * 3 + rest)
    assert [number for number, *_ in rows] == [1, *range(3, 6 + bool(rest))]
    assert [number for number, *_ in rejected] == [2]


def test_an_open_quote_reads_ahead_a_bounded_way(ratings, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "MAX_RECORD", 200)
    rows, rejected = read(headerless(ratings), tmp_path / "a.csv", b'"u2,B,5.0,2\n' + PLAIN * 50 + b'",B,5.0,1\n')
    assert (len(rows), [n for n, *_ in rejected]) == (50, [1, 52])


def test_a_line_beyond_all_measure_is_rejected_and_the_next_one_read(ratings, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "MAX_RECORD", 100)
    long = b"u,B,5.0,1," + b"x" * 1000 + b"\n"
    rows, rejected = read(headerless(ratings), tmp_path / "a.csv", long + PLAIN + long.strip())
    assert [n for n, *_ in rows] == [2]
    assert [(n, why) for n, why, _ in rejected] == [(n, "the line is longer than 100 bytes") for n in (1, 3)]


def test_numbers_become_json_numbers_whatever_way_they_are_written(tmp_path):
    contract = parse_contract(
        {
            "name": "n",
            "partition_by": "k",
            "event_time": "t",
            "csv": {"header": False, "columns": ["k", "d", "i", "t"]},
            "fields": {
                "k": {"type": "text"},
                "d": {"type": "decimal", "scale": 2},
                "i": {"type": "integer"},
                "t": {"type": "time", "unit": "ms"},
            },
        },
        "test",
    )
    content = b"k,+05.50,+007,007\nk,-0.25,-3,0\nk,5,0,12\nk,1234567890123.45,999999999999999999,99999999999999\n"
    rows, rejected = read(contract, tmp_path / "a.csv", content)
    assert [(f["d"], f["i"], f["t"]) for _, _, f in rows] == [
        (5.5, 7, 7),
        (-0.25, -3, 0),
        (5.0, 0, 12),
        (1234567890123.45, 999999999999999999, 99999999999999),
    ]
    assert rejected == []


cell = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
row = st.tuples(cell, cell, st.integers(-50, 50).map(lambda n: f"{n / 10:.1f}"), st.integers(0, 10**11 - 1).map(str))


@given(rows=st.lists(row, min_size=1, max_size=8), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_whatever_a_csv_writer_writes_is_read_back(ratings, tmp_path, rows, quoting):
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator="\r\n").writerows(
        [("UserId", "ItemId", "rating", "timestamp"), *rows]
    )
    got, rejected = read(ratings, tmp_path / "a.csv", text.getvalue().encode())
    assert rejected == []
    expected = [(user, item, float(rating), int(time) * 1000) for user, item, rating, time in rows]
    assert [tuple(fields.values()) for _, _, fields in got] == expected


@given(st.binary(max_size=200))
def test_no_bytes_stop_the_reader_and_every_row_that_fits_alone_is_found(ratings, tmp_path, junk):
    junk = junk.replace(b'"', b"")
    rows, _ = read(ratings, tmp_path / "a.csv", PLAIN + junk + b"\n" + PLAIN)
    assert len(rows) >= 2
    assert users(rows)[-1] == "u1"


@pytest.mark.parametrize("content", [b"", b"\n\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(ratings, tmp_path, content):
    with pytest.raises(UsageError, match="is empty"):
        read(ratings, tmp_path / "a.csv", content)


def test_a_compressed_file_that_breaks_off_is_an_error_that_names_the_line(ratings, tmp_path):
    noise = b"".join(b"u%d,B%d,5.0,%d\n" % (n * 7919, n * 104729, n) for n in range(1, 50_000))
    packed = gzip.compress(noise)
    with pytest.raises(StreamproofError, match=r"cannot be read behind line \d+"):
        read(ratings, tmp_path / "a.csv.gz", packed[: len(packed) // 2])


def test_the_real_files_are_read_whole(ratings, shared_data):
    expected = {"ratings_Electronics.csv": 50_698, "Musical_Instruments_5.csv": 10_261}
    for name, count in expected.items():
        rows, rejected = read(ratings, shared_data / name)
        assert (len(rows), rejected) == (count, [])


@pytest.mark.parametrize("left", [0, 600_000])
def test_a_file_that_is_cut_off_while_it_is_read_has_not_come_to_its_end(ratings, tmp_path, left):
    file = tmp_path / "a.csv"
    file.write_bytes(PLAIN * 50_000)
    rows = CsvRows(ratings, file).rows(lambda *_: None)
    next(rows)
    with file.open("rb+") as cut:
        cut.truncate(left)
    with pytest.raises(StreamproofError, match=r"a.csv: was cut off behind line \d+ while it was read"):
        list(rows)


def test_a_file_that_is_emptied_between_two_passes_is_told(ratings, tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(PLAIN)
    source = CsvRows(ratings, file)
    file.write_bytes(b"")
    with pytest.raises(StreamproofError, match="was cut off behind line 0"):
        list(source.rows(lambda *_: None))
