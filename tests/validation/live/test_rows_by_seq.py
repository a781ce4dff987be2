"""What a category's counts are, by the sequence numbers that came."""

import numpy as np

from streamproof.core.run import RowCounts
from validation.live.rows_by_seq import DEAD, IN_KAFKA, RowsBySeq


def seqs(*numbers):
    return np.array(numbers, np.int64)


def count(rows, sent, forgotten):
    return rows.count(RowCounts(sent=sent, confirmed=forgotten, confirmed_to=forgotten), None, forgotten)


def test_copies_are_doubled_and_gaps_are_lost_or_under_way():
    rows = RowsBySeq()
    rows.add(seqs(1, 2, 2, 5), IN_KAFKA)
    rows.add(seqs(2, 6), IN_KAFKA)
    found = count(rows, sent=8, forgotten=6)
    assert (found.kafka, found.doubled, found.lost, found.under_way) == (4, 2, 2, 2)
    assert found.say_missing() == ["2 rows are lost: seq 3 to 4", "2 rows are under way: seq 7 to 8"]


def test_a_dead_letter_is_neither_lost_nor_in_kafka():
    rows = RowsBySeq()
    rows.add(seqs(1, 3), IN_KAFKA)
    rows.add(seqs(2, 3), DEAD)
    rows.add_dead_without_seq(1)
    found = count(rows, sent=3, forgotten=3)
    assert (found.kafka, found.dead_letters, found.only_dead_letters, found.lost) == (2, 3, 1, 0)


def test_rows_ahead_of_the_manifest_are_counted_apart_until_it_has_them():
    rows = RowsBySeq()
    rows.add(seqs(*range(1, 5001)), IN_KAFKA)
    assert (count(rows, 4000, 4000).kafka, count(rows, 4000, 4000).never_sent) == (4000, 1000)
    assert (count(rows, 5000, 5000).kafka, count(rows, 5000, 5000).never_sent) == (5000, 0)


def test_rows_that_nothing_was_heard_of_are_lost_too():
    found = count(RowsBySeq(), sent=1_000_000, forgotten=999_000)
    assert (found.lost, found.under_way, found.missing[0].ranges) == (999_000, 1000, [(1, 999_000)])


def test_a_made_up_number_takes_no_memory():
    rows = RowsBySeq()
    rows.add(seqs(10**15, -7, 0), IN_KAFKA)
    found = count(rows, sent=0, forgotten=0)
    assert (found.kafka, found.never_sent, found.doubled) == (0, 1, 0)
