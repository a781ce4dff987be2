"""What NiFi and Flink say of a run's rows: asked by whoever joins the stages, and unknown without it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamproof.core.question import Question
from streamproof.core.run import Run
from validation.copies import AskCopies


@dataclass(frozen=True)
class ReadByJob:
    """What a job has read of the rows topic: for each partition from which offset on, and up to before which one."""

    job: str
    offsets: dict[int, tuple[int, int]]


@dataclass(frozen=True)
class AskedBy:
    """A question that a job was asked: the job's label, the question with its windows, whether of this run alone."""

    job: str
    question: Question
    of_run: bool


ReceivedRows = dict[str, tuple[int, list[list[int]]]]
"""For each category how many rows NiFi received, each as often as it came, and the ranges [first, last] of ``seq``."""

AskNifi = Callable[[Run], ReceivedRows | None]
"""Tells what NiFi has received of a run; None where that cannot be known."""

AskFlink = Callable[[Run, str | None], ReadByJob | None]
"""Tells what a job has read (None: the newest that reads the run); None where that cannot be known."""

AskJobs = Callable[[Run], list[AskedBy]]
"""Tells which questions were asked of a run, or of its stream live, by jobs that were not cancelled; newest first."""

WhyFailed = Callable[[str], str | None]
"""Tells why a job has failed; None where it has not, or that cannot be known."""

IsWorking = Callable[[str], bool]
"""Tells whether a job is at work, or about to be, so that more answers may come."""

WhoHides = Callable[[], list[str]]
"""Tells which jobs have committed nothing for a while, in words: their open transactions hide what lies behind."""


LAST = 253_402_300_799_999
"""The end of the year 9999, milliseconds since the epoch: no event time lies behind it."""


class Target(Protocol):
    """Something that answers to questions are kept in."""

    @property
    def name(self) -> str:
        """What people call it."""

    def done_to(self, run: Run, question: Question, *, are_alerts: bool) -> int | None:
        """Return up to which window end it has to have answers, or alerts: milliseconds since the epoch.

        ``LAST`` stands for all, None for none.

        Raises:
            StreamproofError: it cannot be read.

        """

    def read(
        self, run: Run, question: Question, job: str, columns: Sequence[str], *, are_alerts: bool
    ) -> Iterator[list[tuple[str | None, ...]]]:
        """Yield the answers of a job to a question that it has of a run, or their alerts, some at a time.

        Each is a tuple of texts: the job; its windows' size, slide and kind; ``columns``. Times are UTC, without zone.

        Raises:
            StreamproofError: it cannot be read.

        """


AskTargets = Callable[[Run], list[Target]]
"""Tells where a run's results were kept."""


@dataclass(frozen=True)
class Stages:
    """Who can be asked."""

    nifi: AskNifi | None = None
    flink: AskFlink | None = None
    jobs: AskJobs | None = None
    why_failed: WhyFailed | None = None
    is_working: IsWorking | None = None
    who_hides: WhoHides | None = None
    targets: AskTargets | None = None
    copies: AskCopies | None = None

    def ask(self, run: Run, job: str | None) -> tuple[ReceivedRows | None, ReadByJob | None]:
        """Return what NiFi has received of a run, and what a job has read (None: the newest that reads the run)."""
        return self.nifi(run) if self.nifi else None, self.flink(run, job) if self.flink else None
