"""The shape of a window: its size, its slide and its kind, and which shapes make sense."""

from dataclasses import dataclass

from streamproof.core.duration import format_duration
from streamproof.core.errors import UsageError
from streamproof.core.measures import WindowKind


@dataclass(frozen=True)
class Window:
    """A sliding window, which tumbles where ``slide == size``, or a cumulative one.

    Windows are aligned to the epoch. A sliding one starts at each multiple of the slide and holds ``[start, start +
    size)``. Cumulative ones start at each multiple of the size and hold ``[start, start + n * slide)``, n = 1, 2, …

    Attributes:
        size: milliseconds; of cumulative windows that of the longest.
        slide: milliseconds; divides the size.
        kind: sliding or cumulative.

    Raises:
        UsageError: such a window makes no sense.

    """

    size: int
    slide: int
    kind: WindowKind = "sliding"

    def __post_init__(self) -> None:
        if self.size <= 0 or self.slide <= 0:
            raise UsageError("a window's size and slide must be above 0")
        size, slide = format_duration(self.size), format_duration(self.slide)
        if self.slide > self.size:
            raise UsageError(
                f"the slide {slide} is longer than the window {size}: rows between two windows would be in none"
            )
        if self.size % self.slide:
            raise UsageError(
                f"the slide {slide} does not divide the window size {size}: the size must be a multiple of the slide"
            )

    def __str__(self) -> str:
        shape = f"{format_duration(self.size)}/{format_duration(self.slide)}"
        return shape if self.kind == "sliding" else f"{self.kind} {shape}"


def interval(milliseconds: int) -> str:
    """Write a duration as an SQL interval."""
    return f"INTERVAL '{milliseconds // 1000}.{milliseconds % 1000:03}' SECOND(10, 3)"
