"""Jobs that fail on the same rows for ever, such as by a division by zero: they are given up after a few tries."""

from contextlib import suppress

from flink_jobs.cluster import Cluster
from flink_jobs.records import load_records
from streamproof.core.errors import StreamproofError
from streamproof.core.settings import FlinkSettings


def give_up_failing_jobs() -> list[str]:
    """Cancel the jobs whose questions fail on the same rows again and again, and remember the reason.

    Their open transactions would hide what other jobs write. A cluster that is away is looked at the next time.

    Returns:
        What was done, a line each.

    """
    done = []
    for record in load_records():
        if record.state != "running":
            continue
        cluster = Cluster(FlinkSettings(jobmanager=record.jobmanager))
        with suppress(StreamproofError):
            if reason := cluster.error_in_the_data(record.label):
                cluster.give_up(record.label, reason)
                done.append(f"the job {record.name} ({record.label}) fails on the same rows and is given up: {reason}")
    return done
