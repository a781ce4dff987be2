"""Files as people have them: headers, times, numbers, encodings and packings, read alike by replayer and validation."""

import gzip
import io
import tarfile
import zipfile
from datetime import datetime
from decimal import Decimal

import duckdb
import pytest
from both_readers import read_by_the_replayer, read_by_the_validation
from files_of_a_run import manifest
from generated_formats import pack

from edge_replayer.cells import cell_reader
from edge_replayer.csv_rows import CsvRows
from streamproof.core.contract import ContractField, parse_contract
from streamproof.core.errors import StreamproofError, UsageError
from validation.cells import cell_value
from validation.csv_rows import read_rows

ROWS = b"B1,U1,5,1700000000\nB2,U2,4,1700000001\n"
TEXT, NUMBER = {"type": "text"}, {"type": "integer"}


def contract(fields, csv=None, **names):
    return parse_contract({"name": "n", "fields": fields, "csv": csv or {}} | names, "mine.toml")


def rows_of(stream, path, content=None):
    """Return the rows and how many lines are rejected; both readers must say the same."""
    if content is not None:
        path.write_bytes(content)
    found = read_by_the_replayer(stream, path)
    assert read_by_the_validation(stream, path) == found
    return found


def at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    "header",
    [
        b"PRODUCT_ID,USER_ID,RATING,TIMESTAMP\n",
        b"Product ID,User ID,Rating,Timestamp\n",
        b"product-id, user_id ,rating,time-stamp\n",
        b"sep=,\nproduct_id,user_id,rating,timestamp\n",
    ],
)
def test_a_header_in_other_letters_or_below_a_sep_line_gives_the_right_columns(ratings, tmp_path, header):
    found = rows_of(ratings, tmp_path / "a.csv", header + ROWS)
    assert found == ([("U1", "B1", 5, at("2023-11-14T22:13:20")), ("U2", "B2", 4, at("2023-11-14T22:13:21"))], 0)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"# exported 2023-11-14\nproduct_id,user_id,rating,timestamp\n", "names none of the fields .* csv.skip_lines"),
        (b"Produkt,Kunde,Note,Zeit\n", "names none of the fields .* Add its names as aliases"),
        (b"product_id,user_id,stars,timestamp\n", "has no column for the field rating"),
        (b"product_id\tuser_id\trating\ttimestamp\n", r"No ',' is in it, but '\\t' is: set csv.delimiter = \"\\t\""),
        (b"user_id,USER_ID,User ID,product_id,rating\n", "no column for the field timestamp"),
        (b"User-ID,USER_ID,product_id,rating,timestamp\n", "several columns for the field user_id"),
    ],
)
def test_a_header_that_does_not_fit_is_refused_and_never_taken_for_a_row(ratings, tmp_path, first, why):
    (tmp_path / "a.csv").write_bytes(first + ROWS)
    with pytest.raises(UsageError, match=f"(?s){why}"):
        CsvRows(ratings, tmp_path / "a.csv")


@pytest.mark.parametrize("layout", [{"skip_lines": 1}, {"comment": "#"}])
def test_lines_above_the_header_are_passed_over_where_the_contract_says_so(ratings, tmp_path, layout):
    stream = ratings.model_copy(update={"csv": ratings.csv.model_copy(update=layout)})
    content = b'# "exported\nPRODUCT_ID,USER_ID,RATING,TIMESTAMP\n' + ROWS
    assert [row[0] for row in rows_of(stream, tmp_path / "a.csv", content)[0]] == ["U1", "U2"]


def test_a_first_line_that_does_not_fit_a_file_without_a_header_is_a_note_in_the_verdict(ratings, tmp_path):
    stream = ratings.model_copy(update={"csv": ratings.csv.model_copy(update={"header": False})})
    for content, noted in ((b"Produkt,Kunde,Note,Zeit\n" + ROWS, True), (ROWS, False)):
        (tmp_path / "a.csv").write_bytes(content)
        with duckdb.connect() as db:
            counts = read_rows(db, manifest({"A": tmp_path / "a.csv"}, {"A": 0}, contract=stream))["A"]
        assert (counts.note is not None) is noted
        assert counts.rejected == noted


@pytest.mark.parametrize(
    ("spec", "cell", "expected"),
    [
        ({"unit": "s"}, "1.5945120943859746E9", 1_594_512_094_385),
        ({"unit": "s"}, "1594512094.385975", 1_594_512_094_385),
        ({"unit": "s"}, "1594512094", 1_594_512_094_000),
        ({"unit": "s"}, "1594512094385", None),
        ({"unit": "ms"}, "1594512094385.9", 1_594_512_094_385),
        ({"unit": "us"}, "1475652098160606", 1_475_652_098_160),
        ({"unit": "ns"}, "1475652098160606999", 1_475_652_098_160),
        ({"unit": "ns"}, "999", 0),
        ({"format": "iso"}, "2019-10-01 00:00:00 UTC", 1_569_888_000_000),
        ({"format": "iso"}, "2022-01-10T23:09:55.0019Z", 1_641_856_195_001),
        ({"format": "iso"}, "2022-01-11T04:39:55+05:30", 1_641_856_195_000),
        ({"format": "iso"}, "2013-07-04", 1_372_896_000_000),
        ({"format": "iso"}, "2013-02-29 00:00:00", None),
        ({"format": "iso"}, "1969-12-31T23:59:59Z", None),
        ({"format": "iso"}, "2013-07-04 24:00:00", None),
        ({"format": "%m/%d/%Y %I:%M:%S %p"}, "08/30/2013 08:00:00 AM", 1_377_849_600_000),
        ({"format": "%m/%d/%Y %I:%M:%S %p"}, "8/30/2013 12:00:00 pm", 1_377_864_000_000),
        ({"format": "%d/%m/%Y %H.%M.%S"}, "10/03/2004 18.00.00", 1_078_941_600_000),
        ({"format": "%d-%b-%y"}, "04-JUL-13", 1_372_896_000_000),
        ({"format": "iso", "timezone": "Europe/Berlin"}, "2024-07-01 12:00", 1_719_828_000_000),
        ({"format": "iso", "timezone": "Europe/Berlin"}, "2024-07-01 12:00Z", 1_719_835_200_000),
        ({"format": "iso", "timezone": "Europe/Berlin"}, "2024-03-31 02:30", None),
        ({"format": "iso", "timezone": "Europe/Berlin"}, "2024-10-27 02:30", None),
        (
            {"format": "iso", "timezone": "Europe/Berlin", "repeated_hour": "first"},
            "2024-10-27 02:30",
            1_729_989_000_000,
        ),
        (
            {"format": "iso", "timezone": "Europe/Berlin", "repeated_hour": "second"},
            "2024-10-27 02:30",
            1_729_992_600_000,
        ),
    ],
)
def test_a_time_is_read_to_the_millisecond_by_both_readers(spec, cell, expected):
    field = ContractField.model_validate({"type": "time"} | spec)
    read = cell_reader(field)(cell)
    assert (None if read is None else int(read)) == expected
    assert duckdb.execute(f"SELECT {cell_value('$cell', field)}", {"cell": cell}).fetchone() == (expected,)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"])
@pytest.mark.parametrize("repeated", ["reject", "first", "second"])
def test_both_readers_agree_on_every_quarter_of_an_hour_around_a_change_of_the_clocks(zone, repeated):
    days = ["2024-03-10", "2024-03-31", "2024-04-07", "2024-10-06", "2024-10-27", "2024-11-03", "2011-12-30"]
    cells = [f"{day} {hour:02}:{minute:02}" for day in days for hour in range(24) for minute in (0, 15, 30, 45)]
    field = ContractField.model_validate({"type": "time", "format": "iso", "timezone": zone, "repeated_hour": repeated})
    read = cell_reader(field)
    mine = [None if (value := read(cell)) is None else int(value) for cell in cells]
    by_duckdb = f"SELECT list_transform($cells, lambda cell: {cell_value('cell', field)})"
    assert duckdb.execute(by_duckdb, {"cells": cells}).fetchone() == (mine,)
    assert 0 < mine.count(None) < 110


@pytest.mark.parametrize(
    ("spec", "cell", "expected"),
    [
        ({"scale": 18}, "0.004955938648391245", "0.004955938648391245"),
        ({"scale": 18}, "999999999999999.000000000000000001", "999999999999999.000000000000000001"),
        ({"scale": 3, "round": True}, "0.0049559386", "0.005"),
        ({"scale": 0, "round": True}, "-2.5", "-3"),
        ({"scale": 1, "round": True}, "9.95", "10.0"),
        ({"scale": 1, "decimal": ","}, "13,6", "13.6"),
        ({"scale": 1, "decimal": ","}, "13.6", None),
        ({"scale": 2, "decimal": ",", "thousands": "."}, "-1.234.567,89", "-1234567.89"),
        ({"scale": 2, "thousands": ","}, "1,23", None),
        ({"scale": 2, "thousands": " "}, "1 234", "1234"),
    ],
)
def test_a_decimal_is_exact_in_both_readers(spec, cell, expected):
    field = ContractField.model_validate({"type": "decimal"} | spec)
    read = cell_reader(field)(cell)
    assert (None if read is None else Decimal(read.strip('"'))) == (None if expected is None else Decimal(expected))
    found = duckdb.execute(f"SELECT {cell_value('$cell', field)}", {"cell": cell}).fetchone()
    assert found == (None if expected is None else Decimal(expected),)


def test_a_wide_decimal_is_text_in_messages_and_nothing_is_null(tmp_path):
    fields = {"d": {"type": "decimal", "scale": 18, "optional": True}, "b": {"type": "boolean", "optional": True}}
    layout = {"nulls": ["", "NA"], "trim": True}
    stream = contract({"k": TEXT, "n": NUMBER} | fields, layout, partition_by="k")
    content = b"k,n,d,b\na, 1 ,0.1,TRUE\nb,2,NA,\nNA,3,1,no\nc,NA,1,no\n"
    rows, rejected = rows_of(stream, tmp_path / "a.csv", content)
    assert (rows, rejected) == ([("a", 1, Decimal("0.1"), True), ("b", 2, None, None)], 2)
    bodies = [body for _, _, body in CsvRows(stream, tmp_path / "a.csv").rows(lambda *_: None)]
    assert bodies == ['"k":"a","n":1,"d":"0.1","b":true}', '"k":"b","n":2,"d":null,"b":null}']
    types = {field["name"]: field["type"] for field in stream.avro_schema()["fields"]}
    assert (types["d"], types["b"], types["n"]) == (["null", "string"], ["null", "boolean"], "long")


AIR = {
    "seen_at": {"type": "time", "columns": ["Date", "Time"], "format": "%d/%m/%Y %H.%M.%S", "timezone": "Europe/Rome"},
    "place": {"type": "text", "columns": ["Time"]},
    "co": {"type": "decimal", "scale": 1, "decimal": ",", "columns": ["CO(GT)"]},
}
FILES = {
    "airq_comma.csv": ({"delimiter": ";"}, AIR, {"partition_by": "place", "event_time": "seen_at"}),
    "iso_z.csv": (
        {"trim": True},
        {"source": TEXT, "time": {"type": "time", "format": "iso"}, "bytes": NUMBER},
        {"partition_by": "source", "event_time": "time"},
    ),
    "telemetry.csv": (
        {},
        {"device": TEXT, "ts": {"type": "time", "unit": "s"}, "co": {"type": "decimal", "scale": 18},
         "light": {"type": "boolean"}},
        {"partition_by": "device", "event_time": "ts"},
    ),
    "micros.csv": (
        {},
        {"key": TEXT, "value": NUMBER, "time": {"type": "time", "unit": "us"}},
        {"partition_by": "key", "event_time": "time"},
    ),
}  # fmt: skip
FILES["telemetry_frac.csv"] = FILES["telemetry.csv"]


@pytest.mark.parametrize("name", FILES)
def test_files_of_the_field_are_read_whole(shared_data, name):
    layout, fields, names = FILES[name]
    rows, rejected = rows_of(contract(fields, layout, **names), shared_data / "field" / name)
    assert (len(rows) > 10, rejected) == (True, 0)


@pytest.mark.parametrize(
    "name", ["upper.csv", "sep.csv", "utf16.csv", "cp1252.csv", "plain.csv.zst", "plain.zip", "tabs.csv", "eu_time.csv"]
)
def test_ratings_in_other_clothes_are_read_whole(ratings, shared_data, name):
    layout = {"cp1252.csv": {"encoding": "cp1252"}, "tabs.csv": {"delimiter": "\t"}}.get(name, {})
    fields = ratings.fields
    if name == "eu_time.csv":
        fields = fields | {"timestamp": ContractField(type="time", format="iso")}
    stream = ratings.model_copy(update={"csv": ratings.csv.model_copy(update=layout), "fields": fields})
    rows, rejected = rows_of(stream, shared_data / "field" / name)
    assert (len(rows) > 3, rejected) == (True, 0)
    assert all(user.startswith(("U", "Mü", "u")) for user, *_ in rows)


def test_the_shop_clickstream_goes_through_as_it_is(shared_data):
    stream = contract(
        {
            "happened_at": {"type": "time", "columns": ["event_time"], "format": "iso"},
            "event_type": TEXT,
            "product_id": TEXT,
            "category_code": TEXT | {"optional": True},
            "brand": TEXT | {"optional": True},
            "price": {"type": "decimal", "scale": 2},
            "user_id": TEXT,
        },
        partition_by="user_id",
        event_time="happened_at",
    )
    rows, rejected = rows_of(stream, shared_data / "rees46_2019-Oct_sample.csv")
    assert (len(rows), rejected) == (5_019, 0)
    expected = (at("2019-10-01"), "view", "44600062", None, "shiseido", Decimal("35.79"), "541312140")
    assert rows[0] == expected


@pytest.mark.parametrize("name", ["event_time", "seq", "run", "category"])
def test_a_column_may_bear_a_name_of_the_envelope_and_a_field_is_told_how(tmp_path, name):
    with pytest.raises(UsageError, match=rf"{name}.*choose another and make it an alias: \[fields.file_{name}\]"):
        contract({"k": TEXT, "n": NUMBER, name: TEXT}, partition_by="k")
    stream = contract({"k": TEXT, "n": NUMBER, f"file_{name}": TEXT | {"aliases": [name]}}, partition_by="k")
    assert rows_of(stream, tmp_path / "a.csv", f"k,n,{name}\na,1,x\n".encode()) == ([("a", 1, "x")], 0)


@pytest.mark.parametrize("how", ["gz", "bz2", "zst", "zip"])
def test_a_packed_file_is_known_by_its_first_bytes_and_one_that_breaks_off_is_an_error(ratings, tmp_path, how):
    content = b"".join(b"u%d,B%d,5.0,%d\n" % (n * 7919, n * 104729, n) for n in range(1, 30_000))
    packed = pack(content, how)
    assert len(rows_of(ratings, tmp_path / "a.csv", packed)[0]) == 29_999
    (tmp_path / "b.csv").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(
        (StreamproofError, UsageError), match=r"b.csv: (cannot be read behind line|is a zip archive that)"
    ):
        list(CsvRows(ratings, tmp_path / "b.csv").rows(lambda *_: None))


def tar():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"), io.BytesIO())
    return packed.getvalue()


def zipped(*names):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 58\n",
            "a Git LFS pointer .*git lfs pull",
        ),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (tar(), "a tar archive"),
        (gzip.compress(tar()), "a tar archive"),
        (zipped("a.csv", "b.csv"), "a zip archive with 2 files"),
        (zipped("[Content_Types].xml", "xl/a.xml"), "a spreadsheet"),
        (b"PAR1\x15\x04", "a Parquet file"),
        ("user_id,product_id\n".encode("utf-16-le"), "looks like UTF-16 without its mark"),
    ],
    ids=[
        "pointer",
        "page",
        "tar",
        "packed tar",
        "zip",
        "spreadsheet",
        "parquet",
        "utf-16",
    ],  # their bytes hold the time
)
def test_what_is_no_csv_file_says_what_it_is(ratings, tmp_path, content, what):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UsageError, match=rf"a.csv: .*{what}"):
        CsvRows(ratings, tmp_path / "a.csv")


def test_seconds_read_as_milliseconds_are_doubted(ratings, tmp_path):
    (tmp_path / "a.csv").write_bytes(ROWS)
    fields = ratings.fields | {"timestamp": ContractField(type="time", unit="ms")}
    assert "lie in January 1970" in CsvRows(ratings.model_copy(update={"fields": fields}), tmp_path / "a.csv").doubt()
    assert CsvRows(ratings, tmp_path / "a.csv").doubt() is None


def test_the_times_of_a_clock_that_was_never_set_are_rows_like_others(ratings, tmp_path):
    content = b"".join(b"u,p,1,%d\n" % time for time in (1_700_000_000, 0, 1, 2_147_483_648, 4_102_444_800))
    rows, rejected = rows_of(ratings, tmp_path / "a.csv", content + b"u,p,1,-22383318\n")
    assert ([row[3].year for row in rows], rejected) == ([2023, 1970, 1970, 2038, 2100], 1)


def test_only_the_columns_that_are_needed_must_be_there_and_fit(ratings, tmp_path):
    wide = b",".join(b"c%d" % n for n in range(200))
    content = b"user_id,product_id,rating,timestamp," + wide + b"\nu,p,1,1," + b"x" * 260_000 + b"\n"
    assert len(rows_of(ratings, tmp_path / "a.csv", content)[0]) == 1
