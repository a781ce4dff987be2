"""The shape of a window: its size, its slide and its kind, and which shapes make sense."""

from dataclasses import dataclass
from typing import Literal

from streamproof.core.duration import format_duration, parse_whole_milliseconds
from streamproof.core.errors import UsageError

WindowKind = Literal["sliding", "cumulative", "whole"]
"""Sliding: a window as long as the size begins at each multiple of the slide. Cumulative: at each multiple of the size
windows begin that end one slide later, two, three, and at last a whole size later. Whole: one holds all rows of a run,
which only a batch can know; it has no size."""

_WHOLE_RUN = "whole run"

MOST_WINDOWS = 1_500
"""Windows that a row may lie in. Flink looks through all slices of a window when it closes, so a row that is alone
with its key costs the square of that. Measured on one core: a quarter of a second with 1,440, which are a day by the
minute, a second with 3,600, seven with 10,000."""

_LONGEST = 10 * 366 * 86_400_000
"""Milliseconds; longer windows would never close before Flink's own intervals overflow."""


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
        if self.size > _LONGEST:
            raise UsageError(f"a window of {size} is longer than ten years: choose a shorter one")
        if self.windows_a_row > MOST_WINDOWS:
            raise UsageError(
                f"with a window of {size} and a slide of {slide} each row lies in {self.windows_a_row:,} windows, and "
                f"more than {MOST_WINDOWS:,} keep a cluster from everything else: choose a longer slide"
            )

    @property
    def windows_a_row(self) -> int:
        """In how many windows a row lies, at most."""
        return self.size // self.slide

    def __str__(self) -> str:
        if self.kind == "whole":
            return _WHOLE_RUN
        shape = f"{format_duration(self.size)}/{format_duration(self.slide)}"
        return shape if self.kind == "sliding" else f"{self.kind} {shape}"


def parse_window(text: str) -> Window:
    """Read a window: ``tumbling 60s``, ``sliding 30s / 5s``, ``cumulative 1d / 1h`` or ``whole run``.

    Raises:
        UsageError: the text is none of these, or such a window makes no sense.

    """
    if text.strip() == _WHOLE_RUN:
        return Window(1, 1, "whole")
    kind, _, durations = text.strip().partition(" ")
    parts = [part.strip() for part in durations.split("/")]
    if kind == "tumbling" and len(parts) == 1:
        size = parse_whole_milliseconds(parts[0])
        return Window(size, size)
    if kind not in {"sliding", "cumulative"} or len(parts) == 1:
        raise UsageError(
            f"{text!r} is no window: write 'tumbling SIZE', 'sliding SIZE / SLIDE' or 'cumulative SIZE / SLIDE', "
            "with durations like 30s or 5min"
        )
    size, slide = map(parse_whole_milliseconds, durations.split("/", 1))
    return Window(size, slide, "cumulative" if kind == "cumulative" else "sliding")
