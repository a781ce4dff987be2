"""The project's own window job, reading a full topic as fast as it can: what the other programs stand beside."""

from fractions import Fraction

import httpx

from benchmarks.full_topic import fill_topic, remove_topics
from benchmarks.ground import PartsWatch, TopicWatch, prove, window_job
from benchmarks.measure import Once
from flink_jobs.cluster import Cluster
from streams.run import new_run_id


def from_full_topic(rows: int, *, interval: Fraction) -> Once:
    """Measure from the moment when the first task runs until the last window can be read, committed.

    Args:
        rows: how many.
        interval: milliseconds between two rows of a category.

    Raises:
        NotProvenError: a row or a window is not right.

    """
    run = fill_topic(new_run_id(), rows, interval=interval)
    try:
        with (
            TopicWatch(run.contract.topics.windows, run.run, keep=False) as windows,
            PartsWatch() as parts,
            window_job(run.run, run.contract) as job,
        ):
            windows.wait_until_quiet()
            began, cpu, last = _first_task_ran(job), parts.cpu(), windows.last
            prove(run.run, job)
    finally:
        remove_topics(run)
    used = sum(seconds for part, seconds in cpu.items() if part.startswith(("jobmanager", "taskmanager")))
    return Once(rows / (last - began), {"CPU with the job's start, µs/row": used / rows * 1e6})


def _first_task_ran(job: str) -> float:
    """Return when Flink had the job's first task running, in seconds since the epoch."""
    with httpx.Client(base_url=f"http://{Cluster().address}/jobs/{job}", trust_env=False) as flink:
        vertices = flink.get("").json()["vertices"]
        times = [flink.get(f"/vertices/{vertex['id']}/subtasktimes").json()["subtasks"] for vertex in vertices]
    return float(min(task["timestamps"]["RUNNING"] for tasks in times for task in tasks)) / 1000
