"""The outline of the world that maps are drawn on: an asset of the project."""

import json
import re

import pytest
from made_up_run import CITIES

from streamproof.dashboard.world_outline import _OUTLINE, outline


def rings(path):
    """The points of each closed line of a path, in degrees: latitude and longitude."""
    for part in path.split("M")[1:]:
        x, y, *steps = map(int, re.findall(r"-?\d+", part))
        points = [(-y / 10, x / 10)]
        for right, down in zip(steps[::2], steps[1::2], strict=True):
            x, y = x + right, y + down
            points.append((-y / 10, x / 10))
        yield points


def is_on_land(place, land):
    """Whether a line from there to the north crosses an odd number of coasts."""
    latitude, longitude = place
    crossed = 0
    for ring in land:
        for (a, east), (b, west) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if (east > longitude) != (west > longitude):
                crossed += a + (longitude - east) / (west - east) * (b - a) > latitude
    return crossed % 2 == 1


@pytest.fixture(scope="module")
def land():
    text = _OUTLINE.read_text(encoding="utf-8")
    return list(rings(json.loads(text[text.index("{") : text.rindex("}") + 1])["land"]))


def test_cities_lie_on_land_and_the_oceans_do_not(land):
    inland = [CITIES[name] for name in ("Köln", "Delhi", "Nairobi", "Mexico City", "Paris", "São Paulo")]
    oceans = [(0, -150), (30, -40), (-30, 80), (0, -20), (50, -150)]
    assert [is_on_land(place, land) for place in inland] == [True] * len(inland)
    assert [is_on_land(place, land) for place in oceans] == [False] * len(oceans)


def test_lines_that_neighbours_share_are_joined_and_become_borders():
    topology = {
        "transform": {"scale": [1, 1], "translate": [0, 0]},
        "arcs": [[[0, 0], [0, 2]], [[0, 2], [-2, 0], [0, -2], [2, 0]], [[0, 0], [2, 0], [0, 2], [-2, 0]]],
        "objects": {
            "land": {"geometries": [{"arcs": [[[1, ~2]]]}]},
            "countries": {"geometries": [{"arcs": [[0, 1]]}, {"arcs": [[~0, 2]]}]},
        },
    }
    found = outline(topology)
    assert found["borders"] == "M0 0l0 -20"
    assert found["land"] == "M0 -20l-20 0 0 20 20 0 0 -20 20 0 0 20 -20 0z"
