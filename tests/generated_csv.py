"""Generated CSV files of every kind, good rows among bad ones, for tests of what reads them."""

from dataclasses import dataclass

from hypothesis import strategies as st

from streamproof.core.contract import parse_contract

LONGEST = 400
"""Bytes of the longest record that tests allow instead of 1 MiB; a generated cell may be as long."""

COLUMNS = ("who", "id", "amount", "count", "at", "more")


@dataclass(frozen=True)
class File:
    delimiter: str
    header: object
    unit: str
    packed: bool
    content: bytes


def stream_of(file, name="n"):
    """Return the contract that the file is meant for."""
    fields = {
        "who": {"type": "text"},
        "id": {"type": "text", "aliases": ["Id"]},
        "amount": {"type": "decimal", "scale": 2},
        "count": {"type": "integer"},
        "at": {"type": "time", "unit": file.unit},
    }
    layout = {"delimiter": file.delimiter, "header": file.header, "columns": COLUMNS}
    names = {"name": name, "partition_by": "id", "event_time": "at"}
    return parse_contract(names | {"csv": layout, "fields": fields}, "test")


SPELLINGS = [
    *["0", "00", "-0", "+0", "-0.0", "5", "05", "+5.5", "5.", ".5", "5.25", "5.255", "1e3", "1E3", "NaN", "inf", "0x1"],
    *["1_0", " 5", "5 ", "--5", "+", "-", "9999999999999", "99999999999999", "9999999999999.99", "9223372036854775808"],
    *[sign + "9" * digits for digits in (11, 12, 14, 15, 18, 19) for sign in ("", "-")],
    *["0" * 19 + "1", "٣", "\uff15", "1\u00a0"],
    *["", '"', '""', '"""', '"5"', '"5', '5"', '"a"b', '"a,b"', '"a;b', "\r", "a\rb", '"a\r\nb"', '"\n"', "\n", "\x00"],
    *["5\x00", "\x1a", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\ufeff", "é", "\U0001f600", "\\", "\\n", "'"],
    *["who", "id", "Id", "at"],
]
cells = st.one_of(
    st.sampled_from(SPELLINGS).map(str.encode),
    st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b'"\xff"', b'"' + b"y\n" * LONGEST]),
    st.integers(24, 36).map(lambda less: b"x" * (LONGEST - less)),
    st.tuples(st.integers(24, 46), st.integers(1, 40)).map(
        lambda n: b'"' + b"y" * (LONGEST - sum(n)) + b"\n" * n[1] + b'"'
    ),
    st.integers().map(lambda number: str(number).encode()),
    st.decimals(-100, 100, places=2).map(lambda number: str(number).encode()),
    st.text(max_size=8).map(lambda text: ('"' + text.replace('"', '""') + '"').encode(errors="surrogatepass")),
    st.binary(max_size=5),
)
good = [b"u", b"0000143502", b"4.5", b"7", b"1388534400"]


@st.composite
def records(draw):
    made = [*good, *draw(st.lists(cells, max_size=2))]
    for at in draw(st.lists(st.integers(0, len(made) - 1), max_size=2)):
        made[at] = draw(cells)
    return made[: draw(st.sampled_from([*[len(made)] * 9, 0, 1, 3, 4]))]


@st.composite
def files(draw, headers=("auto", True, False), delimiters=(",", ";", "\t", "|")):
    delimiter = draw(st.sampled_from(delimiters))
    ends = st.sampled_from([b"\n"] * 4 + [b"\r\n"] * 3 + [b"\n\n", b"\r", b"\r\r\n", b""])
    lines = draw(st.lists(records(), max_size=12))
    header = draw(st.sampled_from(headers))
    if header is True or (header and draw(st.booleans())):
        names = list(COLUMNS)
        for at in draw(st.lists(st.integers(0, len(names) - 1), max_size=1)):
            names[at] = draw(st.sampled_from(["Id", '"id"', "", "more", "m\u2028n", 'm"', '"m\nn"', "\x0c"]))
        lines = [[name.encode() for name in draw(st.permutations(names))], *lines]
    mark = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    content = mark + b"".join(delimiter.encode().join(line) + draw(ends) for line in lines)
    return File(delimiter, header, draw(st.sampled_from(["s", "ms"])), draw(st.booleans()), content)
