"""The growth curves: what differs along each, and a small run with all of it different."""

from fractions import Fraction

import pytest

from streamproof.bench import growth
from streamproof.bench.growth import GROWTH
from streamproof.bench.measure import Once
from streamproof.bench.side_by_side.own_job import from_full_topic
from streamproof.core.window import Window


def test_along_each_curve_one_thing_differs(monkeypatch):
    asked = []

    def from_nothing(rows, **options):
        asked.append((rows, options))
        return Once(1.0)

    monkeypatch.setattr(growth, "from_full_topic", from_nothing)
    names = ("keys.1000000", "window.60", "categories.20", "length.8")
    *_, longest = (GROWTH[f"grow.{name}"].run(1000) for name in names)
    (_, keys), (_, window), (_, categories), (rows, length) = asked
    assert keys == {"interval": Fraction(1), "keys": 1_000_000}
    assert window == {"interval": Fraction(10), "window": Window(300_000, 5_000)}
    assert len(set(categories.pop("categories"))) == 20
    assert categories == length == {"interval": Fraction(10)}
    assert rows == longest.parts["rows in all"] == 8000


@pytest.mark.long
@pytest.mark.usefixtures("servers")
def test_other_keys_categories_and_windows_are_proven_too_with_memory_and_the_largest_checkpoint():
    once = from_full_topic(
        3000, interval=Fraction(100), keys=1000, categories=["A", "B", "C"], window=Window(20_000, 5_000)
    )
    assert once.value > 0
    assert once.parts["Flink's memory, MB"] > 100
    assert 0 < once.parts["checkpoints' p95, MB"] <= once.parts["largest checkpoint, MB"] < 100
    assert 0 < once.parts["TaskManagers alone, µs/row"] < once.parts["CPU with the job's start, µs/row"]
