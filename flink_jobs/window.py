"""The shape of a sliding window: its size and its slide, and which shapes make sense."""

from dataclasses import dataclass

from streams.duration import format_duration
from streams.errors import UsageError


@dataclass(frozen=True)
class Window:
    """A sliding window; with ``slide == size`` it tumbles.

    Windows are aligned to the epoch: each starts at a multiple of the slide and holds ``[start, start + size)``.

    Attributes:
        size: milliseconds.
        slide: milliseconds; divides the size.

    Raises:
        UsageError: such a window makes no sense.

    """

    size: int
    slide: int

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
        return f"{format_duration(self.size)}/{format_duration(self.slide)}"


def interval(milliseconds: int) -> str:
    """Write a duration as an SQL interval."""
    return f"INTERVAL '{milliseconds // 1000}.{milliseconds % 1000:03}' SECOND(10, 3)"
