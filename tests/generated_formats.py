"""Generated contracts and files for them: every way to write a time, a number, a word for nothing, a header, a file."""

import bz2
import gzip
import io
import zipfile
from dataclasses import dataclass

import pyarrow as pa
from hypothesis import strategies as st

from streamproof.core.contract import parse_contract

ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "cp1252", "latin-1", "utf-32")
ZONES = (None, "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")
FORMATS = (
    "iso",
    "%d/%m/%Y %H.%M.%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M",
    "%d-%b-%y %H:%M",
    "%a, %d %B %Y %H:%M:%S.%f %z",
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y-%m-%d %H:%M:%S %Z",
    "%y/%m/%d",
    "%d'%m|%Y (%H)",
)
WORDS = ["", "NA", "null", "?", "Null", "-", "NaN"]


@dataclass(frozen=True)
class Formatted:
    """A contract, what the file holds, and how it is stored."""

    contract: object
    stored: bytes


digits = st.integers(0, 99_999_999_999_999_999_999).map(str)
two = st.integers(0, 62).map(lambda n: f"{n:02}")
years = st.sampled_from(
    ["1969", "1970", "1999", "2000", "2011", "2023", "2024", "2100", "9999", "0001", "24", "70", "68"]
)
PLACES = st.sampled_from(
    ["2024-03-31 02:30:00", "2024-10-27 02:30:00", "2024-10-27 01:59:59.999", "2024-03-10 02:00:00", "2011-12-30 12:00",
     "2024-11-03 01:30:00", "2024-04-07 01:45:00", "2024-10-06 02:15:00", "1970-01-01 00:30:00", "2024-10-27T02:30Z",
     "2023-02-29", "2024-02-29", "9999-12-31 23:59:59.9999", "1969-12-31 19:00:00", "2024-10-27 02:30:00 -05"]
)  # fmt: skip
MONTHS = ["jan", "Feb", "MAR", "May", "may", "december", "September", "sept"]


@st.composite
def moments(draw):
    """A local time, often one that a zone's clocks show twice or never."""
    if draw(st.booleans()):
        text = draw(PLACES)
        return {
            "Y": text[:4], "y": text[2:4], "m": text[5:7], "d": text[8:10], "H": text[11:13] or "00",
            "M": text[14:16] or "00", "S": text[17:19] or "00", "iso": text,
        }  # fmt: skip
    made = {"Y": draw(years), "y": draw(years)[-2:]}
    made |= {"m": draw(two), "d": draw(two), "H": draw(two), "M": draw(two), "S": draw(two)}
    made["iso"] = "{Y}-{m}-{d}{t}{H}:{M}:{S}".format(t=draw(st.sampled_from(" T")), **made)
    made["iso"] += draw(st.sampled_from(["", ".5", ".123456789", ",07", "."])) + draw(ends)
    return made


ends = st.sampled_from(["", "", "Z", "z", " UTC", "+02:00", "-0530", "+14", " +00:00", "+15:00", "-00:30", " CET"])


@st.composite
def time_cells(draw, spec):
    if spec.get("unit"):
        number = (
            draw(st.integers(0, 22).flatmap(lambda n: st.integers(0, 10**n))) if draw(st.booleans()) else 1_594_512_094
        )
        fraction = draw(st.sampled_from(["", "", ".0", ".385975", ".9999999999", "."]))
        exponent = draw(st.sampled_from(["", "", "E9", "e+12", "E0", "E99", "E-1", "E08", "E14", "E18"]))
        return f"{number}{fraction}{exponent}"
    made = draw(moments())
    if spec["format"] == "iso":
        return made["iso"]
    made |= {
        "I": made["H"],
        "p": draw(st.sampled_from(["AM", "pm", "p.m."])),
        "f": draw(st.sampled_from(["0", "5", "123456"])),
    }
    made |= {"b": draw(st.sampled_from(MONTHS)), "B": draw(st.sampled_from(MONTHS)), "a": "Mon"}
    made |= {
        "z": draw(st.sampled_from(["Z", "+0530", "-08:00", "+1", ""])),
        "Z": draw(st.sampled_from(["UTC", "GMT", "CET"])),
    }
    text, characters = "", iter(spec["format"])
    for character in characters:
        text += made[next(characters)].lstrip(draw(st.sampled_from(["", "", "0"]))) if character == "%" else character
    return text


GOOD = {"Y": "2024", "y": "24", "m": "10", "d": "27", "b": "Oct", "B": "october", "a": "Sun", "H": "02", "I": "02"}
GOOD |= {"M": "30", "S": "05", "p": "pm", "f": "1239", "z": "-08:00", "Z": "GMT"}


@st.composite
def good_times(draw, spec):
    """A time that can be read, if the zone's clocks show it."""
    if spec.get("unit"):
        zeros = {"s": "", "ms": "000", "us": "000000", "ns": "000000000"}[spec["unit"]]
        number = draw(st.integers(0, 4_000_000_000)) if draw(st.booleans()) else 1_594_512_094
        return f"{number}{zeros}{draw(st.sampled_from(['', '', '.5', '.385975', '.9999999999']))}"
    if spec["format"] == "iso":
        return draw(PLACES.filter(lambda text: "2024" in text))
    day = {
        "d": f"{draw(st.integers(1, 28)):02}",
        "H": f"{draw(st.integers(0, 23)):02}",
        "M": f"{draw(st.integers(0, 59)):02}",
    }
    made, text, characters = GOOD | draw(st.sampled_from([{}, day])), "", iter(spec["format"])
    for character in characters:
        text += made[next(characters)] if character == "%" else character
    return text


@st.composite
def good_numbers(draw, spec):
    whole = draw(st.integers(-9999, 9999))
    text = f"{whole:,}".replace(",", spec["thousands"]) if spec.get("thousands") and draw(st.booleans()) else str(whole)
    scale = spec.get("scale", 0)
    if scale > 11 and not spec.get("round"):
        scale = draw(st.integers(0, scale))
    part = (
        draw(digits)[: draw(st.integers(0, 20 if spec.get("round") else min(scale, 11)))]
        if scale or spec.get("round")
        else ""
    )
    return text + (spec.get("decimal", ".") + part if part else "")


@st.composite
def numbers(draw, spec):
    whole = draw(digits)[: draw(st.integers(1, 20))]
    if spec.get("thousands") and draw(st.booleans()):
        whole = f"{int(whole):,}".replace(",", spec["thousands"])
    part = draw(digits)[: draw(st.integers(0, 20))]
    mark = spec.get("decimal", ".")
    return draw(st.sampled_from(["", "", "-", "+"])) + whole + (mark + part if part else "")


TIMES = st.one_of(
    st.sampled_from(["s", "ms", "us", "ns"]).map(lambda unit: {"unit": unit}),
    st.fixed_dictionaries(
        {"format": st.sampled_from(FORMATS)},
        optional={"timezone": st.sampled_from(ZONES), "repeated_hour": st.sampled_from(["reject", "first", "second"])},
    ),
)
DECIMALS = st.builds(
    lambda scale, rounding, marks: {"scale": scale, "round": rounding} | marks,
    st.integers(0, 18),
    st.booleans(),
    st.sampled_from([{}, {"decimal": ","}, {"decimal": ",", "thousands": "."}, {"thousands": "'"}, {"thousands": " "}]),
)
NAMES = {
    "id": ["id", "ID", " Id ", "i d"],
    "amount": ["amount", "AMOUNT", "A-mount"],
    "count": ["count", "Count", "COU NT"],
    "flag": ["flag", "Is_Flag", "is flag"],
    "at": ["at", "AT"],
    "what": ["what", "WHAT", "event_time", "Event Time"],
}


@st.composite
def formatted_files(draw):
    """A contract, and a file that is meant for it."""
    fields = {
        "id": {"type": "text"},
        "amount": {"type": "decimal"} | draw(DECIMALS),
        "count": {"type": "integer", "thousands": draw(st.sampled_from(["", ",", "_"]))},
        "flag": {"type": "boolean", "aliases": ["is_flag"], "optional": draw(st.booleans())},
        "at": {"type": "time"} | draw(TIMES),
        "what": {"type": "text", "aliases": ["event_time"], "optional": draw(st.booleans())},
        "until": {
            "type": "time",
            "columns": ["day", "hour"],
            "format": draw(st.sampled_from(["%d/%m/%Y %H.%M", "iso"])),
        },
    }
    fields["until"]["optional"] = draw(st.booleans())
    layout = {
        "delimiter": draw(st.sampled_from([",", ";", "\t", "|", "~", "§", "^"])),
        "quote": draw(st.sampled_from(['"', '"', "'", "", "`"])),
        "comment": draw(st.sampled_from([None, "#", "//"])),
        "skip_lines": draw(st.integers(0, 2)),
        "trim": draw(st.booleans()),
        "nulls": draw(st.lists(st.sampled_from(WORDS), max_size=4)),
        "encoding": draw(st.sampled_from(ENCODINGS)),
        "header": draw(st.sampled_from([True, False, "auto"])),
        "columns": [*[*fields][:-1], "day", "Hour"],
    }
    contract = parse_contract(
        {"name": "n", "partition_by": "id", "csv": layout, "fields": fields}
        | draw(st.sampled_from([{}, {"event_time": "at"}])),
        "test",
    )
    plain = st.sampled_from(["a", "", " b ", "é", "'", '"', "#x", "NA", "?", "1", "x\u00a0"])

    def cell(name):
        spec, kind = fields[name], fields[name]["type"]
        if draw(st.integers(0, 9)) == 0:
            made = draw(st.one_of(plain, st.sampled_from(WORDS)))
        elif kind == "text":
            made = draw(plain.filter(str.strip))
        elif kind == "boolean":
            made = draw(st.sampled_from(["true", "F", "Yes", "0", "1", "nO", "on", "\u017f"][: 8 if wild() else 6]))
        elif kind == "time":
            made = draw(time_cells(spec) if wild() else good_times(spec))
        else:
            made = draw(numbers(spec) if wild() else good_numbers(spec))
            made = made.partition(".")[0] if kind == "integer" else made
        if draw(st.integers(0, 14)) == 0:
            made = f" {made}\t"
        quote = layout["quote"]
        if quote and (draw(st.integers(0, 4)) == 0 or layout["delimiter"] in made):
            made = quote + made.replace(quote, quote * 2) + quote
        return made

    def wild():
        return draw(st.integers(0, 9)) == 0

    def line():
        iso = fields["until"]["format"] == "iso"
        until = (
            cell("until") if wild() else draw(st.sampled_from(["2024-10-27 02:30" if iso else "27/10/2024 02.30", " "]))
        )
        middle = until.find(" ") if " " in until else len(until)
        cells = [cell(name) for name in [*fields][:-1]]
        return layout["delimiter"].join([*cells, until[:middle], until[middle + 1 :]])

    lines = [draw(st.sampled_from(["above", '"a"b', "", "#"])) for _ in range(layout["skip_lines"])]
    if draw(st.integers(0, 3)) == 0:
        lines.append(draw(st.sampled_from(["sep={}", "SEP={}", '"sep={}"'])).format(layout["delimiter"]))
    if layout["header"] is True or (layout["header"] == "auto" and draw(st.booleans())):
        names = [draw(st.sampled_from(NAMES[name])) for name in [*fields][:-1]]
        lines.append(layout["delimiter"].join([*names, "Day", "HOUR"]))
    lines += [draw(st.sampled_from(["# it's", '#"', "//", ""])) if draw(st.integers(0, 6)) == 0 else line()
              for _ in range(draw(st.integers(1, 8)))]  # fmt: skip
    text = "".join(each + draw(st.sampled_from(["\n", "\n", "\r\n"])) for each in lines)
    content = text.encode(layout["encoding"], errors="replace")
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=3)) + content[at:]
    return Formatted(contract, pack(content, draw(st.sampled_from(["", "", "", "gz", "bz2", "zst", "zip"]))))


def pack(content, how):
    """Pack a file's content."""
    if how == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inside/a.csv", content)
        return packed.getvalue()
    packers = {"gz": gzip.compress, "bz2": bz2.compress, "zst": lambda data: pa.compress(data, "zstd", asbytes=True)}
    return packers[how](content) if how else content
