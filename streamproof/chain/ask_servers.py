"""How the servers are and what they have done for a run, for the live page."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from flink_jobs.cluster import Cluster
from flink_jobs.offsets import end_offsets, read_offsets
from flink_jobs.records import JobRecord, reader_of
from nifi_templates.deployment import received_rows, status
from streamproof.chain.health import Answer, AskPart, Questions
from streamproof.core.brokers import accepts
from streamproof.core.errors import StreamproofError
from streamproof.core.run import Run
from streamproof.core.settings import KafkaSettings, MqttSettings, NifiSettings
from streamproof.stack.kafka import broker_names
from streamproof.stack.servers import Stack


def questions() -> dict[str, Questions]:
    """Return how to ask each server, by the name that the page shows."""
    stack, cluster = Stack.from_environment(), Cluster()
    mqtt, kafka, nifi = MqttSettings(), KafkaSettings(), NifiSettings()
    return {
        "Mosquitto": Questions(_works(stack, ["mosquitto"], [f"{mqtt.host}:{mqtt.port}"])),
        "NiFi": Questions(_works(stack, ["nifi"], [urlsplit(nifi.api_endpoint).netloc]), _flow),
        "Kafka": Questions(_works(stack, broker_names(kafka), kafka.brokers)),
        "Flink": Questions(_works(stack, ["jobmanager"], [cluster.address]), lambda run: _job(cluster, run)),
    }


def _works(stack: Stack, parts: Sequence[str], places: list[str]) -> AskPart:
    """Return the question whether a server works: by its own protocol where this machine's stack runs it.

    One of several processes works while most of them do; the others are named. Of a server that runs elsewhere it is
    whether one of its places, each ``host:port``, accepts connections.
    """

    def ask(_run: Run | None) -> Answer:
        records = [record for part in parts if (record := stack.processes.record(part))]
        if not records:
            return Answer(is_up=any(accepts(place, 443) for place in places), says="at " + ", ".join(places))
        wrong = {part: why for part in parts if (why := _what_is_wrong(stack, part))}
        restarts = sum(record.restarts for record in records)
        figures = (("started again", f"{restarts:,}"),) if restarts else ()
        if len(parts) == 1:
            return Answer(is_up=not wrong, says=wrong.get(parts[0], "answers"), figures=figures)
        return Answer(
            is_up=2 * len(wrong) < len(parts),
            says=", ".join(f"{part} {why}" for part, why in wrong.items()) or "answers",
            figures=(("brokers", f"{len(parts) - len(wrong)} of {len(parts)}"), *figures),
        )

    return ask


def _what_is_wrong(stack: Stack, part: str) -> str:
    record = stack.processes.record(part)
    if record is None or stack.processes.find(part) is None:
        return "given up: it ended again and again" if record and record.given_up else "has ended"
    return "" if stack.is_healthy(part) else "does not answer"


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
