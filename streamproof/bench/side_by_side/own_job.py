"""The project's own window job, reading a full topic as fast as it can: what the other programs stand beside."""

from collections.abc import Sequence
from fractions import Fraction

from flink_jobs.records import Start
from streamproof.bench.full_topic import fill_topic, new_run, remove_topics
from streamproof.bench.ground import (
    CATEGORIES,
    QUESTION,
    WINDOW,
    PartsWatch,
    TopicWatch,
    checkpoint_sizes,
    first_task_ran,
    prove,
    window_job,
)
from streamproof.bench.measure import Once
from streamproof.core.run import Run, new_run_id
from streamproof.core.settings import KafkaSettings
from streamproof.core.topics import ensure_topics
from streamproof.core.window import Window


def from_full_topic(
    rows: int,
    *,
    interval: Fraction,
    keys: int | None = None,
    categories: Sequence[str] = CATEGORIES,
    window: Window = WINDOW,
) -> Once:
    """Measure from the moment when the first task runs until the last window can be read, committed.

    Args:
        rows: how many, in all categories together.
        interval: milliseconds between two rows of a category.
        keys: of each category.
        categories: their names.
        window: the window's shape.

    Raises:
        NotProvenError: a row or a window is not right.

    """
    run = fill_topic(new_run(new_run_id(), rows, keys=keys, interval=interval, categories=categories))
    try:
        return measure_job(run, window=window)
    finally:
        remove_topics(run)


def measure_job(run: Run, *, window: Window = WINDOW, start: Start | None = None) -> Once:
    """Submit the job for a run whose rows are all in Kafka; measure as ``from_full_topic`` does.

    Args:
        run: the run's manifest.
        window: the window's shape.
        start: where in the topic the job begins to read; without it, at the beginning.

    Raises:
        NotProvenError: a row or a window is not right.

    """
    ensure_topics([QUESTION.topic(run.contract)], KafkaSettings())  # it is watched before the job is there
    with (
        TopicWatch(QUESTION.topic(run.contract), run.run, keep=False) as windows,
        PartsWatch() as parts,
        window_job(run.run, run.contract, window=window, start=start) as job,
    ):
        windows.wait_until_quiet()
        began, checkpoints = first_task_ran(job), checkpoint_sizes(job)
        prove(run.run, job)
    cpu, last = parts.cpu(windows.last), windows.last
    sent = sum(counts.sent for counts in run.rows.values())
    used = {part: cpu[part] / sent * 1e6 for part in ("jobmanager", "taskmanager")}
    return Once(
        sent / (last - began),
        {
            "CPU with the job's start, µs/row": sum(used.values()),
            "TaskManagers alone, µs/row": used["taskmanager"],
            "Flink's memory, MB": parts.most_flink_memory / 1e6,
            "largest checkpoint, MB": checkpoints["max"] / 1e6,
            "checkpoints' p95, MB": checkpoints["p95"] / 1e6,
        },
    )
