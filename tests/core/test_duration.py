from fractions import Fraction

import pytest

from streamproof.core.duration import format_duration, parse_duration, parse_whole_milliseconds
from streamproof.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("30s", 30_000),
        ("1.003s", 1003),
        ("5min", 300_000),
        ("250ms", 250),
        ("1 h", 3_600_000),
        ("0.1ms", Fraction(1, 10)),
    ],
)
def test_a_duration_is_read_exactly(text, milliseconds):
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "0s", "5m", "1e3s", "5 parsecs"])
def test_what_is_not_a_duration_is_refused(text):
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


def test_a_window_of_half_a_millisecond_is_refused():
    with pytest.raises(UsageError, match="not a whole number of milliseconds"):
        parse_whole_milliseconds("0.5ms")


@pytest.mark.parametrize("text", ["30s", "1003ms", "5min", "2h", "1d"])
def test_a_duration_is_written_as_it_was_read(text):
    assert format_duration(parse_whole_milliseconds(text)) == text
