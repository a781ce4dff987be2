"""What is remembered of each job, so that it can be submitted again: ``HOME/jobs/LABEL.json``.

Flink gives a job a new id whenever it is submitted again; its label, the ``job`` of its windows, stays.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import BaseModel, ValidationError

from streamproof.core.alone import alone as hold
from streamproof.core.contract import Contract
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.question import Asked, Question
from streamproof.core.run import Run, load_run
from streamproof.core.settings import HomeSettings
from streamproof.core.whole_file import write_whole

Start = Literal["earliest", "latest"] | int
"""The oldest row there is, the next one to come, or the first that Kafka got at that time (ms since the epoch)."""


@dataclass(frozen=True)
class JobOptions:
    """What a submission may choose.

    Attributes:
        parallelism: how many slots of the cluster the job takes.
        run: the run to follow, whose clock may lie anywhere; None follows all runs as they come, by one clock.
        start: where in the rows topic to begin; None is ``earliest`` for a run, ``latest`` otherwise.
        checkpoint_interval: milliseconds; windows become visible to ``read_committed`` readers at a checkpoint.
        contract: the stream; None is the one that the questions name.
        savepoint: the path of a savepoint or checkpoint to go on from, as the cluster sees it; it then decides where
            to begin. The label stays that of the job that wrote it.

    """

    parallelism: int = 2
    run: str | None = None
    start: Start | None = None
    checkpoint_interval: int = 1000
    contract: Contract | None = None
    savepoint: str | None = None


class JobRecord(BaseModel):
    """A job as it was submitted.

    Attributes:
        label: the ``job`` of its windows and a part of its transactional ids; the first of its Flink ids.
        asked: the questions that it answers.
        contract: the stream, as it was then.
        options: what was chosen; of several submissions the last.
        offsets: where it began to read, for each partition of the rows topic.
        checkpoints: the folder of its cluster's checkpoints, as the cluster sees it.
        jobmanager: the cluster that it was last submitted to, as ``host:port``.
        flink_ids: the id of each of its submissions, the newest last.
        submitted_at: when it was first submitted: its results came later. None in records of old.
        state: what was last asked for, or ``finished``: its run has ended, and so has it. A ``running`` job that its
            JobManager does not know has been lost.
        finished_at: when it was found to have finished.
        late_rows: of a finished job, the rows that it dropped as late since its last restart.
        reason: of a job that has failed and was given up, why.

    """

    label: str
    asked: list[Asked]
    contract: Contract
    options: JobOptions
    offsets: dict[int, int]
    checkpoints: str
    jobmanager: str
    flink_ids: list[str]
    submitted_at: datetime | None = None
    state: Literal["running", "cancelled", "stopped", "finished", "failed"] = "running"
    finished_at: datetime | None = None
    late_rows: int | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """What it is called at Flink: questions with their windows, stream, and what it follows."""
        followed = f"run {self.options.run}" if self.options.run else "live"
        asked = " ".join(f"{each.name} {each.window}" for each in self.asked)
        return f"{self.contract.name}: {asked} {followed}"

    @property
    def reach(self) -> int:
        """How long behind a run's last row its last window ends, milliseconds."""
        return max(each.question.reach for each in self.asked)

    @property
    def questions(self) -> list[Question]:
        """The questions that it was asked, each with its models behind it, which answer where the job follows a run."""
        has_models = self.options.run is not None
        return [
            question
            for each in self.asked
            for question in (each.question, *(each.question.models if has_models else ()))
        ]

    @property
    def followed(self) -> list[Question]:
        """Those that something follows from, an alert or a score; nothing does of a job without a run."""
        if self.options.run is None:
            return []
        return [each for each in self.questions if each.header.alert or each.model]

    @property
    def last_savepoints(self) -> str:
        """The folder of the savepoints with which a job ends, as the cluster sees it; empty where it has none."""
        return f"{self.checkpoints.rstrip('/')}/last" if self.checkpoints else ""

    def save(self) -> None:
        """Write the record; a reader sees the old one or the new one, never a half."""
        path = _folder() / f"{self.label}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, self.model_dump_json(indent=2) + "\n")

    def remove(self) -> None:
        """Forget the job."""
        (_folder() / f"{self.label}.json").unlink(missing_ok=True)


@contextmanager
def alone() -> Iterator[None]:
    """Let only one process at a time bring jobs to a cluster: what is on its way there looks as if it were lost."""
    with hold(_folder() / "lock"):
        yield


def load_records() -> list[JobRecord]:
    """Return what is remembered of all jobs, the oldest first.

    Raises:
        StreamproofError: a record is damaged.

    """
    found = []
    for path in _folder().glob("*.json"):
        with suppress(FileNotFoundError):  # taken away meanwhile: a submission that was interrupted
            found.append((path.stat().st_mtime, _read(path)))
    return [record for _, record in sorted(found, key=itemgetter(0))]


def wanted_records(jobmanager: str) -> list[JobRecord]:
    """Return the jobs that are to run on a cluster, by its ``host:port``: neither cancelled nor stopped.

    Raises:
        StreamproofError: a record is damaged.

    """
    return [record for record in load_records() if record.state == "running" and record.jobmanager == jobmanager]


def followers() -> list[JobRecord]:
    """Return the jobs of any cluster that are to run for as long as the run that they follow.

    Raises:
        StreamproofError: a record is damaged.

    """
    return [record for record in load_records() if record.state == "running" and record.options.run]


def ended_run(record: JobRecord) -> Run | None:
    """Return the run that a job follows, once its end is marked; None before, and where another machine sent it."""
    try:
        run = load_run(record.options.run or "", HomeSettings())
    except UsageError:
        return None
    return run if run.ended else None


def find_record(job: str) -> JobRecord | None:
    """Return the record of a job by its label or one of its Flink ids."""
    return next((r for r in load_records() if job == r.label or job in r.flink_ids), None)


def reader_of(run: str, stream: str) -> JobRecord | None:
    """Return the newest job that follows a run, or else the newest that follows its stream live and was not ended."""
    records = [record for record in load_records() if record.contract.name == stream]
    of_run = [record for record in records if record.options.run == run]
    live = [record for record in records if record.options.run is None and record.state == "running"]
    return next(iter([*of_run[::-1], *live[::-1]]), None)


def asked_by(run: str, stream: str) -> list[JobRecord]:
    """Return the jobs that follow a run, or its stream live, and were not cancelled; the newest first."""
    of_stream = [record for record in load_records() if record.contract.name == stream]
    return [r for r in reversed(of_stream) if r.options.run in (run, None) and r.state != "cancelled"]


def newest_id(job: str) -> str:
    """Return the Flink id that a job has now, by its label; anything else is taken for a Flink id."""
    path = _folder() / f"{job}.json"
    if not re.fullmatch(r"[0-9a-f]{32}", job) or not path.is_file():
        return job
    return _read(path).flink_ids[-1]


def writer_of(savepoint: str) -> JobRecord:
    """Return the job that wrote a savepoint (``…/savepoint-123456-…``) or checkpoint (``…/FLINK ID/chk-7``).

    Raises:
        UsageError: no job that is remembered here has written it, or it cannot be told which.

    """
    # A savepoint's name holds six digits of the id, a checkpoint's folder is named by the whole of it.
    match = re.search(r"(?:/savepoint-([0-9a-f]{6})-[0-9a-f]+|/([0-9a-f]{32})/chk-\d+)/*$", savepoint)
    begin = (match[1] or match[2]) if match else None
    found = [r for r in load_records() if begin and any(i.startswith(begin) for i in r.flink_ids)]
    if len(found) != 1:
        raise UsageError(
            f"{savepoint!r} was written by {'several' if found else 'none'} of the jobs that {_folder()} remembers, "
            "so its windows cannot go on under its job's name: give the path that `savepoint` printed, or submit the "
            "job without --from-savepoint"
        )
    return found[0]


def newest_checkpoint(record: JobRecord) -> str | None:
    """Return where a job can go on: its newest complete checkpoint or last savepoint, or what it was itself begun from.

    None says that it began at its first offsets and has committed nothing since.

    Raises:
        StreamproofError: this machine does not see the cluster's checkpoints.

    """
    folder = _local(record.checkpoints)
    if folder is None or not folder.is_dir():
        raise StreamproofError(
            f"the checkpoints of job {record.label} lie in {record.checkpoints or 'no folder'}, which this machine "
            f"does not see: name the newest of {record.flink_ids[-1]} yourself (submit … --from-savepoint PATH)"
        )
    flink_id = record.flink_ids[-1]
    # Flink writes _metadata last, under another name until it is whole.
    complete = [*folder.glob(f"{flink_id}/chk-*/_metadata"), *folder.glob(f"last/savepoint-{flink_id[:6]}-*/_metadata")]
    newest = max(complete, key=_written_at, default=None)
    return newest.parent.as_uri() if newest else record.options.savepoint


def is_outdated(savepoint: str, record: JobRecord) -> bool:
    """Tell whether the job has a checkpoint younger than this: it committed windows that it would write again."""
    try:
        given, newest = (_local(place) for place in (savepoint, newest_checkpoint(record) or ""))
        return bool(given and newest and (newest / "_metadata").stat().st_mtime > (given / "_metadata").stat().st_mtime)
    except (StreamproofError, FileNotFoundError):
        return False  # it cannot be seen from here


def _written_at(metadata: Path) -> int:
    try:
        return metadata.stat().st_mtime_ns
    except FileNotFoundError:  # Flink takes away a checkpoint once there is a younger one
        return 0


def _read(path: Path) -> JobRecord:
    try:
        return JobRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StreamproofError(f"{path}: damaged ({error}): remove it, its job cannot be resumed") from error


def _local(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.path and parts.scheme in {"", "file"} else None


def _folder() -> Path:
    return HomeSettings().home / "jobs"
