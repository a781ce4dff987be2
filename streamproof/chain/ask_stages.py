"""What NiFi and Flink say of a run's rows, for the audit and the verdict."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flink_jobs.cluster import Cluster
from flink_jobs.offsets import read_offsets
from flink_jobs.records import asked_by, find_record, reader_of
from streamproof.core.errors import StreamproofError
from streamproof.core.run import Run
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.sinks.lake.catalogue import LakeSettings, name_of, open_catalogue
from streamproof.stack.live_sinks import LAKE
from validation.copies import JudgedCopies
from validation.stages import AskedBy, ReadByJob, ReceivedRows, Stages, Target

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SILENT = timedelta(seconds=15)
"""How long after its last checkpoint a job is named where records are hidden."""
_AT_WORK = {"INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "RECONCILING"}


def received_by_nifi(run: Run) -> ReceivedRows | None:
    """Return what the stream's flow has received of a run, or None when NiFi, the flow or its ledger is away."""
    from nifi_templates.deployment import received_rows  # nipyapi is slow to import, and not all commands ask NiFi

    try:
        runs = received_rows(run.contract.name)
    except StreamproofError:
        return None
    return None if runs is None else runs.get(run.run, {})


def read_by_flink(run: Run, job: str | None) -> ReadByJob | None:
    """Return what a job has read, or the newest that reads the run; None when no such job is remembered."""
    try:
        record = find_record(job) if job else reader_of(run.run, run.contract.name)
        return ReadByJob(record.label, read_offsets(record, KafkaSettings())) if record else None
    except StreamproofError:
        return None


def asked_of(run: Run) -> list[AskedBy]:
    """Return which questions were asked of a run, or of its stream live, by the jobs that are remembered here."""
    return [
        AskedBy(record.label, question, of_run=record.options.run is not None)
        for record in asked_by(run.run, run.contract.name)
        for question in record.questions
    ]


def why_failed(job: str) -> str | None:
    """Return why a job has failed; None where it has not, or Flink is away."""
    try:
        return Cluster().why_failed(job)
    except StreamproofError:
        return None


def is_working(job: str) -> bool:
    """Return whether a job is at work, or about to be; False where it has ended, or Flink is away."""
    try:
        return Cluster().state(job) in _AT_WORK
    except StreamproofError:
        return False


def who_hides() -> list[str]:
    """Return which running jobs have completed no checkpoint for a while: what they have written is not committed."""
    try:
        jobs = [job for job in Cluster().list() if job.state in {"RUNNING", "RESTARTING"}]
    except StreamproofError:
        return []
    now = datetime.now(UTC)
    silent = {job: now - (job.last_checkpoint or job.since) for job in jobs}
    return [
        f"the job {job.name} ({job.label}) has completed no checkpoint for {time.total_seconds():.0f} s, so its "
        "transaction may be the one that is open: wait for it, or cancel it (streamproof cancel)"
        for job, time in silent.items()
        if time > _SILENT
    ]


def kept_in(run: Run) -> list[Target]:
    """Return where a run's results are kept: by sinks in databases, and in the lake what the batch was asked for."""
    from streamproof.sinks.read_back import read_back  # not all commands ask for it

    home, settings, targets = HomeSettings(), LakeSettings(), list[Target](read_back(run))
    if _is_in_lake(run):
        with suppress(StreamproofError):  # which `copies_in_lake` tells
            catalogue = open_catalogue(settings, home)
            from streamproof.sinks.lake.batch import LakeAnswers

            targets.append(LakeAnswers(f"{name_of(settings, home)}: batch", catalogue))
    return targets


def _is_in_lake(run: Run) -> bool:
    from streamproof.sinks.kept import kept_of

    return any(kept.kind == LAKE for kept in kept_of(run))


def copies_in_lake(db: "DuckDBPyConnection", run: Run) -> JudgedCopies | None:
    """Judge what the lake keeps of a run."""
    if not _is_in_lake(run):
        return None
    home, settings = HomeSettings(), LakeSettings()
    name = name_of(settings, home)
    try:
        catalogue = open_catalogue(settings, home)
        from streamproof.sinks.lake.check import judge_copies

        return judge_copies(db, run, catalogue, name)
    except StreamproofError as error:
        return JudgedCopies(name=name, problem=str(error))


STAGES = Stages(
    nifi=received_by_nifi,
    flink=read_by_flink,
    jobs=asked_of,
    why_failed=why_failed,
    is_working=is_working,
    who_hides=who_hides,
    targets=kept_in,
    copies=copies_in_lake,
)
