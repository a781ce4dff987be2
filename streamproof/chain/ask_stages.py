"""What NiFi and Flink say of a run's rows, for the audit and the verdict."""

from flink_jobs.offsets import read_offsets
from flink_jobs.records import find_record, reader_of
from nifi_templates.deployment import received_rows
from streamproof.core.errors import StreamproofError
from streamproof.core.run import Run
from streamproof.core.settings import KafkaSettings
from validation.stages import ReadByJob, ReceivedRows, Stages


def received_by_nifi(run: Run) -> ReceivedRows | None:
    """Return what the stream's flow has received of a run, or None when NiFi, the flow or its ledger is away."""
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


STAGES = Stages(nifi=received_by_nifi, flink=read_by_flink)
