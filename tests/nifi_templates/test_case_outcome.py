"""What came against what was expected: which fit, and how the rest is told."""

from itertools import permutations

import pytest

from nifi_templates.case_outcome import differences


@pytest.mark.parametrize(
    ("expected", "came", "fits"),
    [(4, 4.0, True), (1, True, False), (True, True, True), ("4", 4, False), (None, None, True), ([1], [1], True)],
)
def test_numbers_are_compared_by_value_and_the_rest_by_type_as_well(expected, came, fits):
    assert (differences("record", [{"a": expected}], [{"a": came, "b": 1}]) == []) is fits


def test_the_order_does_not_matter_even_where_an_expectation_fits_several():
    came = [{"seq": 1, "rating": 4}, {"seq": 2, "rating": 4}, {"seq": 3, "rating": 5}]
    for expected in permutations([{}, {"rating": 4}, {"seq": 1}]):
        assert differences("record", expected, came) == []


def test_each_thing_serves_one_expectation_only():
    assert differences("record", [{"seq": 1}, {"seq": 1}], [{"seq": 1}]) == ["expected record 2 did not come: seq = 1"]


def test_what_did_not_come_is_shown_beside_the_nearest_that_did():
    came = [{"seq": 1, "rating": 4.5, "user_id": "u"}, {"seq": 2, "rating": 4, "user_id": "u"}]
    assert differences("record", [{"seq": 2, "rating": 5, "user_id": "u"}, {"seq": 9}], came) == [
        'expected record 1 did not come: seq = 2, rating = 5, user_id = "u"\n'
        '  instead there came: seq = 2, rating = 4, user_id = "u"',
        "expected record 2 did not come: seq = 9",
        'unexpected record: seq = 1, rating = 4.5, user_id = "u"',
    ]


def test_of_a_reason_a_part_is_enough_and_of_nothing_else():
    came = [{"reason": "because of [/rating]", "stage": "schema"}]
    assert differences("dead letter", [{"reason": "[/rating]"}], came, part_of="reason") == []
    assert differences("dead letter", [{"stage": "sche"}], came, part_of="reason")
    assert differences("record", [{"reason": "[/rating]"}], came)
