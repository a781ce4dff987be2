"""Writes the outline of the world that maps are drawn on, assets/world_outline.js.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m streamproof.dashboard.world_outline package/countries-110m.json

The file holds Natural Earth's countries at 1:110 million, which are in the public domain, as TopoJSON: lines (arcs)
that neighbours share. What is written are two SVG paths in tenths of a degree, x to the east and y to the south.
"""

import json
import sys
from collections import Counter
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

_OUTLINE = Path(__file__).parent / "assets" / "world_outline.js"
_SAYS = (
    "/* The world's land, and the borders within it: SVG paths in tenths of a degree, x to the east, y to the south.\n"
    "   Made by streamproof/dashboard/world_outline.py from Natural Earth 4.1.0 (public domain),\n"
    "   1:110 million, as npm's world-atlas 2.0.2 carries it. */\n"
)

Line = list[tuple[int, int]]
"""Points in tenths of a degree."""


def outline(topology: dict[str, Any]) -> dict[str, str]:
    """Return the land's path and that of the borders from the TopoJSON of world-atlas."""
    lines = [_decoded(arc, topology["transform"]) for arc in topology["arcs"]]
    rings = [ring for part in topology["objects"]["land"]["geometries"] for polygon in part["arcs"] for ring in polygon]
    countries = topology["objects"]["countries"]["geometries"]
    used = Counter(_arc(arc) for country in countries for arc in set(map(_arc, _flat(country["arcs"]))))
    return {
        "land": "".join(f"{_path(_joined(ring, lines))}z" for ring in rings),
        "borders": "".join(_path(lines[arc]) for arc, countries in used.items() if countries > 1),
    }


def _decoded(arc: list[list[int]], transform: dict[str, list[float]]) -> Line:
    """Undo the delta encoding and the quantization."""
    (scale_x, scale_y), (east, north) = transform["scale"], transform["translate"]
    xs, ys = accumulate(x for x, _ in arc), accumulate(y for _, y in arc)
    return [(round(10 * (x * scale_x + east)), round(-10 * (y * scale_y + north))) for x, y in zip(xs, ys, strict=True)]


def _joined(ring: list[int], lines: list[Line]) -> Line:
    """Put a ring's lines one behind the other; a number below 0 means a line backwards."""
    return [point for arc in ring for point in (lines[arc] if arc >= 0 else lines[~arc][::-1])]


def _path(line: Line) -> str:
    steps = [(_the_short_way(x - a), y - b) for (a, b), (x, y) in pairwise(line) if (a, b) != (x, y)]
    return "M" + " ".join(f"{x} {y}" for x, y in line[:1]) + "l" + " ".join(f"{x} {y}" for x, y in steps)


def _the_short_way(step: int) -> int:
    """Go over the 180th meridian rather than once around the world."""
    return (step + 1800) % 3600 - 1800


def _arc(number: int) -> int:
    return number if number >= 0 else ~number


def _flat(arcs: Any) -> list[int]:  # noqa: ANN401 - lists within lists
    return [arcs] if isinstance(arcs, int) else [number for each in arcs for number in _flat(each)]


if __name__ == "__main__":
    paths = outline(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    _OUTLINE.write_text(f"{_SAYS}window.worldOutline = {json.dumps(paths)};\n", encoding="utf-8")
