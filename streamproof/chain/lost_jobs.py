"""Jobs that ran when the cluster ended, which a JobManager that starts anew does not know, or that ended too early."""

from flink_jobs.cluster import Cluster
from flink_jobs.records import JobRecord, wanted_records
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.settings import FlinkSettings


def resubmit_lost_jobs() -> bool:
    """Submit each job of this cluster again that was neither cancelled nor stopped, from its newest checkpoint.

    Until then a lost job's open Kafka transaction hides what other jobs commit behind it. A job that cannot be
    submitted again is named, and does not keep the others from it. Returns whether none is lost any more.

    Raises:
        StreamproofError: the JobManager does not answer.

    """
    for record in _lost_jobs():
        from flink_jobs.submission import resubmit  # PyFlink is slow to import, and mostly nothing is lost

        try:
            submitted = resubmit(record.label)
            console.print(f"job {submitted.name} goes on", markup=False, soft_wrap=True)
        except StreamproofError as error:
            # Another process may have been quicker.
            if record.label in (lost.label for lost in _lost_jobs()):
                console.print(f"job {record.label} cannot go on: {error}", markup=False, soft_wrap=True)
    return not _lost_jobs()


def _lost_jobs() -> list[JobRecord]:
    flink = FlinkSettings()
    known = Cluster(flink).states()
    return [r for r in wanted_records(flink.jobmanager) if known.get(r.flink_ids[-1], "FINISHED") == "FINISHED"]
