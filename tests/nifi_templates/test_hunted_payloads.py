"""Bad input, hunted: whatever comes on the topic is a row or a dead letter, as a model of its own says, and no more."""

import json
import os
import random
import re
from base64 import b64decode
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from flow_stream import Stream
from hunting import cases
from hypothesis import Phase, assume, given, seed, settings
from hypothesis import strategies as st
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from nifi_templates import deployment
from nifi_templates.definition import SOURCE, build_definition
from nifi_templates.processors.received_lines import fitting_rows
from streamproof.core.contract import load_contract

PAYLOADS = cases(300)
# Again from a seed that a failure has told: this variable of the environment.
SEED = os.environ.get("STREAMPROOF_HUNT_SEED")
KEPT = 128 * 1024
DEEPEST = 100
LONGEST_MESSAGE = 8_000_000  # the broker refuses what is longer than 8 MiB
CATEGORY = "c-----"
ENVELOPE = ("run", "category", "seq", "event_time", "low_watermark")
TEXTS = ("run", "category", "user_id", "product_id")
WHOLE = ("seq", "event_time", "low_watermark", "timestamp")
FIELDS = (*ENVELOPE, "user_id", "product_id", "rating", "timestamp")


# What comes: a line is made of raw JSON texts, so that it can be what no JSON writer writes.

SPELLINGS = """
null true false 0 -0 -0.0 0.0 1.0 7.5 1e3 1E3 10e-1 1e-3 1e400 -1e400 NaN Infinity -Infinity nan 01 -01 +1 .5 5. 1e 0x1
9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 18446744073709551616 1e18
123456789012345678901234567890 9007199254740993 9007199254740993.0 0.1 4.25 12345678901234567890.5 5e-324
1.7976931348623157e308 0.30000000000000004 100000000000000 99999999999999.9 "" "4.5" "NaN" "7" " " {} [] [[]] {"a":1}
[1,"x",null] {"a":1,"a":2} "\\ud800" "\\ud83d\\ude00" "\\udc00\\ud800" "\\u0000" "\\u2028" "\\ufffe" "\\/" "\\x"
"\\"seq\\":0" "é" "\u2028" "\u2029" "\x85" "\ufeff" "\uffff" "\x7f" "a\tb" "\x00" undefined 'x' , : } ] " 1,2 a/b +
""".split(" ")  # noqa: SIM905 - not split(): it would cut at U+2028
raw = st.one_of(
    st.sampled_from([text.strip("\n") for part in SPELLINGS for text in part.split("\n")]),
    st.integers().map(str),
    st.floats().map(json.dumps),
    st.text(max_size=20).map(json.dumps),
    st.text(st.characters(codec="utf-8"), max_size=20).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.recursive(st.integers(), lambda part: st.lists(part) | st.dictionaries(st.text(), part)).map(json.dumps),
    st.integers(290, 1100).map(lambda n: "9" * n),
    st.sampled_from([1, 98, 99, 100, 101, 1500, 40_000]).map(lambda n: "[" * n + "]" * n),
)  # fmt: skip
long_text = st.builds(
    lambda size, shift, text: json.dumps(text * max(0, size + shift), ensure_ascii=False),
    st.sampled_from([1000, 65_535, KEPT - 160, KEPT, 1_000_000]),
    st.integers(-20, 20),
    st.sampled_from(["x", "\x01", '"', "é", "\U0001f600"]),
)
seqs = st.sampled_from(["0", "-0", "-1", "-2", "1.0", "1e3", "1e400", "true", "null", str(2**63 - 1), str(2**63)])
names = st.sampled_from([*FIELDS, "extra", "Seq", "", "seq "]) | st.text(max_size=5)


@dataclass
class Row:
    """A row as raw JSON texts, unlike any other by its event time."""

    number: int
    members: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self):
        values = ['"hunt"', json.dumps(CATEGORY), str(self.number), str(self.number), "0"]
        self.members += zip(FIELDS, [*values, '"u"', f'"{self.number % 7:010d}"', "4.5", "1000"], strict=True)

    def put(self, name, value):
        self.members = [(n, value if n == name else v) for n, v in self.members]

    def text(self, comma=",", colon=":"):
        return "{" + comma.join(f"{json.dumps(n)}{colon}{v}" for n, v in self.members) + "}"


@st.composite
def lines(draw, number):
    row = Row(number)
    good = row.text().encode()
    kind = draw(
        st.sampled_from(["good"] * 3 + ["value"] * 8 + ["seq", "long", *["shape"] * 3, "cut", "json", "bytes", "blank"])
    )
    if kind == "good":
        return row.text(draw(st.sampled_from([",", ", ", ",\r", "\t, "]))).encode()
    if kind == "value":
        for name in draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2)):
            row.put(name, draw(raw))
    elif kind == "seq":
        row.put("seq", draw(seqs))
    elif kind == "long":
        row.put(draw(st.sampled_from(FIELDS)), draw(long_text))
    elif kind == "shape":
        extra = [(draw(names), draw(raw))] if draw(st.booleans()) else []
        row.members = [m for m in row.members + extra if draw(st.integers(0, 19))]
        row.members = draw(st.permutations(row.members))
    elif kind == "cut":
        return good[: draw(st.integers(0, len(good)))] + good[draw(st.integers(0, len(good))) :]
    elif kind == "json":
        return draw(raw).encode("utf-8", "surrogatepass")
    elif kind == "blank":
        return draw(st.sampled_from([b"", b" ", b"\t\r", b"\x0b", b"\x0c", b"\x00"]))
    else:
        at = draw(st.integers(0, len(good)))
        return good[:at] + draw(st.binary(max_size=6)) + good[at:] if draw(st.booleans()) else draw(st.binary())
    return row.text().encode("utf-8", "surrogatepass")


@st.composite
def payloads(draw):
    count = draw(st.sampled_from([0, 1, 1, 1, 2, 5]))
    made = [draw(lines(number)) for number in range(1, count + 1)]
    payload = draw(st.sampled_from([b"\n", b"\r\n", b"\n\n"])).join(made) + draw(st.sampled_from([b"", b"\n"]))
    assume(len(payload) < LONGEST_MESSAGE)
    return payload


bits = st.sampled_from(
    ["", *'0123456789-+.eE"\\/{}[]:, \t\r\n\x00\x1f\x7fé\u2028nutfx', "null", "true", '","seq":1,"', "\udcff"]
)


@st.composite
def near_rows(draw):
    """Make rows with little that is wrong: a bit put into a value, in place of something or not, or another value."""
    rows = [Row(number) for number in range(1, draw(st.integers(2, 3)))]
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=2)):
        value = dict(rows[0].members)[name]
        at, taken = draw(st.integers(0, len(value))), draw(st.integers(0, 1))
        rows[0].put(name, draw(raw) if at == len(value) else value[:at] + draw(bits) + value[at + taken :])
    text = draw(st.sampled_from(["\n", "\n", "", "\n\n", "\r\n", "\n "])).join(row.text() for row in rows)
    return text.encode("utf-8", "surrogateescape" if draw(st.booleans()) else "surrogatepass")


# What must become of it: the contract, once more and in few words.


class NoRow(Exception):  # noqa: N818
    """Raised for a line that is no row."""


def require(that):
    if not that:
        raise NoRow


def only_once(pairs):
    require(len(dict(pairs)) == len(pairs))
    return dict(pairs)


def depth(value):
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [i for v in level if isinstance(v, dict | list) for i in (v.values() if isinstance(v, dict) else v)]
    return deepest


def values(row):
    return tuple(float(row[name]) if name == "rating" else row[name] for name in FIELDS)


def kept(payload):
    """Return what a dead letter keeps of a payload: its first bytes, of a text whole characters."""
    for end in range(KEPT, KEPT - 4, -1):
        with suppress(UnicodeDecodeError):
            return payload[:end].decode().encode()
    return payload[:KEPT]


def outcome(line):
    """Return what a line must become: ("row", its values), or ("schema" or "message", the dead letter's payload)."""
    try:
        require(len(line) <= KEPT and not re.search(rb"[0-9]{300}", line))
        row = json.loads(line.decode(), object_pairs_hook=only_once, parse_constant=lambda _: require(False))
        require(isinstance(row, dict) and depth(row) <= DEEPEST)
        text = json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False)  # without: inf of a 1e400
        text.encode()  # it fails for a half of a surrogate pair
    except (NoRow, ValueError, RecursionError):
        return "message", kept(line)
    try:
        require(set(row) == set(FIELDS))
        require(all(isinstance(row[name], str) for name in TEXTS))
        require(all(type(row[name]) is int for name in WHOLE) and type(row["rating"]) in (int, float))
        require(all(-(2**63) <= row[name] < 2**63 for name in WHOLE))
        require(type(row["rating"]) is float or abs(row["rating"]) <= 2**53)  # beyond, a double is not exact
        return "row", values(row)
    except (NoRow, OverflowError):
        return "schema", text


def outcomes(payload):
    return [outcome(line) for line in payload.split(b"\n") if line.strip()] or [("message", kept(payload))]


def outcome_of_letter(letter):
    payload = letter["payload"]
    payload = b64decode(letter["payload_base64"]) if payload is None else payload.encode("utf-8", "surrogatepass")
    if letter["stage"] == "schema":  # NiFi has written it anew
        return "schema", json.dumps(json.loads(payload), sort_keys=True, ensure_ascii=False)
    return letter["stage"], payload


fit = fitting_rows(json.dumps(load_contract("ratings").avro_schema()))


@settings(max_examples=cases(500))
@given(near_rows())
def test_what_passes_unchecked_is_rows_each_on_a_line_of_its_own(payload):
    if fit(payload):
        lines = payload.split(b"\n")
        assert [kind for kind, _ in map(outcome, lines)] == ["row"] * len(lines)
        assert all(list(json.loads(line)) == list(FIELDS) for line in lines)
        assert all(list(map(fit, lines)))


@pytest.fixture
def hunted(servers):
    it = Stream(servers)
    it.deploy()
    yield it
    it.close()


def generate(count, hunt_seed, payloads=payloads):
    """Return ``count`` payloads, each with the MQTT topic's last level that is its own."""
    made = []

    @seed(hunt_seed)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
    )
    @given(payloads())
    def generate_one(payload):
        category = f"c{len(made):05d}"
        made.append((category, payload.replace(CATEGORY.encode(), category.encode())))

    generate_one()
    assert len(made) >= count
    return made


def test_hunted_payloads_end_in_kafka_or_in_the_dead_letters_and_none_stops_the_flow(hunted):
    hunt_seed = int(SEED or random.SystemRandom().randrange(2**32))
    check(hunted, generate(PAYLOADS, hunt_seed), f"STREAMPROOF_HUNT_SEED={hunt_seed}")


def test_validaterecord_takes_all_that_passes_unchecked(servers, monkeypatch, tmp_path):
    hunt_seed = int(SEED or random.SystemRandom().randrange(2**32))
    passing = [(category, payload) for category, payload in generate(PAYLOADS, hunt_seed, near_rows) if fit(payload)]
    assert len(passing) > PAYLOADS / 20
    definition = build_definition()
    for processor in definition["flowContents"]["processors"]:
        if processor["name"] == SOURCE:
            del processor["properties"]["Record Schema"]
    (tmp_path / "flow.json").write_text(json.dumps(definition), encoding="utf-8")
    monkeypatch.setattr(deployment, "FLOW_FILE", tmp_path / "flow.json")
    it = Stream(servers)
    it.deploy()
    try:
        check(it, passing, f"STREAMPROOF_HUNT_SEED={hunt_seed}")
        assert [letter["payload"] for letter in it.letters()] == ["last"]
    finally:
        it.close()


@pytest.mark.long
def test_a_message_of_megabytes_with_bad_rows_among_thousands_of_good_ones_loses_none(hunted):
    lines = []
    for number in range(1, 40_001):
        row = Row(number)
        if number % 400 == 0:
            row.put("rating", '"4.5"' if number % 800 else "NaN")
        lines.append(row.text().encode())
    check(hunted, [(CATEGORY, b"\n".join(lines))], "one message")


def same(expected, found, told):
    def some(things):
        return "".join(f"\n  {str(thing)[:500]}" for thing in list(things)[:9])

    assert expected == found, f"{told}: not found:{some(expected - found)}\nnot expected:{some(found - expected)}"


def check(hunted, made, told):
    expected, topics = Counter(), {}
    for category, payload in made:
        for what in outcomes(payload):
            expected[what] += 1
            topics.setdefault(what, set()).add(f"{hunted.name}/{category}")
        hunted.publish(payload, category=category)
    hunted.publish(f"{hunted.row(1, run='last')}\nlast")  # a row and a dead letter, behind all others of their kind
    print(told, Counter(kind for kind, _ in expected.elements()))

    @retry(stop=stop_after_delay(400), wait=wait_fixed(2), retry=retry_if_exception_type(AssertionError), reraise=True)
    def all_there():
        assert any(v["run"] == "last" for _, _, v in hunted.rows())
        assert any(letter["payload"] == "last" for letter in hunted.letters())
        assert not hunted.status().queued

    all_there()
    found_rows = [record for record in hunted.rows() if record[2]["run"] != "last"]
    found_letters = [letter for letter in hunted.letters() if letter["payload"] != "last"]
    found = Counter(("row", values(v)) for _, _, v in found_rows)
    found.update(map(outcome_of_letter, found_letters))
    same(set(expected), set(found), told)
    assert not expected - found, told
    assert all(key == v["product_id"].encode() for _, key, v in found_rows), told
    for letter in found_letters:
        assert letter["reason"], told
        assert topics[outcome_of_letter(letter)] & set(letter["mqtt_topic"].split(",")), (told, letter)
    assert hunted.status().running, told
