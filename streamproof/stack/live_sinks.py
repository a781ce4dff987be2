"""Which sinks are kept running beside the servers of a home, ``HOME/stack/sinks.json``: they store every run."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from streamproof.core.settings import HomeSettings
from streamproof.core.whole_file import write_whole

LAKE: Final = "lake"
"""The sink that keeps rows, and no results."""


def live_sinks() -> list[str]:
    """Return their names."""
    path = _path()
    return TypeAdapter(list[str]).validate_json(path.read_bytes()) if path.is_file() else []


def keep_live(names: Collection[str]) -> None:
    """Have these kept running, too."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(sorted({*live_sinks(), *names})))


def end_live() -> None:
    """Have none kept running any more."""
    _path().unlink(missing_ok=True)


def _path() -> Path:
    return HomeSettings().home / "stack" / "sinks.json"
