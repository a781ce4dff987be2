"""What the edge is told: which rows Kafka has, as ranges of sequence numbers for each run and category."""

import json

_SEQ = b'"seq":'


class Confirmations:
    """Collects the sequence numbers of published rows; cheap where neighbours share run and category."""

    def __init__(self) -> None:
        self._head = b"\n"  # what the last line began with, up to the number; no line begins like this
        self._ranges: dict[tuple[str, str], list[list[int]]] = {}
        self._of_head: list[list[int]] = []
        self._last = [-9, -9]

    def add_row(self, line: bytes) -> None:
        """Take a row or a mark, as the line of JSON that was published."""
        if not line.startswith(self._head):
            self._change_head(line)
        begin = len(self._head)
        text = line[begin : line.find(b",", begin)]
        if text.isdigit():
            seq = int(text)
            if seq == self._last[1] + 1:
                self._last[1] = seq
            elif seq:
                self._last = [seq, seq]
                self._of_head.append(self._last)
        else:
            self._add_fields(line)

    def add_dead_letter(self, letter: bytes) -> None:
        """Take a dead letter; one that does not tell its run, category and sequence number confirms nothing."""
        self._add_fields(letter)

    def lines(self) -> bytes:
        """Return one line of JSON for each run and category: ``{"run":…,"category":…,"ranges":[[first,last],…]}``."""
        found = [
            json.dumps({"run": run, "category": category, "ranges": _merged(ranges)}, separators=(",", ":"))
            for (run, category), ranges in self._ranges.items()
            if ranges
        ]
        return "\n".join(found).encode()

    def _change_head(self, line: bytes) -> None:
        end = line.find(_SEQ) + len(_SEQ)
        self._head = b"\n"
        if end > len(_SEQ):
            try:
                fields = json.loads(line[:end] + b"0}")
            except ValueError:  # `seq` inside of something else
                return
            key = (fields.get("run"), fields.get("category"))
            if all(isinstance(part, str) for part in key):
                self._head = line[:end]
                self._of_head = self._ranges.setdefault(key, [])
                self._last = [-9, -9]

    def _add_fields(self, line: bytes) -> None:
        fields = json.loads(line)
        run, category, seq = (fields.get(name) for name in ("run", "category", "seq"))
        # A heartbeat has the number 0: the edge does not wait for it.
        if isinstance(run, str) and isinstance(category, str) and type(seq) is int and seq:
            self._ranges.setdefault((run, category), []).append([seq, seq])


def _merged(ranges: list[list[int]]) -> list[list[int]]:
    merged: list[list[int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return merged
