"""``contract draft``: the contract that it writes reads the file, and the question beside it is one that is taken."""

import gzip
import json
import random
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_replayer.csv_rows import CsvRows
from edge_replayer.draft.draft import draft
from streamproof.cli import app
from streamproof.core.contract import load_contract, parse_contract
from streamproof.core.errors import UsageError
from streamproof.core.question import load_question, parse_question

FILES = [
    *("All_Beauty_2023.csv", "Musical_Instruments_5.csv", "ratings_Electronics.csv", "rees46_2019-Oct_sample.csv"),
    *(f"field/{name}" for name in ("airq_comma.csv", "cp1252.csv", "dup_unneeded.csv", "eu_time.csv", "iso_z.csv")),
    *(f"field/{name}" for name in ("micros.csv", "plain.csv.zst", "plain.zip", "sep.csv", "tabs.csv", "upper.csv")),
    *(f"field/{name}" for name in ("telemetry.csv", "telemetry_frac.csv", "utf16.csv")),
]
START = datetime(2024, 1, 30, 22, tzinfo=UTC)


def drafted(tmp_path, content, name="mine.csv"):
    """Return what is drafted from a file, and its contract as a dictionary."""
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    made = draft(path)
    return made, tomllib.loads(made.contract)


def types(data):
    return {name: field["type"] for name, field in data["fields"].items()}


def lines(header, row, count=40):
    return f"{header}\n" + "".join(f"{row(n)}\n" for n in range(count))


@pytest.mark.parametrize("name", FILES)
def test_every_row_of_the_real_files_fits_what_is_drafted_from_them(shared_data, name):
    made = draft(shared_data / name)
    assert (made.rejections, made.whole) == (0, True)
    assert made.fitting > 1
    assert made.has_time


def test_a_contract_of_the_shop_keeps_ids_as_text_and_its_own_event_time(shared_data):
    data = tomllib.loads(draft(shared_data / "rees46_2019-Oct_sample.csv").contract)
    assert types(data) == {
        "file_event_time": "time", "event_type": "text", "product_id": "text", "category_id": "text",
        "category_code": "text", "brand": "text", "price": "decimal", "user_id": "text", "user_session": "text",
    }  # fmt: skip
    assert [name for name, field in data["fields"].items() if field.get("optional")] == ["category_code", "brand"]


def test_a_file_of_sensors_gives_a_contract_and_a_question_by_device(tmp_path):
    made, data = drafted(
        tmp_path, lines("ts,device,temp,on", lambda n: f"{START + timedelta(seconds=n):%FT%TZ},d{n % 3},{n / 4},true")
    )
    assert data == {
        "name": "mine",
        "partition_by": "device",
        "event_time": "ts",
        "csv": {"header": True},
        "fields": {
            "ts": {"type": "time", "format": "iso"},
            "device": {"type": "text"},
            "temp": {"type": "decimal", "scale": 2},
            "on": {"type": "boolean"},
        },
    }
    question = parse_question(made.question, made.question_text, "q")
    assert (made.question, question.key, str(question.window)) == ("mine_by_device", ("device",), "5s/5s")
    assert "AVG(CAST(`temp` AS DOUBLE)) AS temp_avg" in made.question_text
    assert made.doubts == []


@pytest.mark.parametrize(
    ("cells", "spec"),
    [
        (["0012", "1234", "9999"], {"type": "text"}),
        (["12", "7", "-3"], {"type": "integer"}),
        (["A12", "7", "9"], {"type": "text"}),
        (["1.5", "2", "-3.25"], {"type": "decimal", "scale": 2}),
        (["0.004955938648391245", "1.5", "2"], {"type": "decimal", "scale": 18}),
        (["0.0000000000000000000001", "1", "2"], {"type": "decimal", "scale": 18, "round": True}),
        (["123456789.123456789", "1.5", "2"], {"type": "decimal", "scale": 10}),
        (["1,5", "2,25", "3"], {"type": "decimal", "scale": 2, "decimal": ","}),
        (["1,234.50", "12", "2,000,000.1"], {"type": "decimal", "scale": 2, "thousands": ","}),
        (["1.234,50", "12", "2.000.000,1"], {"type": "decimal", "scale": 2, "decimal": ",", "thousands": "."}),
        (["1,234", "12", "2,000,000"], {"type": "integer", "thousands": ","}),
        (["1.234.567", "12", "2.000.000"], {"type": "decimal", "scale": 0, "decimal": ",", "thousands": "."}),
        (["1e-5", "2e-6", "3"], {"type": "text"}),
        (["yes", "no", "no"], {"type": "boolean"}),
        (["0", "1", "1"], {"type": "integer"}),
        (["1234567890123", "9234567890123", "8234567890123"], {"type": "text"}),
        (["1700000000", "1700000060", "1700000120"], {"type": "time", "unit": "s"}),
        (["1700000000.5", "1.70000006E9", "1700000120"], {"type": "time", "unit": "s"}),
        (["1700000000123", "1700000060123", "1700000120123"], {"type": "time", "unit": "ms"}),
        (["1700000000123456", "1700000060123456", "1700000120123456"], {"type": "time", "unit": "us"}),
        (["1700000000123456789", "1700000060123456789", "1700000120123456789"], {"type": "time", "unit": "ns"}),
        (["2024-01-30", "2024-01-31T10:00Z", "2024-02-01 10:00:00.5 +01:00"], {"type": "time", "format": "iso"}),
        (["08/30/2013 08:00:00 AM", "08/31/2013 08:00:00 PM", "09/01/2013 08:00:00 PM"],
         {"type": "time", "format": "%m/%d/%Y %I:%M:%S %p"}),
        (["30.8.2013 8:00", "31.8.2013 8:00", "1.9.2013 8:00"], {"type": "time", "format": "%d.%m.%Y %H:%M"}),
        (["30-Aug-13", "31-Aug-13", "1-Sep-13"], {"type": "time", "format": "%d-%b-%y"}),
        (["10/Oct/2000:13:55:36 -0700", "10/Oct/2000:13:56:36 -0700", "11/Oct/2000:13:55:36 -0700"],
         {"type": "time", "format": "%d/%b/%Y:%H:%M:%S %z"}),
        (["Thu Jul 04 10:00:00 2013", "Fri Jul 05 10:00:00 2013", "Sat Jul 06 10:00:00 2013"],
         {"type": "time", "format": "%a %b %d %H:%M:%S %Y"}),
        (["1950-01-01", "1961-01-01", "1999-01-01"], {"type": "text"}),
        (["10.0.0.1", "10.0.0.2", "192.168.0.1"], {"type": "text"}),
        (["3.50", "", "NA"], {"type": "decimal", "scale": 2, "optional": True}),
        (["x", "", "NULL"], {"type": "text", "optional": True}),
        (["NA", "DE", "US"], {"type": "text"}),
    ],
)  # fmt: skip
def test_what_cells_are(tmp_path, cells, spec):
    made, data = drafted(tmp_path, "n;x\n" + "".join(f"{n};{cell}\n" for n, cell in enumerate(cells * 3)))
    assert data["fields"]["x"] == spec
    assert (made.fitting, made.rejections) == (9, 0)


@pytest.mark.parametrize(
    ("name", "spec"), [("user_id", "text"), ("Zip", "text"), ("bytes", "integer"), ("value", "integer")]
)
def test_the_name_says_whether_a_number_is_an_id(tmp_path, name, spec):
    _, data = drafted(tmp_path, lines(f"{name},b", lambda n: f"{n + 40_000},x"))
    assert types(data)[name.lower()] == spec


def test_long_numbers_that_look_like_ids_are_text_with_a_comment(tmp_path):
    made, data = drafted(tmp_path, lines("customer,n", lambda n: f"{123456789012 + n * 7919},{n}"))
    assert types(data)["customer"] == "text"
    assert "# not sure: long numbers, which are ids more often than amounts" in made.contract
    assert any(doubt.startswith("customer: ") for doubt in made.doubts)


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y"])
def test_day_or_month_first_is_told_by_the_order_of_the_file_and_said(tmp_path, form):
    days = [datetime(2024, month, day, tzinfo=UTC) for month in (1, 2, 3) for day in (1, 5, 9)]
    made, data = drafted(tmp_path, "t,v\n" + "".join(f"{day.strftime(form)},1\n" for day in days))
    assert data["fields"]["t"]["format"] == form
    assert "# not sure: day or month first?" in made.contract


def test_a_date_and_a_time_in_two_columns_are_one_field(tmp_path):
    made, data = drafted(
        tmp_path, lines("Date;Time;CO(GT);;", lambda n: f"{n % 28 + 1}/03/2004;{n % 24}.00.00;2,{n};;")
    )
    assert data["fields"] == {
        "time": {"type": "time", "columns": ["Date", "Time"], "format": "%d/%m/%Y %H.%M.%S"},
        "co_gt": {"type": "decimal", "columns": ["CO(GT)"], "scale": 2, "decimal": ","},
    }
    made, data = drafted(tmp_path, "".join(f"2004-03-{n + 10},1{n % 10}:00,{n}\n" for n in range(20)))
    assert data["csv"] == {"header": False, "columns": ["column_1", "column_2", "column_3"]}
    assert data["fields"]["time"] == {"type": "time", "columns": ["column_1", "column_2"], "format": "iso"}
    assert (made.fitting, made.rejections) == (20, 0)


def row(n):
    return f"{1_700_000_000 + n};s{n % 3};{n}"


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        (lines("ts;sensor;v", row), {"header": True, "delimiter": ";"}),
        (lines("ts;sensor;v", row).replace(";", "\t"), {"header": True, "delimiter": "\t"}),
        (lines("ts;sensor;v", row).replace(";", " "), {"header": True, "delimiter": " "}),
        (lines("ts;sensor;v", row).replace(";", ", "), {"header": True, "trim": True}),
        (lines("sep=;\nts;sensor;v", row), {"header": True, "delimiter": ";"}),
        (lines("# by me\n# today\nts;sensor;v", row), {"header": True, "delimiter": ";", "comment": "#"}),
        (lines("#ts;sensor;v", row), {"header": True, "delimiter": ";"}),
        (lines("  \nts;sensor;v", row), {"header": True, "delimiter": ";", "skip_lines": 1}),
        (lines("A report\n\nts;sensor;v", row), {"header": True, "delimiter": ";", "skip_lines": 2}),
        (lines("ts;sensor;v", row).replace("s1", "'s;1'").replace("s2", "'s2'").replace("s0", "'s0'"),
         {"header": True, "delimiter": ";", "quote": "'"}),
        (lines("", row), {"header": False, "delimiter": ";", "columns": ["time", "column_2", "column_3"]}),
        (b"\xef\xbb\xbf" + lines("ts;sensor;v", row).encode(), {"header": True, "delimiter": ";"}),
        (lines("ts;sensor;v", row).replace("s1", "é1").encode("cp1252"),
         {"header": True, "delimiter": ";", "encoding": "cp1252"}),
        (lines("ts;sensor;v", row).encode("utf-16-be"), {"header": True, "delimiter": ";", "encoding": "utf-16-be"}),
        (gzip.compress(lines("ts;sensor;v", row).replace("\n", "\r\n").encode()), {"header": True, "delimiter": ";"}),
    ],
    ids=["semicolons", "tabs", "blanks", "trimmed", "sep", "comments", "names in a comment", "blanks above", "title",
         "single quotes", "no header", "bom", "cp1252", "utf-16", "gzip"],
)  # fmt: skip
def test_how_a_file_is_laid_out(tmp_path, content, layout):
    made, data = drafted(tmp_path, content)
    assert data["csv"] == layout
    assert (made.fitting, made.rejections) == (40, 0)
    assert list(types(data).values()) == ["time", "text", "integer"]


def test_words_for_nothing_are_found_and_make_a_field_optional_wherever_they_stand(tmp_path):
    made, data = drafted(
        tmp_path, lines("name,v,note", lambda n: f"n{n % 4},{'NA' if n % 5 == 0 else n},{'NA' if n == 7 else 'x'}")
    )
    assert data["csv"]["nulls"] == ["", "NA"]
    assert [name for name, field in data["fields"].items() if field.get("optional")] == ["v", "note"]
    made, data = drafted(tmp_path, lines("name,v", lambda n: f"n{n % 4},{'trace' if n % 5 == 0 else n}"))
    assert data["csv"]["nulls"] == ["", "trace"]
    assert 'is nothing meant by "trace"?' in made.contract


def test_rows_that_are_broken_are_counted_and_named_and_change_no_type(tmp_path):
    broken = 'a1,oops,1700000100\na1\n"open,3,4\n'
    made, data = drafted(tmp_path, lines("sensor,v,ts", lambda n: f"a{n % 3},{n},{1_700_000_000 + n}", 100) + broken)
    assert types(data) == {"sensor": "text", "v": "integer", "ts": "time"}
    assert (made.fitting, made.rejections) == (100, 3)
    assert made.rejected[0] == (102, "v: expected a whole number, found 'oops'")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("a,b\n", "no row below the header"),
        ('{"a": 1}\n{"a": 2}\n', "is JSON, an object a line"),
        ('[\n {"a": 1}\n]\n', "is JSON"),
        ("<?xml version='1.0'?><a/>", "is XML"),
        ("<!DOCTYPE html><p>", "is an HTML page"),
        (b"\x00\x01\x02\x03,\n" * 9, "is a binary file|looks like UTF-16"),
        (b"PAR1....", "is a Parquet file"),
        ("version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("this is some prose\nand it goes on for a while\nwith no end\n", "is it a CSV"),
        ("a,b\r1,2\r", "lines end in CR"),
        (",\n,\n,\n", "nothing stands|no row|is it a CSV"),
    ],
)
def test_what_is_no_csv_says_what_it_is(tmp_path, content, what):
    with pytest.raises(UsageError, match=what):
        drafted(tmp_path, content)


@pytest.mark.parametrize(
    ("file", "stream"),
    [("2019-Oct.csv", "stream_2019_oct"), ("SensorData (1).csv.gz", "sensor_data_1"), ("ratings.csv", "my_ratings"),
     ("ünï=x.csv", "uni_x"), ("データ.csv", "stream")],
)  # fmt: skip
def test_a_stream_is_called_like_its_file(tmp_path, file, stream):
    content = lines("a,b", lambda n: f"x{n},{n}").encode()
    made, _ = drafted(tmp_path, gzip.compress(content) if file.endswith("gz") else content, file)
    assert made.stream == stream


def test_names_that_are_taken_or_twice_are_fields_all_the_same(tmp_path):
    header = "Count,User,Date,run,job,event_time,a b,A-B,größe,window_start,2nd,row_count"
    made, data = drafted(
        tmp_path, lines(header, lambda n: f"{n},u{n % 2},2024-01-{1 + n % 28:02},r,j,1700000000,1,2,3,4,5,6")
    )
    assert list(data["fields"]) == [
        "count", "user", "date", "file_run", "file_job", "file_event_time", "a_b", "a_b_2", "groe",
        "file_window_start", "column_2nd", "row_count",
    ]  # fmt: skip
    assert made.rejections == 0
    assert "COUNT(*) AS row_count_," in made.question_text


def test_the_command_writes_both_files_and_the_commands_that_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my file.csv").write_text(lines("ts,device,v", lambda n: f"{1_700_000_000 + n},d{n % 3},{n}"))
    run = CliRunner().invoke
    done = run(app, ["contract", "draft", "my file.csv"])
    assert done.exit_code == 0
    assert "my_file.toml: 40 of all 40 rows fit" in done.stdout
    assert [line.strip() for line in done.stdout.splitlines() if line.startswith("    streamproof")] == [
        "streamproof deploy ./my_file.toml",
        "streamproof submit my_file_by_device.sql --stream ./my_file.toml --run my_file-1",
        "streamproof replay ./my_file.toml 'my_file=my file.csv' --speed 1 --clock virtual --run my_file-1",
        "streamproof validate my_file-1",
    ]
    assert load_question("my_file_by_device.sql").header.stream == load_contract("my_file.toml").name == "my_file"
    shown = run(app, ["replay", "./my_file.toml", "my_file=my file.csv", "--speed", "1", "--to", "stdout",
                      "--clock", "virtual"])  # fmt: skip
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [row["device"] for row in rows if row["seq"] > 0] == [f"d{n % 3}" for n in range(40)]

    Path("my_file.toml").write_text("mine")
    with pytest.raises(UsageError, match=r"my_file\.toml is there already: choose another --name"):
        run(app, ["contract", "draft", "my file.csv"], catch_exceptions=False)
    assert Path("my_file.toml").read_text() == "mine"
    assert run(app, ["contract", "draft", "my file.csv", "--force"]).exit_code == 0
    assert load_contract("my_file.toml").name == "my_file"
    assert run(app, ["contract", "draft", "my file.csv", "--name", "other", "--output", "new/folder"]).exit_code == 0
    assert load_contract("new/folder/other.toml").name == "other"


def test_a_file_without_times_is_asked_by_rows_a_second(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(lines("device,v", lambda n: f"d{n % 3},{n}"))
    done = CliRunner().invoke(app, ["contract", "draft", "a.csv"])
    assert "replay ./a.toml a=a.csv --rate 1 --clock virtual" in done.stdout
    assert str(load_question("a_by_device.sql").window) == "1min/1min"


@pytest.mark.parametrize("name", ["Mine", "my-stream", "1st", ""])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    (tmp_path / "a.csv").write_text(lines("device,v", lambda n: f"d{n % 3},{n}"))
    with pytest.raises(UsageError, match="is none for a stream"):
        draft(tmp_path / "a.csv", name)


def cell(kind, chance, n):
    return {
        "text": chance.choice(["red", "two words", "x-1", "ÄÖ", "k9"]),
        "id": f"{chance.randrange(50):05}",
        "integer": str(chance.randrange(-500, 500)),
        "decimal": f"{chance.uniform(-99, 99):.3f}",
        "boolean": chance.choice(["true", "false"]),
        "time": f"{START + timedelta(minutes=n):%Y-%m-%d %H:%M:%S}",
    }[kind]


KINDS = ["text", "id", "integer", "decimal", "boolean", "time"]


@pytest.mark.parametrize("seed", range(40))
def test_a_generated_file_is_read_to_its_last_row_by_what_is_drafted_from_it(tmp_path, seed):
    chance = random.Random(seed)
    kinds = [chance.choice(KINDS) for _ in range(chance.randrange(2, 8))] + ["integer", "text"]
    chance.shuffle(kinds)
    header, delimiter = chance.random() < 0.7, chance.choice(",;\t|")
    quote = chance.choice(["", '"'])
    empty = [chance.random() < 0.3 for _ in kinds]
    rows = [[f"{kind[:2]}Col{place}" for place, kind in enumerate(kinds)]] if header else []
    for n in range(chance.randrange(30, 200)):
        rows.append(
            ["" if empty[p] and n and chance.random() < 0.2 else cell(kind, chance, n) for p, kind in enumerate(kinds)]
        )
    text = "".join(delimiter.join(f"{quote}{each}{quote}" for each in row) + "\n" for row in rows)
    encoding = chance.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    made, data = drafted(tmp_path, text.encode(encoding))
    assert list(types(data).values()) == ["text" if kind == "id" else kind for kind in kinds]
    assert (made.fitting, made.rejections) == (len(rows) - header, 0)
    reread = CsvRows(parse_contract(data, "mine.toml"), tmp_path / "mine.csv").rows(lambda *_: None)
    assert sum(1 for _ in reread) == made.fitting
