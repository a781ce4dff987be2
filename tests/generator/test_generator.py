"""What the generator promises of its files: the same bytes everywhere, beginnings that do not change, and the truth."""

import csv
from collections import Counter
from datetime import datetime
from hashlib import sha256

import duckdb
import pytest

from streamproof.core.errors import UsageError
from streamproof.generator.make import make

CONTRACT = """
name = "shop"
[fields.at]
type = "time"
format = "iso"
[fields.what]
type = "text"
[fields.who]
type = "text"
"""

SESSIONS = """
categories = ["web"]
[demo]
rows = 10
questions = ["none"]
[clock]
begin = 2024-01-01T00:00:00Z
a_day = 20_000
hours = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3]
[draw]
user = { between = [1, 500] }
thing = { of = { cup = 3, hat = 1 } }
[sessions]
start = { look = 99, robot = 1 }
[sessions.states.look]
again = ["thing"]
next = { look = 5, keep = 2, leave = 1, end = 4 }
[sessions.states.keep]
next = { buy = 1 }
[sessions.states.leave]
next = { end = 1 }
truth = "left_cart"
[sessions.states.buy]
next = { end = 1 }
[sessions.states.robot]
rows = [30, 60]
pause = ["100ms", "900ms"]
next = { end = 1 }
truth = "robot"
[columns]
at = "time"
what = "state || ' ' || thing"
who = "'u' || user"
row = "row"
session = "session"
[truth.left_cart]
key = "session"
[truth.robot]
key = "who"
"""

ROWS = """
categories = ["north", "south"]
[demo]
rows = 10
questions = ["none"]
[tables.places]
rows = 1000
[tables.places.columns]
name = "'p' || n"
[clock]
begin = 2024-01-01T00:00:00Z
a_day = 864_000
[draw]
place = { table = "places", zipf = 0 }
status = { of = { good = 9, bad = 1 } }
[[anomalies]]
kind = "surge"
every = "10min"
lasts = "1min"
rate = 20
fix = ["place"]
[[anomalies]]
kind = "outage"
every = "1h"
lasts = "5min"
align = "5min"
draw.status = { good = 0, bad = 1 }
[columns]
at = "time"
what = "status"
who = "place.name"
[truth.surge]
key = "who"
[truth.outage]
"""


@pytest.fixture
def stream(tmp_path):
    """Return what writes a declaration beside a contract and names the contract."""

    def write(text):
        (tmp_path / "shop.toml").write_text(CONTRACT)
        (tmp_path / "generator.toml").write_text(text)
        return str(tmp_path / "shop.toml")

    return write


def rows_of(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("text", [SESSIONS, ROWS], ids=["sessions", "rows"])
def test_the_same_seed_gives_the_same_bytes_and_a_short_file_is_the_beginning_of_a_long_one(stream, tmp_path, text):
    name = stream(text)
    long, again, short = (make(name, rows, tmp_path / str(n)) for n, rows in enumerate((120_000, 120_000, 50_001)))
    other = make(name, 1000, tmp_path / "other", seed=2)
    for category, file in long.files.items():
        whole, beginning = file.read_bytes(), short.files[category].read_bytes()
        assert again.files[category].read_bytes() == whole
        assert len(beginning) < len(whole) / 2
        assert whole.startswith(beginning)
        assert not whole.startswith(other.files[category].read_bytes())
    assert again.truth.read_bytes() == long.truth.read_bytes()
    assert sum(len(rows_of(file)) for file in short.files.values()) == 50_001


@pytest.mark.parametrize(
    ("stream", "digest"),
    [
        ("ratings", "5b32620f181b9399"),
        ("traffic", "3085fe26e46aafd2"),
        ("clicks", "72990670ac1d1193"),
        ("purchases", "6f8a04eec11b633f"),
    ],
)
def test_the_bytes_are_these_on_every_machine(tmp_path, stream, digest):
    made = make(stream, 3000, tmp_path)
    found = b"".join(file.read_bytes() for file in (*made.files.values(), made.truth))
    assert sha256(found).hexdigest()[:16] == digest


def test_ids_are_text_and_few_keys_have_most_rows(tmp_path):
    file = make("ratings", 20_000, tmp_path, categories=["Books"]).files["Books"]
    ids = Counter(line.split(",")[1] for line in file.read_text().splitlines())
    assert len(ids) == 200
    assert {len(each) for each in ids} == {10}
    assert any(each.startswith("0") for each in ids)
    assert any(each.endswith("X") for each in ids)
    assert sum(count for _, count in ids.most_common(20)) > 10_000


def test_rows_come_in_the_order_of_time_at_the_hours_that_the_clock_weighs(stream, tmp_path):
    rows = rows_of(make(stream(SESSIONS), 60_000, tmp_path / "out").files["web"])
    times = [row["at"] for row in rows]
    assert times == sorted(times)
    hours = Counter(datetime.fromisoformat(each).hour for each in times if each < "2024-01-02")
    assert hours[3] == 0
    assert 2.5 < hours[23] / hours[12] < 3.5
    assert [int(row["row"]) for row in rows] == list(range(1, 60_001))


def test_a_session_goes_from_state_to_state_and_keeps_what_is_not_drawn_again(stream, tmp_path):
    rows = rows_of(make(stream(SESSIONS), 50_000, tmp_path / "out").files["web"])
    sessions = {}
    for row in rows:
        sessions.setdefault(row["session"], []).append(row)
    bought = [each for each in sessions.values() if each[-1]["what"].startswith("buy")]
    assert len(bought) > 1000
    for each in bought:
        *_, before, keep, buy = [row["what"] for row in each] if len(each) > 2 else ("", *[r["what"] for r in each])
        assert keep.split()[0] == "keep"
        assert before.split()[1:] in ([], keep.split()[1:])  # kept is what was looked at last
        assert buy.split()[1] == keep.split()[1]
    assert all(len({row["who"] for row in each}) == 1 for each in sessions.values())
    looked = [{row["what"] for row in each if row["what"].startswith("look")} for each in sessions.values()]
    assert any(len(each) == 2 for each in looked)


def test_the_truth_names_each_thing_that_was_put_in_with_its_key_times_and_size(stream, tmp_path):
    made = make(stream(SESSIONS), 60_000, tmp_path / "out")
    truth = rows_of(made.truth)
    rows = [row for row in rows_of(made.files["web"]) if row["what"].startswith("robot")]
    robots = [line for line in truth if line["kind"] == "robot"]
    assert len(robots) == len({row["session"] for row in rows})
    assert sum(int(line["size"]) for line in robots) == len(rows)
    sizes = Counter(row["session"] for row in rows)
    assert {min(sizes.values()), max(sizes.values())} == {30, 60}
    line = max(robots, key=lambda each: int(each["size"]))
    own = [row for row in rows if row["who"] == line["key"] and line["begin"][:19] <= row["at"].replace(" ", "T")[:19]]
    assert len(own) >= int(line["size"]) > 40
    left = {line["key"] for line in truth if line["kind"] == "left_cart"}
    assert left == {row["session"] for row in rows_of(made.files["web"]) if row["what"].startswith("leave")}


def test_anomalies_add_rows_of_one_key_or_change_what_is_drawn_while_they_last(stream, tmp_path):
    made = make(stream(ROWS), 120_000, tmp_path / "out")
    truth = [line for line in rows_of(made.truth) if line["category"] == "north"]
    surges = [line for line in truth if line["kind"] == "surge"]
    assert len(surges) >= 7
    assert {int(line["size"]) for line in surges[:-1]} == {1200}
    with duckdb.connect() as db:
        db.read_csv(str(made.files["north"])).create("rows")
        for line in surges[:3]:
            (count,) = db.execute(
                'SELECT count(*) FROM rows WHERE who = $key AND "at" BETWEEN $begin::TIMESTAMP AND $end::TIMESTAMP',
                {each: line[each] for each in ("key", "begin", "end")},
            ).fetchone()
            assert count >= 1200
        outage = next(line for line in truth if line["kind"] == "outage")
        found = db.execute(
            'SELECT what, count(*) FROM rows WHERE "at" BETWEEN $begin::TIMESTAMP AND $end::TIMESTAMP GROUP BY ALL',
            {each: outage[each] for each in ("begin", "end")},
        ).fetchall()
    assert datetime.fromisoformat(outage["begin"]).minute % 5 == 0
    assert dict(found).keys() == {"bad", "good"}  # what a surge adds is as usual
    assert dict(found)["bad"] >= 5 * 60 * 10


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[draw]\n", "[draw]\nx = { }\n", "draw.x: one of between"),
        ("start = { look = 99, robot = 1 }", "start = { lok = 1 }", "sessions: start: there is no state 'lok'"),
        ("rows = [30, 60]", "row = [30, 60]", "sessions.states.robot.row: there is no such key"),
        ("a_day = 20_000", "a_day = 0", "clock.a_day"),
        ('key = "who"', 'key = "whom"', "truth.robot: key: there is no column 'whom'"),
        ("[truth.left_cart]\n", "[truth.other]\n", "truth: 'left_cart' needs a part [truth.left_cart]"),
        ('at = "time"', 'at = "tim"', "columns: Binder Error"),
        ("\"state || ' ' || thing\"", "\"thing || ',' || state\"", "columns: a value needs quotes"),
        ('at = "time"', 'at = "now()"', "columns.at: now answers differently each time"),
    ],
)
def test_a_declaration_that_is_wrong_is_refused_by_file_and_key(stream, tmp_path, old, new, said):
    assert old in SESSIONS
    name = stream(SESSIONS.replace(old, new, 1))
    with pytest.raises(UsageError) as refused:
        make(name, 1000, tmp_path / "out")
    assert said in str(refused.value)
    assert str(tmp_path / "generator.toml") in str(refused.value)


def test_a_stream_without_a_declaration_is_told_so(tmp_path):
    (tmp_path / "shop.toml").write_text(CONTRACT)
    with pytest.raises(UsageError, match=r"there is no .*generator\.toml"):
        make(str(tmp_path / "shop.toml"), 10, tmp_path / "out")
