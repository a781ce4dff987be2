"""The project beside other programs, on the same rows at the same time: no ratio may fall to less than half.

Figures alone depend on the machine; what one program takes beside another hardly does.
"""

import pytest

from streamproof.bench.cli import BENCHMARKS

RATIOS = {
    ("windows.flink", "windows.datastream", 100_000): 1.5,
    ("validate.duckdb", "validate.pandas", 200_000): 0.5,
    ("publish.single", "publish.qos0.1", 20_000): 0.2,
}
"""Rows a second of the one over those of the other, on so many rows; no more than what was found on busy cores: 2.55 in
one run of the first pair, 0.20 in two of the last; of the second 0.54, on a million rows."""

TRIES = 3


@pytest.mark.long
@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(("own", "other", "rows"), RATIOS)
def test_no_ratio_has_fallen_to_less_than_half(own, other, rows):
    found = []
    while len(found) < TRIES and max(found, default=0) < RATIOS[own, other, rows] / 2:
        found.append(BENCHMARKS[own].run(rows).value / BENCHMARKS[other].run(rows).value)
    print(f"{own} / {other} with {rows:,} rows: {', '.join(f'{ratio:.2f}' for ratio in found)}")
    assert max(found) >= RATIOS[own, other, rows] / 2
