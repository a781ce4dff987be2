"""Flink's plan of a question in plain English: a line for each thing that is done, in the order in which it is done."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_LINE = re.compile(r"^(?P<depth>[\s:]*(?:[+:]- )?)(?P<operator>\w+)\((?P<details>.*)\)$", re.MULTILINE)
_TEXT = re.compile(r"""_UTF-16LE'([^']*)'(?::VARCHAR\(\d+\) CHARACTER SET "UTF-16LE")?""")
_FIRST_COPIES = "keep the first copy of each row; copies are told apart in panes of {size}"
_SENTENCES = (
    ("TableSourceScan", "", "read the stream's messages; their low watermarks are the clock"),
    ("WindowDeduplicate", "", _FIRST_COPIES),
    ("WindowTableFunction", "time_col=[event_ts]", ""),  # the panes
    ("WindowTableFunction", "", "put each row into all of its {windows}"),
    ("LocalWindowAggregate", "ARRAY_AGG(", ""),
    ("GlobalWindowAggregate", "ARRAY_AGG(", _FIRST_COPIES),
    ("Correlate", "UNNEST", ""),
    ("LocalWindowAggregate", "time_col=", "before the shuffle, aggregate slices of {slide}{by}"),
    ("LocalWindowAggregate", "", "before the shuffle, aggregate each window{by}"),
    ("GlobalWindowAggregate", "slice_end=", "put slices together into {windows}{by}"),
    ("GlobalWindowAggregate", "", "aggregate {windows}{by}"),
    ("WindowAggregate", "", "aggregate {windows}{by}"),
    ("WindowRank", "", "within each window{by}, order by {order} and keep the first {last}"),
    ("WindowJoin", "", "join what is of the same window ({join})"),
    ("OverAggregate", "", "look back from each row{by}: {over}"),
    ("Union", "", "take the results of both together"),
    ("Expand", "", "repeat each row for each of the groupings"),
    ("Calc", "event_ts", ""),  # below the first copies
    ("Calc", "where=[", "keep what fulfils {where}"),
    ("Calc", "", ""),
    ("Exchange", "", ""),
    ("WatermarkAssigner", "", ""),
)
"""Operators, what their details must hold, and what they do; the first that fits says it."""


@dataclass
class _Operator:
    name: str
    details: str
    inputs: list["_Operator"] = field(default_factory=list)

    def detail(self, name: str) -> str:
        """Return what a plan says as ``name=[…]``; empty where it does not."""
        start = self.details.find(f"{name}=[")
        if start < 0:
            return ""
        start += len(name) + 2
        depth = 1
        for end in range(start, len(self.details)):
            depth += {"[": 1, "]": -1}.get(self.details[end], 0)
            if depth == 0:
                return self.details[start:end]
        return self.details[start:]


def plan_in_words(plan: str) -> list[str]:
    """Return what Flink's optimised physical plan does, a sentence each; what several steps share is told once."""
    top: list[_Operator] = []
    open_at: list[tuple[int, _Operator]] = []
    for match in _LINE.finditer(plan):
        depth, operator = len(match["depth"]), _Operator(match["operator"], match["details"])
        while open_at and open_at[-1][0] >= depth:
            open_at.pop()
        (open_at[-1][1].inputs if open_at else top).append(operator)
        open_at.append((depth, operator))
    return list(dict.fromkeys(sentence for operator in top for sentence in _sentences(operator)))


def _sentences(operator: _Operator) -> Iterator[str]:
    for each in operator.inputs:
        yield from _sentences(each)
    if sentence := _sentence(operator):
        yield sentence


def _sentence(operator: _Operator) -> str:
    window = operator.detail("window")
    last = re.search(r"rankEnd=(\d+)", operator.details)
    words = {
        "size": _of(window, "size"),
        "slide": _of(window, "slide", "step", "size"),
        "windows": _windows(window),
        "by": _by(operator.detail("groupBy") or operator.detail("partitionBy")),
        "order": operator.detail("orderBy"),
        "last": last[1] if last else "?",
        "join": re.sub(r"(?<=[a-z])(?=[A-Z])", " ", operator.detail("joinType")).lower(),
        "over": window.strip(),
        "where": _TEXT.sub(r"'\1'", operator.detail("where")),
    }
    for name, held, sentence in _SENTENCES:
        if operator.name == name and held in operator.details:
            return sentence.format(**words)
    return f"{operator.name}: {operator.details[:80]}"


def _by(columns: str) -> str:
    return f", by {columns}" if columns else ""


def _of(window: str, *names: str) -> str:
    """Return the duration that a window has under the first of the names."""
    found = (re.search(rf"\b{name}=\[([^\]]*)\]", window) for name in names)
    return next((match[1] for match in found if match), "?")


def _windows(window: str) -> str:
    """Return a window of a plan in words."""
    size, slide = _of(window, "size", "max_size"), _of(window, "slide", "step", "size")
    if window.startswith("CUMULATE"):
        return f"windows that grow by {slide} up to {size}"
    return f"windows of {size}" if size == slide else f"windows of {size}, one each {slide}"
