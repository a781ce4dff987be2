"""Jobs that follow a run, and its end: their last windows are closed, and then the jobs end as well.

A topic has no end, so Flink's source never ends by itself. That a job has nothing left to do is known like this. Once
the end of the run is marked in every partition, the ends of the partitions are noted. When Kafka holds, for the job's
consumer group, offsets behind them, a checkpoint is complete before whose barrier the job had read all end marks: its
last windows were written before that checkpoint, and whatever is killed from now on, they are not lost. The job is
then stopped with a savepoint, which commits, and Flink calls it FINISHED.

A restart in between could spoil that. A checkpoint holds how far a job has read, but not the watermarks that it had got
to. One that lies between the end marks of two partitions would leave the last windows open for ever: what would move
the first partition's watermark is read already, and after a run nothing more comes. So behind each restart the marks
are written once more and the ends are noted anew; what an end mark says is true for ever, so it may stand in the topic
as often as one likes. The restarts are counted again when the job has ended: one that ended too early is lost, and is
submitted again from the savepoint that it ended with.
"""

from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import KafkaException, Producer

from edge_replayer.payload import Payloads
from flink_jobs.cluster import Cluster
from flink_jobs.offsets import end_offsets, read_offsets
from flink_jobs.records import JobRecord, alone, ended_run, find_record, followers
from streamproof.core.brokers import kafka_at
from streamproof.core.errors import StreamproofError
from streamproof.core.message import END_SEQ
from streamproof.core.run import Run
from streamproof.core.settings import FlinkSettings, KafkaSettings
from streamproof.core.topics import partitions_of

_TIMEOUT_MS = 20_000


@dataclass(frozen=True)
class _Noted:
    """What was known when the end of a run stood in every partition: submission, restarts and the partitions' ends."""

    flink_id: str
    attempts: int
    ends: dict[int, int]


class EndedRuns:
    """Looks after the jobs that follow a run which has ended; remembers from one look to the next what it has noted.

    Attributes:
        are_lost: whether the last look met a job that ended too early, which `streamproof resubmit` lets go on.

    """

    def __init__(self) -> None:
        self.are_lost = False
        self._noted: dict[str, _Noted] = {}

    def look(self) -> list[str]:
        """Close the last windows where a restart has left them open, and end the jobs that have done their work.

        A job whose run was sent from another machine is left alone: this one does not know when the run has ended.
        One whose JobManager or Kafka is away is looked at the next time.

        Returns:
            What was done, a line each.

        """
        done, self.are_lost = [], False
        for record in followers():
            with suppress(StreamproofError):
                if run := ended_run(record):
                    done += self._look_at(record, run)
        return done

    def _look_at(self, record: JobRecord, run: Run) -> list[str]:
        cluster, kafka = Cluster(FlinkSettings(jobmanager=record.jobmanager)), KafkaSettings()
        flink_id, done = record.flink_ids[-1], []
        state = cluster.states().get(flink_id)
        self.are_lost |= state == "FINISHED"
        if state != "RUNNING":
            return []
        attempts, noted = cluster.attempts(flink_id), self._noted.get(record.label)
        if noted is None or (noted.flink_id, noted.attempts) != (flink_id, attempts):
            if run.confirm == "broker" and not _is_closed(record, run, cluster):
                return []  # its end marks are on their way, or were lost by the broker
            if run.confirm == "kafka" and (attempts or record.options.savepoint or run.state != "finished"):
                _mark_end(run, kafka)
                done.append(f"the end of the run {run.run} is marked again for the job {record.label}")
            noted = self._noted[record.label] = _Noted(flink_id, attempts, end_offsets(record, kafka))
        read = read_offsets(record, kafka)
        if all(read[partition][1] >= end for partition, end in noted.ends.items()):
            done.append(_finish(record, attempts, cluster))
        return done


def _is_closed(record: JobRecord, run: Run, cluster: Cluster) -> bool:
    """Whether a job's watermark has passed the end of its last window."""
    low_watermark = cluster.low_watermark(record.label)
    return run.end is not None and low_watermark is not None and low_watermark >= run.end + record.reach


def _finish(record: JobRecord, attempts: int, cluster: Cluster) -> str:
    with alone():
        now = find_record(record.label)
        if now != record:  # cancelled or submitted again meanwhile
            return f"the job {record.label} is {now.state if now else 'forgotten'}"
        if cluster.finish(record, attempts):
            return f"the job {record.name} ({record.label}) has finished, as its run has"
        return f"the job {record.label} was restarted while it ended, and is to go on"


def _mark_end(run: Run, kafka: KafkaSettings) -> None:
    category, *_ = run.sources
    mark = Payloads(run.run, run.contract, [category]).mark(category, END_SEQ, run.end or 0)
    topic = run.contract.topics.rows
    producer = Producer(kafka.client | {"acks": "all", "delivery.timeout.ms": _TIMEOUT_MS})
    errors: list[object] = []
    try:
        for partition in partitions_of(topic, kafka):
            producer.produce(topic, mark, partition=partition, on_delivery=lambda error, _: errors.append(error))
        producer.flush()
    except KafkaException as error:
        errors.append(error)
    if any(errors):
        raise StreamproofError(
            f"Kafka at {kafka_at(kafka)} does not take the end mark of the run {run.run} "
            f"({next(filter(None, errors))}): see `streamproof status`"
        )
