"""Which jobs' alerts and scores are still to be computed. Done ones are noted, ``HOME/alerts/…``."""

from pathlib import Path

from flink_jobs.records import JobRecord, load_records
from streamproof.core.question import Question
from streamproof.core.settings import HomeSettings


def open_jobs() -> list[tuple[JobRecord, Question]]:
    """Return the jobs and their questions whose alerts or scores are not all written, or may become more.

    Raises:
        StreamproofError: a job's record is damaged.

    """
    return [(record, each) for record in load_records() for each in record.followed if not _is_done(record, each)]


def note_done(record: JobRecord, question: Question) -> None:
    """Note that all is written that follows from a job that has ended; one that is submitted again is open again."""
    place = _note(record, question)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()


def alerts_folder() -> Path:
    """Return the folder of what this machine remembers of alerts."""
    return HomeSettings().home / "alerts"


def _is_done(record: JobRecord, question: Question) -> bool:
    return record.state != "running" and _note(record, question).exists()


def _note(record: JobRecord, question: Question) -> Path:
    return alerts_folder() / "done" / f"{record.flink_ids[-1]}-{question.name}"
