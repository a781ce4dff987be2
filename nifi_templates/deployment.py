"""Deploy a stream's flow to a running NiFi, look after it, remove it; the flow lives in a group named by the stream.

Nothing that is queued is lost: before a group goes, its source stops, and its queues drain into Kafka. What comes
meanwhile the MQTT broker keeps, in the session of the stream's client id.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nipyapi
from nipyapi import canvas
from nipyapi.nifi.rest import ApiException

from nifi_templates.connection import nifi_connection
from nifi_templates.definition import (
    CONSUME,
    FLOW_FILE,
    OURS,
    PASSWORD,
    client_id,
    context_name,
    stream_definition,
    stream_parameters,
)
from nifi_templates.nodes import nodes_away
from nifi_templates.processors.row_ranges import Ledger, RunRows, merge_ranges
from nifi_templates.session import keep_session
from streamproof.core.contract import Contract
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka_rights import Right, allow
from streamproof.core.settings import KafkaSettings, MqttSettings, NifiSettings
from streamproof.core.topics import ensure_topics
from streamproof.core.wait import wait_until

logging.getLogger("nipyapi").setLevel(logging.ERROR)  # it warns of what is waited for here anyway

VALID_SECONDS = 180.0
"""The official image installs the processors' packages on their first use."""

STOP_SECONDS = 60.0
_DIGEST = "definition sha256:"


@dataclass(frozen=True)
class Deployed:
    """What a deployment did: ``created``, ``replaced`` or ``unchanged``, and the topics that were made."""

    stream: str
    action: str
    topics_made: list[str]


@dataclass(frozen=True)
class ProcessorStatus:
    """A processor: its state in NiFi's words, FlowFiles in and out within five minutes, why it is invalid."""

    name: str
    state: str
    flowfiles_in: int
    flowfiles_out: int
    problems: list[str]


@dataclass(frozen=True)
class FlowStatus:
    """A stream's flow.

    Attributes:
        deployed: whether NiFi has the stream's group.
        running: whether every processor runs and is valid.
        queued: FlowFiles in all queues.
        queued_bytes: their size.
        processors: each processor's status.
        bulletins: NiFi's warnings and errors of the last five minutes, the newest last.

    """

    stream: str
    deployed: bool
    running: bool = False
    queued: int = 0
    queued_bytes: int = 0
    processors: list[ProcessorStatus] = field(default_factory=list)
    bulletins: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Removed:
    """What a removal did: whether there was a flow, and how many FlowFiles were dropped (only when forced)."""

    stream: str
    existed: bool
    dropped: int


def deploy(
    contract: Contract,
    *,
    mqtt: MqttSettings | None = None,
    kafka: KafkaSettings | None = None,
    nifi: NifiSettings | None = None,
    drain_seconds: float = 120.0,
    force: bool = False,
) -> Deployed:
    """Bring a stream's flow to what the definition, the contract and the settings say, and start it.

    A flow that is so already is only started. The MQTT session exists when this returns: rows that are published
    from then on reach Kafka, or the dead letters, even when NiFi is away at that moment.

    Raises:
        StreamproofError: a server is away, the processors are not installed in NiFi, something stays invalid, or
            the old flow's queues do not drain (then the old flow goes on, unless ``force`` drops them).

    """
    mqtt, kafka, nifi = mqtt or MqttSettings(), kafka or KafkaSettings(), nifi or NifiSettings()
    template = json.loads(FLOW_FILE.read_text(encoding="utf-8"))
    parameters = stream_parameters(contract, mqtt, kafka)
    definition = stream_definition(template, contract.name, parameters)
    digest = _digest(template, parameters)
    with nifi_connection(nifi):
        _require_processors()
        topics = [contract.topics.rows, contract.topics.dead_letters]
        topics_made = ensure_topics(topics, kafka)
        allow(kafka, "nifi", [Right("topic", topic, ("write", "describe")) for topic in topics])
        old = _group(contract.name)
        if old is not None and digest in (old.component.comments or ""):
            _start(contract.name, old.id)
            return Deployed(contract.name, "unchanged", topics_made)
        if old is not None:
            _take_away(contract.name, old.id, drain_seconds, force=force)
        keep_session(client_id(contract), f"{contract.name}/+", mqtt)
        definition["flowContents"]["comments"] = f"Made by streamproof; do not edit. {_DIGEST}{digest}"
        group = nipyapi.versioning.import_process_group_definition(
            canvas.get_root_pg_id(), flow_definition=json.dumps(definition), position=_free_position()
        )
        if parameters[PASSWORD]:
            secret = nipyapi.parameters.prepare_parameter(PASSWORD, parameters[PASSWORD], sensitive=True)
            context = nipyapi.parameters.get_parameter_context(context_name(contract.name), greedy=False)
            nipyapi.parameters.upsert_parameter_to_context(context, secret)
        _start(contract.name, group.id)
    return Deployed(contract.name, "created" if old is None else "replaced", topics_made)


def status(stream: str, *, nifi: NifiSettings | None = None) -> FlowStatus:
    """Return how a stream's flow does.

    Raises:
        StreamproofError: NiFi is away or does not let us in.

    """
    with nifi_connection(nifi or NifiSettings()):
        group = _group(stream)
        if group is None:
            return FlowStatus(stream, deployed=False)
        processors = [
            ProcessorStatus(
                name=p.component.name,
                state=p.status.run_status,
                flowfiles_in=p.status.aggregate_snapshot.flow_files_in,
                flowfiles_out=p.status.aggregate_snapshot.flow_files_out,
                problems=p.component.validation_errors or [],
            )
            for p in canvas.list_all_processors(group.id)
        ]
        snapshot = group.status.aggregate_snapshot
        return FlowStatus(
            stream,
            deployed=True,
            running=all(p.state == "Running" for p in processors),
            queued=snapshot.flow_files_queued,
            queued_bytes=snapshot.bytes_queued,
            processors=sorted(processors, key=lambda p: p.name),
            bulletins=_bulletins(group.id),
        )


def is_current(contract: Contract, *, nifi: NifiSettings | None = None) -> bool:
    """Return whether the deployed flow is what the definition, the contract and the settings say now.

    Raises:
        StreamproofError: NiFi is away or does not let us in.

    """
    template = json.loads(FLOW_FILE.read_text(encoding="utf-8"))
    digest = _digest(template, stream_parameters(contract, MqttSettings(), KafkaSettings()))
    with nifi_connection(nifi or NifiSettings()):
        group = _group(contract.name)
        return group is not None and digest in (group.component.comments or "")


def received_rows(stream: str, *, nifi: NifiSettings | None = None) -> dict[str, RunRows] | None:
    """Return what a stream's flow has received of its newest runs, by the run's id; None where there is no flow.

    The ledger of the flow's MQTT source, of all nodes together: it begins anew when the flow is replaced, and is
    written some tenths of a second after Kafka may have the rows.

    Raises:
        StreamproofError: NiFi is away or does not let us in, or a node is missing, and with it what it has received.

    """
    nifi = nifi or NifiSettings()
    with nifi_connection(nifi):
        group = _group(stream)
        if group is None:
            return None
        if away := nodes_away(nifi):
            raise StreamproofError(f"{away} of NiFi's nodes is away, and so is what it knows of the rows it received")
        source = next(p.id for p in canvas.list_all_processors(group.id) if p.component.type == CONSUME)
        found = nipyapi.nifi.ProcessorsApi().get_state2(source).component_state.local_state
        nodes: dict[str | None, dict[str, str]] = {}
        for entry in found.state or []:
            nodes.setdefault(entry.cluster_node_id, {})[entry.key] = entry.value
        return unite(Ledger(texts).rows for texts in nodes.values())


def unite(ledgers: Iterable[Mapping[str, RunRows]]) -> dict[str, RunRows]:
    """Return what several nodes have received: of each run how many rows, each as often as it came, and which.

    What one node does not know of a run, its rows being too many to tell, nobody knows.
    """
    united: dict[str, RunRows] = {}
    for run, rows in (each for ledger in ledgers for each in ledger.items()):
        known = united.setdefault(run, {})
        if known is None or rows is None:
            united[run] = None
            continue
        for category, (count, ranges) in rows.items():
            before, there = known.get(category, (0, []))
            known[category] = (before + count, merge_ranges(there + ranges))
    return united


def remove(
    stream: str, *, nifi: NifiSettings | None = None, drain_seconds: float = 120.0, force: bool = False
) -> Removed:
    """Take a stream's flow out of NiFi, after what is queued went to Kafka; its topics and MQTT session stay.

    Raises:
        StreamproofError: NiFi is away, or the queues do not drain (then the flow goes on, unless ``force``).

    """
    with nifi_connection(nifi or NifiSettings()):
        group = _group(stream)
        if group is None:
            return Removed(stream, existed=False, dropped=0)
        return Removed(stream, existed=True, dropped=_take_away(stream, group.id, drain_seconds, force=force))


def _digest(template: dict[str, Any], parameters: dict[str, str]) -> str:
    """Return what tells one deployment from another; the password slowly hashed, as NiFi shows the digest."""
    secret = hashlib.scrypt(
        parameters[PASSWORD].encode(), salt=parameters["mqtt.client.id"].encode(), n=2**14, r=8, p=1
    )
    whole = json.dumps([template, parameters | {PASSWORD: secret.hex()}], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def _require_processors() -> None:
    known = {t.type for t in canvas.list_all_processor_types().processor_types}
    if missing := set(OURS) - known:
        raise StreamproofError(
            f"NiFi does not have the processors {', '.join(sorted(missing))}: copy or mount the folder "
            "nifi_templates/processors as `streamproof` into its python_extensions folder "
            "(nifi.python.extensions.source.directory.default), and start NiFi again"
        )


def _group(stream: str) -> Any:  # noqa: ANN401 - nipyapi has no types
    root = canvas.get_root_pg_id()
    groups = nipyapi.nifi.ProcessGroupsApi().get_process_groups(root).process_groups
    return next((g for g in groups if g.component.name == stream), None)


def _free_position() -> tuple[int, int]:
    groups = nipyapi.nifi.ProcessGroupsApi().get_process_groups(canvas.get_root_pg_id()).process_groups
    return 0, int(max((g.position.y for g in groups), default=-250)) + 250


def _start(stream: str, group: str) -> None:
    def invalid() -> list[str]:
        components = [*canvas.list_all_processors(group), *canvas.list_all_controllers(group)]
        return [
            f"{c.component.name}: {', '.join(c.component.validation_errors or [c.component.validation_status])}"
            for c in components
            if c.component.validation_status != "VALID"
        ]

    canvas.schedule_all_controllers(group, True)
    if not wait_until(lambda: not invalid(), VALID_SECONDS) and (left := invalid()):
        raise StreamproofError(f"the flow of {stream} stays invalid in NiFi:\n" + "\n".join(left))
    canvas.schedule_process_group(group, True)

    def idle() -> list[str]:
        return [p.component.name for p in canvas.list_all_processors(group) if p.status.run_status != "Running"]

    if not wait_until(lambda: not idle(), STOP_SECONDS) and (left := idle()):
        raise StreamproofError(f"in the flow of {stream}, NiFi does not start: {', '.join(left)}; {_last_words(group)}")


def _take_away(stream: str, group: str, drain_seconds: float, *, force: bool) -> int:
    """Stop the source, let the queues drain, delete the group and its parameters; return what was dropped."""
    processors = canvas.list_all_processors(group)
    for processor in processors:
        if processor.component.type == CONSUME:
            canvas.schedule_processor(processor, False)
            _stopped(stream, processor.id)
    queued = _queued(group)
    if queued and not force:
        for processor in processors:
            if processor.component.type != CONSUME and processor.component.state == "STOPPED":
                canvas.schedule_processor(processor, True)
        wait_until(lambda: not _queued(group), drain_seconds)
        queued = _queued(group)
        if queued:
            words = _last_words(group)
            canvas.schedule_process_group(group, True)
            raise StreamproofError(
                f"{queued} FlowFiles of {stream} are still queued in NiFi after {drain_seconds:g} s, so its flow stays "
                f"as it was and goes on; is Kafka there? ({words}) --force drops them"
            )
    canvas.schedule_components(group, False)  # nipyapi's own wait is shorter than the sink's patience
    for processor in processors:
        _stopped(stream, processor.id)
    if _queued(group):
        canvas.purge_process_group(canvas.get_process_group(group, "id"))
    canvas.schedule_all_controllers(group, False)
    if not wait_until(lambda: _deleted(group), STOP_SECONDS):
        canvas.delete_process_group(canvas.get_process_group(group, "id"))
    context = nipyapi.parameters.get_parameter_context(context_name(stream), greedy=False)
    if context is not None:
        nipyapi.parameters.delete_parameter_context(context)
    return queued


_ON_THEIR_WAY = {"STARTING", "RUNNING", "STOPPING"}
"""States of processors behind what NiFi shows: one that is not valid yet is shown as stopped while it starts."""


def _deleted(group: str) -> bool:
    """Delete a group unless NiFi refuses: what could not start, as it is invalid, it may still be about to start."""
    try:
        canvas.delete_process_group(canvas.get_process_group(group, "id"))
    except (ValueError, ApiException):
        return False
    return True


def _stopped(stream: str, processor: str) -> None:
    def is_at_rest() -> bool:
        p = canvas.get_processor(processor, "id")
        is_running = p.status.run_status == "Running" or p.component.physical_state in _ON_THEIR_WAY
        return not is_running and not p.status.aggregate_snapshot.active_thread_count

    if not wait_until(is_at_rest, STOP_SECONDS):
        name = canvas.get_processor(processor, "id").component.name
        raise StreamproofError(f"in the flow of {stream}, {name} does not stop within {STOP_SECONDS:g} s")


def _queued(group: str) -> int:
    return int(canvas.get_process_group(group, "id").status.aggregate_snapshot.flow_files_queued)


def _bulletins(group: str) -> list[str]:
    found = [b for b in canvas.get_bulletin_board(pg_id=group) if b.message]
    return [f"{b.timestamp} {b.level} {b.source_name}: {b.message}" for b in found]


def _last_words(group: str) -> str:
    return next(iter(_bulletins(group)[-1:]), "NiFi says nothing about it")
