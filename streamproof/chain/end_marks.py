"""End marks, written once more for window jobs that go on from a checkpoint.

A checkpoint holds how far a job has read, but not the watermarks that it had got to. One that lies between the end
marks of two partitions would leave the last windows open for ever: what would move the first partition's watermark is
read already, and after a run nothing more comes. What an end mark says is true for ever, so it may stand in the topic
as often as one likes.
"""

from confluent_kafka import KafkaException, Producer

from edge_replayer.payload import Payloads
from flink_jobs.cluster import Cluster
from flink_jobs.records import wanted_records
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.message import END_SEQ
from streamproof.core.run import Run, load_run
from streamproof.core.settings import FlinkSettings, HomeSettings, KafkaSettings
from streamproof.core.topics import partitions_of

_TIMEOUT_MS = 20_000

Restarts = dict[str, tuple[str, int]]
"""By a job's label: its id at Flink, and how often Flink has restarted it."""


def mark_ends_again(known: Restarts) -> list[str]:
    """Write the end mark of each run that has ended and whose job goes on from a checkpoint into every partition.

    Args:
        known: the restarts for which that has been done; those found now are added.

    Returns:
        The runs.

    Raises:
        StreamproofError: JobManager or Kafka cannot be reached.

    """
    flink, marked = FlinkSettings(), []
    cluster = Cluster(flink)
    states = cluster.states()
    for record in wanted_records(flink.jobmanager):
        flink_id = record.flink_ids[-1]
        if record.options.run is None or states.get(flink_id) != "RUNNING":
            continue
        restarts = cluster.restarts(flink_id)
        if not (restarts or record.options.savepoint) or known.get(record.label) == (flink_id, restarts):
            continue
        if (run := _followed_run(record.options.run)) and run.end is not None:
            _mark_end(run, run.end, KafkaSettings())
            known[record.label] = (flink_id, restarts)
            marked.append(run.run)
    return marked


def _followed_run(run: str) -> Run | None:
    try:
        manifest = load_run(run, HomeSettings())
    except UsageError:  # it was sent from another machine
        return None
    # Rows that the broker alone has confirmed may come behind an end mark that is written now.
    return manifest if manifest.confirm == "kafka" else None


def _mark_end(run: Run, end: int, kafka: KafkaSettings) -> None:
    category, *_ = run.sources
    mark = Payloads(run.run, run.contract, [category]).mark(category, END_SEQ, end)
    topic = run.contract.topics.rows
    producer = Producer({"bootstrap.servers": kafka.servers, "acks": "all", "delivery.timeout.ms": _TIMEOUT_MS})
    errors: list[object] = []
    try:
        for partition in partitions_of(topic, kafka):
            producer.produce(topic, mark, partition=partition, on_delivery=lambda error, _: errors.append(error))
        producer.flush()
    except KafkaException as error:
        errors.append(error)
    if any(errors):
        raise StreamproofError(
            f"Kafka at {kafka.servers} does not take the end mark of the run {run.run} ({next(filter(None, errors))}): "
            "see `streamproof status`"
        )
