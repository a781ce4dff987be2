"""What has arrived of a category's rows, by sequence number: one byte a row, however often it comes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from streamproof.core.run import RowCounts
from validation.csv_rows import FileCounts
from validation.delivery import RANGES_SHOWN, CategoryRows, MissingRows, Place

IN_KAFKA, DEAD = 1, 2

_GREATEST_SEQ = 200_000_000
"""Numbers beyond are not followed one by one, lest a single made-up one takes all memory."""

Sequence = npt.NDArray[np.int64]


class RowsBySeq:
    """The rows of one category."""

    def __init__(self) -> None:
        self._arrived = np.zeros(1024, np.uint8)
        self._in_kafka = 0
        self._doubled = 0
        self._beyond = 0
        self._dead_without_seq = 0

    def add(self, seqs: Sequence, what: int) -> None:
        """Take in records, ``IN_KAFKA`` or ``DEAD``, by their ``seq``; copies of one row among them are counted."""
        is_row = (seqs >= 1) & (seqs <= _GREATEST_SEQ)
        if what == IN_KAFKA:
            self._beyond += int(np.count_nonzero(seqs > _GREATEST_SEQ))
        rows = np.unique(seqs[is_row])
        if not len(rows):
            return
        if (needed := int(rows[-1]) + 1) > len(self._arrived):
            self._arrived = np.concatenate([self._arrived, np.zeros(2 * needed - len(self._arrived), np.uint8)])
        if what == IN_KAFKA:
            new = int(np.count_nonzero(self._arrived[rows] & IN_KAFKA == 0))
            self._in_kafka += new
            self._doubled += int(np.count_nonzero(is_row)) - new
        self._arrived[rows] |= what

    def add_dead_without_seq(self, count: int) -> None:
        """Take in dead letters of this category that tell no ``seq``."""
        self._dead_without_seq += count

    def count(self, manifest: RowCounts, file: FileCounts | None, forgotten: int) -> CategoryRows:
        """Return the category's counts, as the audit has them; what NiFi and Flink say is left open.

        Args:
            manifest: the category's counts in the manifest.
            file: what its file holds; None where it is not read yet.
            forgotten: up to which ``seq`` a row that has not arrived is lost; from there on it is under way.

        """
        sent = self._arrived[1 : manifest.sent + 1]
        never_sent = int(np.count_nonzero(self._arrived[manifest.sent + 1 :] & IN_KAFKA)) + self._beyond
        lost, lost_ranges = _gaps(sent[:forgotten], forgotten, 1)
        under_way, ranges = _gaps(sent[forgotten:], manifest.sent - forgotten, forgotten + 1)
        missing: list[MissingRows] = []
        places: tuple[tuple[Place, int, list[tuple[int, int]]], ...] = (
            ("unknown", lost, lost_ranges),
            ("under way", under_way, ranges),
        )
        for place, rows, where in places:
            if rows:
                missing.append(MissingRows(place=place, rows=rows, ranges=where))
        return CategoryRows(
            accepted=file.accepted if file else None,
            rejected=file.rejected if file else None,
            sent=manifest.sent,
            resent=manifest.resent,
            confirmed=manifest.confirmed,
            received=None,
            kafka=self._in_kafka - (never_sent - self._beyond),
            doubled=self._doubled,
            dead_letters=int(np.count_nonzero(sent & DEAD)) + self._dead_without_seq,
            only_dead_letters=int(np.count_nonzero(sent == DEAD)),
            read=None,
            lost=lost,
            under_way=under_way,
            never_sent=never_sent,
            missing=missing,
        )


def _gaps(arrived: npt.NDArray[Any], rows: int, first: int) -> tuple[int, list[tuple[int, int]]]:
    """Return how many of so many rows have not arrived, and the first gaps, as [first, last] of each."""
    absent = np.flatnonzero(arrived == 0)
    behind = rows - len(arrived)  # not even room was made for them
    if behind > 0:
        absent = np.concatenate([absent, np.arange(len(arrived), rows)])
    if not len(absent):
        return 0, []
    breaks = np.flatnonzero(np.diff(absent) > 1)
    starts = np.concatenate([[0], breaks + 1])[:RANGES_SHOWN]
    ends = np.concatenate([breaks, [len(absent) - 1]])[:RANGES_SHOWN]
    return len(absent), [(int(absent[a]) + first, int(absent[b]) + first) for a, b in zip(starts, ends, strict=True)]
