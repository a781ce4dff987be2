"""What ``batch`` has found of a run in the lake, noted in the run's folder for page and report."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from streamproof.core.question import Question
from streamproof.core.run import manifest_path
from streamproof.core.settings import HomeSettings
from streamproof.core.whole_file import write_whole
from streamproof.core.window import Window
from validation.comparison import AnswerCounts, Difference


class LakeBatch(BaseModel):
    """The lake's answers to a question of a run, and how the stream's compare with them.

    Attributes:
        question: its label.
        window: its window.
        made_at: when they were computed and compared.
        done_to: up to which window end the lake has answers, milliseconds since the epoch; None for all of them.
        answers: how many.
        counts: of the stream's up to there, how many are right if the lake's are; None where they were not compared.
        not_right: the earliest of the others.

    """

    question: str
    window: Window
    made_at: datetime
    done_to: int | None
    answers: int
    counts: AnswerCounts | None = None
    not_right: tuple[Difference, ...] = ()

    @property
    def differing(self) -> int:
        """How many answers one of the two lacks, or has with another value."""
        return self.counts.wrong + self.counts.missing + self.counts.extra if self.counts else 0

    def save(self, run: str, question: Question, home: HomeSettings) -> None:
        """Note it.

        Raises:
            OSError: the run's folder cannot be written.

        """
        path = _path(run, question, home)
        path.parent.mkdir(exist_ok=True)
        write_whole(path, self.model_dump_json())


def lake_batches(run: str, questions: Iterable[Question], home: HomeSettings) -> dict[str, LakeBatch]:
    """Return what was noted of questions, by their names; what was of another text or of other windows is left out."""
    found = {}
    for question in questions:
        with suppress(OSError, ValidationError):
            noted = LakeBatch.model_validate_json(_path(run, question, home).read_bytes())
            if (noted.question, noted.window) == (question.label, question.window):
                found[question.name] = noted
    return found


def _path(run: str, question: Question, home: HomeSettings) -> Path:
    return manifest_path(run, home).parent / "batch" / f"{question.name}.json"
