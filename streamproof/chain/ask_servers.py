"""How the servers are and what they have done for a run, for the live page."""

import socket
from urllib.parse import urlsplit

from flink_jobs.cluster import Cluster
from flink_jobs.offsets import end_offsets, read_offsets
from flink_jobs.records import JobRecord, reader_of
from nifi_templates.deployment import received_rows, status
from streamproof.chain.health import Answer, AskPart, Questions
from streamproof.core.errors import StreamproofError
from streamproof.core.run import Run
from streamproof.core.settings import KafkaSettings, MqttSettings, NifiSettings
from streamproof.stack.servers import Stack

_TIMEOUT_S = 2


def questions() -> dict[str, Questions]:
    """Return how to ask each server, by the name that the page shows."""
    stack, cluster = Stack.from_environment(), Cluster()
    mqtt, kafka, nifi = MqttSettings(), KafkaSettings(), NifiSettings()
    return {
        "Mosquitto": Questions(_works(stack, "mosquitto", [f"{mqtt.host}:{mqtt.port}"])),
        "NiFi": Questions(_works(stack, "nifi", [urlsplit(nifi.api_endpoint).netloc]), _flow),
        "Kafka": Questions(_works(stack, "kafka", kafka.servers.split(","))),
        "Flink": Questions(_works(stack, "jobmanager", [cluster.address]), lambda run: _job(cluster, run)),
    }


def _works(stack: Stack, part: str, places: list[str]) -> AskPart:
    """Return the question whether a part works: by its own protocol where this machine's stack runs it.

    Of a server that runs elsewhere it is whether one of its places, each ``host:port``, accepts connections.
    """

    def ask(_run: Run | None) -> Answer:
        record = stack.processes.record(part)
        if record is None:
            return Answer(is_up=any(_accepts(place) for place in places), says="at " + ", ".join(places))
        if stack.processes.find(part) is None:
            return Answer(is_up=False, says="given up: it ended again and again" if record.given_up else "has ended")
        if not stack.is_healthy(part):
            return Answer(is_up=False, says="does not answer")
        restarts = (("started again", f"{record.restarts:,}"),) if record.restarts else ()
        return Answer(is_up=True, says="answers", figures=restarts)

    return ask


def _accepts(place: str) -> bool:
    try:
        parts = urlsplit(f"//{place}")
        socket.create_connection((parts.hostname or "", parts.port or 443), _TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True


def _flow(run: Run | None) -> Answer:
    if run is None:
        return Answer(is_up=True, says="answers")
    flow = status(run.contract.name)
    if not flow.deployed:
        return Answer(is_up=False, says=f"streamproof deploy {run.contract.name}", lacks="no flow")
    received = (received_rows(run.contract.name) or {}).get(run.run) or {}
    figures = (
        ("received", f"{sum(count for count, _ in received.values()):,}"),
        ("FlowFiles queued", f"{flow.queued:,}"),
    )
    stopped = [p.name for p in flow.processors if p.state != "Running"]
    if stopped:
        return Answer(is_up=False, says=", ".join(stopped), figures=figures, lacks="stopped")
    return Answer(is_up=True, says="flow running", figures=figures)


def _job(cluster: Cluster, run: Run | None) -> Answer:
    states = cluster.states()
    if run is None:
        return Answer(is_up=True, says="answers")
    record = reader_of(run.run, run.contract.name)
    if record is None:
        return Answer(is_up=False, says=f"streamproof submit … --run {run.run}", lacks="no job")
    flink_id = record.flink_ids[-1]
    state = states.get(flink_id, "not known to the JobManager")
    if state != "RUNNING" and record.state != "running" and run.state != "running":
        # It has done its work. What came into the topic since is of other runs, which it never has to read.
        known = "unknown" if record.late_rows is None else f"{record.late_rows:,}"
        return Answer(is_up=True, says=f"job {state.lower()}", figures=(("late", known),))
    try:
        behind = ("records behind", f"{_behind(record):,}")
    except StreamproofError:  # Kafka's own part tells
        behind = ("records behind", "unknown")
    if state != "RUNNING":
        return Answer(is_up=False, says=f"job {state.lower()}", figures=(behind,), lacks="job down")
    late, restarts = cluster.late_rows(flink_id), cluster.restarts(flink_id)
    return Answer(
        is_up=True, says="job running", figures=(behind, ("late", f"{late:,}"), ("restarts", f"{restarts:,}"))
    )


def _behind(record: JobRecord) -> int:
    """Return how many records of the rows topic a job had not read at its last checkpoint."""
    kafka = KafkaSettings()
    read, ends = read_offsets(record, kafka), end_offsets(record, kafka)
    return sum(max(0, end - read[partition][1]) for partition, end in ends.items())
