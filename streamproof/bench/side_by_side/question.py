"""What the programs here are asked, and the form of their answer; nothing but Python's own library.

The streaming programs get a topic of rows and one for the windows, the batch programs a run's manifest and a file for
the windows. Each prints one line of JSON.
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

Values = tuple[int, float, float, float]
"""Count, sum, least and greatest measure of a window."""

NOTHING: Values = (0, 0.0, float("inf"), float("-inf"))
"""The values of a window without a row."""


def add(values: Values, measure: float) -> Values:
    """Return a window's values with one more row."""
    count, total, least, greatest = values
    return count + 1, total + measure, min(least, measure), max(greatest, measure)


class _Arguments:
    @classmethod
    def from_arguments(cls) -> Self:
        """Read the command line: an option for each attribute."""
        parser = argparse.ArgumentParser()
        for name, kind in cls.__annotations__.items():
            parser.add_argument(f"--{name}", type=kind, required=True)
        return cls(**vars(parser.parse_args()))


@dataclass(frozen=True)
class StreamQuestion(_Arguments):
    """Which rows, which windows, and where to.

    Attributes:
        servers: Kafka's address.
        key, measure: the fields by which windows are told apart, beside the category, and which is summed up.
        rows, windows: the topics to read and to write; every partition is read from its first record to its last.
        run: the run whose rows count.
        job: what the windows are marked with.
        size, slide: of the windows, in milliseconds.
        partitions: of the rows topic.
        lateness: how far the event times within a partition go back, in milliseconds, for those who must guess it.

    """

    servers: str
    key: str
    measure: str
    rows: str
    windows: str
    run: str
    job: str
    size: int
    slide: int
    partitions: int
    lateness: int

    def is_wanted(self, row: Mapping[str, Any]) -> bool:
        """Whether it is a row of the run, and not a heartbeat or an end mark."""
        return bool(row["run"] == self.run and row["seq"] > 0)

    def window(self, category: str, key: str, start: int, values: Values) -> str:
        """Write a window in JSON, as the project's own job does."""
        count, total, least, greatest = values
        return json.dumps(
            {
                "job": self.job,
                "run": self.run,
                "category": category,
                self.key: key,
                "window_start": _iso(start),
                "window_end": _iso(start + self.size),
                "window_size": self.size,
                "window_slide": self.slide,
                f"{self.measure}_count": count,
                f"{self.measure}_sum": total,
                f"{self.measure}_avg": total / count,
                f"{self.measure}_min": least,
                f"{self.measure}_max": greatest,
            }
        )


@dataclass(frozen=True)
class BatchQuestion(_Arguments):
    """Which files, which windows, and where to.

    Attributes:
        manifest: of the run (pace ``interval``): its files, and what a row's event time follows from.
        columns: of the files, which have no header; with commas between.
        key, measure: as of a ``StreamQuestion``.
        size, slide: of the windows, in milliseconds.
        output: the Parquet file to write: category, key, window_start (milliseconds), n, total, least, greatest.

    """

    manifest: Path
    columns: str
    key: str
    measure: str
    size: int
    slide: int
    output: Path

    def run(self) -> tuple[dict[str, str], int, Fraction]:
        """Return each category's file, the first row's event time and the interval, both in milliseconds."""
        manifest = json.loads(self.manifest.read_text())
        files = {category: source["file"] for category, source in manifest["sources"].items()}
        return files, manifest["start"], Fraction(manifest["interval"])


@dataclass
class Progress:
    """What a program has done, noted as it happens: rows and windows, wall clock and CPU time of this process."""

    rows: int = 0
    windows: int = 0
    began: tuple[float, float] | None = None
    ended: tuple[float, float] = field(default=(0.0, 0.0))

    def begin(self) -> None:
        """Note the moment just before the first row is read, once."""
        self.began = self.began or _now()

    def end(self) -> None:
        """Note the moment when the last window is there."""
        self.ended = _now()

    def answer(self) -> None:
        """Print it all: seconds are those between the two moments."""
        assert self.began  # noqa: S101 - a program that has not begun is wrong
        wall, cpu = (ended - began for began, ended in zip(self.began, self.ended, strict=True))
        said = {"rows": self.rows, "windows": self.windows, "seconds": wall, "cpu_seconds": cpu}
        print(json.dumps(said | {"memory_mb": _most_memory()}), flush=True)


def _now() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def _most_memory() -> float:
    """Return the most megabytes that were resident; getrusage's figure would be that of the starting process, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
