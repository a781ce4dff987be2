"""Which rows came past: ranges of sequence numbers for each run and category.

The Kafka sinks tell the edge by them what Kafka has, the MQTT source keeps a ledger of what it has received.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import sub

Ranges = list[list[int]]
"""[first, last] of each range."""

RunRows = dict[str, tuple[int, Ranges]] | None
"""By category how many rows came, each as often as it came, and which; None where there were too many gaps."""

_SEQ = b'"seq":'


class RowRanges:
    """Collects the sequence numbers of rows; cheap where many share run and category."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[str, str], Ranges] = {}  # as they came: a row that came twice is in two of them
        self._of_head: dict[bytes, Ranges | None] = {}  # by what a line begins with, up to the number

    def add_message(self, lines: bytes) -> None:
        """Take the lines of an MQTT message.

        One whose first and last numbers lie as far apart as it has lines holds those between: so the edge sends them.
        """
        ranges, first = self._look(lines)
        same, last = self._look(lines[lines.rfind(b"\n") + 1 :])
        if ranges is not None and ranges is same and first and last and last - first == lines.count(b"\n"):
            _add(ranges, first, last)
        else:
            for line in lines.split(b"\n"):
                self.add_row(line)

    def add_rows(self, lines: Sequence[bytes], seqs: Sequence[int]) -> None:
        """Take rows that were published, with the number of each; quick where they follow on each other."""
        begin = 0
        for end in [*(at for at, step in enumerate(map(sub, seqs[1:], seqs), 1) if step != 1), len(seqs)]:
            head = _head(lines[begin])
            ranges = self._ranges_of(head)
            if ranges is not None and all([line.startswith(head) for line in lines[begin:end]]):  # noqa: C419 - faster
                _add(ranges, seqs[begin], seqs[end - 1])
            else:
                for line in lines[begin:end]:
                    self.add_row(line)
            begin = end

    def add_row(self, line: bytes) -> None:
        """Take a row or a mark, as the line of JSON that came or was published."""
        ranges, seq = self._look(line)
        if ranges is None or seq is None:
            self._add_fields(line)
        elif seq:
            _add(ranges, seq, seq)

    def add_dead_letter(self, letter: bytes) -> None:
        """Take a dead letter; one that does not tell its run, category and sequence number says nothing."""
        self._add_fields(letter)

    def merged(self) -> dict[tuple[str, str], Ranges]:
        """Return the ranges of each run and category; an end mark is the range [-1, -1], heartbeats are in none."""
        return {key: merge_ranges(ranges) for key, ranges in self._ranges.items() if ranges}

    def rows(self) -> dict[tuple[str, str], int]:
        """Return how many rows of each run and category came, each as often as it came; marks are none."""
        return {
            key: sum(last - first + 1 for first, last in ranges if first > 0) for key, ranges in self._ranges.items()
        }

    def confirmations(self) -> bytes:
        """Return one line of JSON for each run and category: ``{"run":…,"category":…,"ranges":[[first,last],…]}``."""
        found = [
            json.dumps({"run": run, "category": category, "ranges": ranges}, separators=(",", ":"))
            for (run, category), ranges in self.merged().items()
        ]
        return "\n".join(found).encode()

    def _look(self, lines: bytes) -> tuple[Ranges | None, int | None]:
        """Return the ranges that the first line belongs to, and its number; None where it must be parsed for them."""
        head = _head(lines)
        text = lines[len(head) : lines.find(b",", len(head))]
        return self._ranges_of(head), int(text) if text.isdigit() else None

    def _ranges_of(self, head: bytes) -> Ranges | None:
        if head not in self._of_head:
            self._of_head[head] = None
            with suppress(ValueError):  # there is no `seq`, or it is inside of something else
                fields = json.loads(head + b"0}")
                key = (fields.get("run"), fields.get("category"))
                if all(isinstance(part, str) for part in key):
                    self._of_head[head] = self._ranges.setdefault(key, [])
        return self._of_head[head]

    def _add_fields(self, line: bytes) -> None:
        fields = json.loads(line)
        run, category, seq = (fields.get(name) for name in ("run", "category", "seq"))
        # A heartbeat has the number 0: nobody waits for it.
        if isinstance(run, str) and isinstance(category, str) and type(seq) is int and seq:
            self._ranges.setdefault((run, category), []).append([seq, seq])


def _head(lines: bytes) -> bytes:
    """Return what the first line begins with, up to its number."""
    return lines[: lines.find(_SEQ) + len(_SEQ)]


def _add(ranges: Ranges, first: int, last: int) -> None:
    if ranges and ranges[-1][1] + 1 == first:
        ranges[-1][1] = last
    else:
        ranges.append([first, last])


class Ledger:
    """What was received of the newest runs, as texts by the run's id, which NiFi's component state can hold.

    A text is ``{"at": …, "rows": {category: [rows, ranges]}}``: when rows of the run came last (milliseconds since the
    epoch), how many came, each as often as it came, and which. ``rows`` is null where it would be too long.
    """

    RUNS = 20
    LONGEST = 60_000
    """Bytes of a text; NiFi's state takes 65,535. That is room for thousands of gaps at once."""

    _RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
    """Of other ids there is no run: somebody else has made them up."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        read = {run: found for run, text in texts.items() if (found := _read(text))}
        self.rows: dict[str, RunRows] = {run: read[run][1] for run in sorted(read, key=lambda run: read[run][0])}
        self.texts = {run: texts[run] for run in self.rows}

    def add(self, received: Iterable[RowRanges], at: int) -> bool:
        """Take what came up to a moment, milliseconds since the epoch; return whether any row did."""
        changed = {run for rows in received for run in self._add(rows)}
        for run in changed:
            text = json.dumps({"at": at, "rows": self.rows[run]}, separators=(",", ":"))
            if len(text) > self.LONGEST:
                self.rows[run], text = None, json.dumps({"at": at, "rows": None})
            self.texts[run] = text
        for run in list(self.rows)[: -self.RUNS]:
            del self.rows[run], self.texts[run]
        return bool(changed)

    def _add(self, received: RowRanges) -> Iterator[str]:
        """Yield each run that has changed."""
        counts = received.rows()
        for (run, category), ranges in received.merged().items():
            if not counts[run, category] or not self._RUN.fullmatch(run):
                continue
            rows = self.rows.pop(run, {})
            if rows is not None:
                count, known = rows.get(category, (0, []))
                new = [r for r in ranges if r[0] > 0]
                rows[category] = (count + counts[run, category], merge_ranges(known + new))
            self.rows[run] = rows  # the newest stands last
            yield run


def merge_ranges(ranges: Ranges) -> Ranges:
    """Return the same numbers in as few ranges as can be."""
    merged: Ranges = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return merged


def _read(text: str) -> tuple[int, RunRows] | None:
    try:
        found = json.loads(text)
        rows = found["rows"]
        return int(found["at"]), rows and {category: (int(count), ranges) for category, (count, ranges) in rows.items()}
    except (ValueError, LookupError, TypeError, AttributeError):  # of another version: unknown, and no reason to stop
        return None
