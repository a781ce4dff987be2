"""What Flink says of late rows, for the verdict."""

from flink_jobs.cluster import Cluster
from streamproof.core.errors import StreamproofError


def late_rows(job: str) -> int | None:
    """Return how many rows a job dropped as late, or None when Flink or the job is away."""
    try:
        return Cluster().late_rows(job)
    except StreamproofError:
        return None
