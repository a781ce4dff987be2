"""How the servers are and what they have done for a run, for the live page."""


from confluent_kafka.admin import AdminClient, OffsetSpec
from confluent_kafka import TopicPartition

from dashboard.health import Answer, AskPart
from flink_jobs.cluster import Cluster
from flink_jobs.offsets import read_offsets
from flink_jobs.records import JobRecord, reader_of
from nifi_templates.deployment import received_rows, status
from stack.servers import Stack
from streams.run import Run
from streams.settings import KafkaSettings

MOSQUITTO, NIFI, KAFKA, FLINK = "Mosquitto", "NiFi", "Kafka", "Flink"

_TIMEOUT_S = 3


def questions() -> dict[str, AskPart]:
    """Return how to ask each server, by the name that the page shows."""
    stack = Stack.from_environment()
    return {
        MOSQUITTO: _healthy(stack, "mosquitto"),
        KAFKA: _healthy(stack, "kafka"),
        NIFI: lambda run: _nifi(stack, run),
        FLINK: lambda run: _flink(run),
    }


def _healthy(stack: Stack, part: str) -> AskPart:
    return lambda _run: _of_stack(stack, part, "answers")


def _of_stack(stack: Stack, part: str, says: str, figures: tuple[tuple[str, str], ...] = ()) -> Answer:
    record = stack.processes.record(part)
    if record is not None and stack.processes.find(part) is None:
        return Answer(is_up=False, says="given up: it ended again and again" if record.given_up else "has ended")
    if not stack.is_healthy(part):
        return Answer(is_up=False, says="does not answer")
    if record is not None and record.restarts:
        figures = (*figures, ("started again", f"{record.restarts:,}"))
    return Answer(is_up=True, says=says, figures=figures)


def _nifi(stack: Stack, run: Run | None) -> Answer:
    up = _of_stack(stack, "nifi", "answers")
    if not up.is_up or run is None:
        return up
    flow = status(run.contract.name)
    if not flow.deployed:
        return Answer(False, f"has no flow: streamproof deploy {run.contract.name}")
    rows = (received_rows(run.contract.name) or {}).get(run.run, {})
    received = sum(count for count, _ in rows.values())
    figures = (("received", f"{received:,}"), ("queued", f"{flow.queued:,} FlowFiles"), *up.figures)
    stopped = [p.name for p in flow.processors if p.state != "Running"]
    return Answer(not stopped, f"stopped: {', '.join(stopped)}" if stopped else "flow running", figures)


def _flink(run: Run | None) -> Answer:
    cluster = Cluster()
    states = cluster.states()
    record = reader_of(run.run, run.contract.name) if run else None
    if run is None or record is None:
        hint = f"no job reads the run: streamproof submit … --run {run.run}" if run else "answers"
        return Answer(run is None, hint)
    flink_id = record.flink_ids[-1]
    state = states.get(flink_id, "not known to the JobManager")
    lag = ("behind", f"{_lag(record):,} records")
    if state != "RUNNING":
        is_done = state in {"FINISHED", "CANCELED"} and run.state != "running"
        return Answer(is_done, f"job {state.lower()}", (lag,))
    figures = (lag, ("late", f"{cluster.late_rows(flink_id):,}"), ("restarts", f"{cluster.restarts(flink_id):,}"))
    return Answer(True, "job running", figures)


def _lag(record: JobRecord) -> int:
    kafka, topic = KafkaSettings(), record.contract.topics.rows
    admin = AdminClient({"bootstrap.servers": kafka.servers, "log_level": 0})
    asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in record.offsets}
    ends = admin.list_offsets(asked, request_timeout=_TIMEOUT_S)
    read = read_offsets(record, kafka)
    return sum(max(0, end.result().offset - read[place.partition][1]) for place, end in ends.items())
