"""What a drill does to the chain, by name."""

import random
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle

import psutil
from confluent_kafka.admin import AdminClient

from flink_jobs.cluster import Cluster
from nifi_templates.nodes import primary_node
from streamproof.chain.lost_jobs import resubmit_lost_jobs
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import KafkaSettings, NifiSettings
from streamproof.core.wait import wait_until
from streamproof.drills.programs import Deliverer, Edges, Program, Replayer
from streamproof.drills.proxy import Proxy
from streamproof.stack.kafka import broker_names
from streamproof.stack.nifi import node_names
from streamproof.stack.servers import Stack

_CUT_SECONDS = 20
_FLAP_SECONDS = 60
_ALERTER_SECONDS = 30
_ON_THEIR_WAY_SECONDS = 5
_WAIT_SECONDS = 20
_END_SECONDS = 10
_FAIL_OVER_SECONDS = 120

PARTS = ("mosquitto", "kafka", "nifi", "taskmanager", "jobmanager", "replayer", "alerter", "deliverer")


@dataclass
class Target:
    """A running chain under a drill.

    Attributes:
        stack: its servers, looked after by a supervisor.
        edge_side, flow_side: what the replayer and NiFi reach Mosquitto through.
        replayer: what sends the run: one program, or one of each edge.
        deliverer: the program that tells of its alerts.
        job: the window job's label.
        chance: decides whatever is left to chance.
        confirmed: returns how many rows are confirmed.
        left: the parts that ``kill-any`` has still to kill before it begins anew.
        brokers: the parts that are Kafka's, one after the other, again and again.
        away: parts that were taken away, and without which the chain has to go on before they come back.

    """

    stack: Stack
    edge_side: Proxy
    flow_side: Proxy
    replayer: Replayer | Edges
    deliverer: Deliverer
    job: str
    chance: random.Random
    confirmed: Callable[[], int]
    left: list[str] = field(default_factory=list)
    brokers: Iterator[str] = field(default_factory=lambda: cycle(broker_names(KafkaSettings())))
    away: list[str] = field(default_factory=list)

    def program(self, part: str) -> Program | Edges | None:
        """Return the drill's own program of this name; None where it is a part of the chain."""
        return {"replayer": self.replayer, "deliverer": self.deliverer}.get(part)


Strike = Callable[[Target], str]
"""Does it, and returns what it was done to."""


def _server(target: Target, part: str) -> str:
    """Return the name in the stack: of the brokers each in turn, of the TaskManagers one that the job runs on.

    Of the nodes of NiFi it is the primary one.
    """
    if part == "kafka":
        return next(target.brokers)
    if part == "nifi":
        return node_names(NifiSettings())[primary_node()]
    return target.chance.choice(sorted(Cluster().taskmanagers(target.job))) if part == "taskmanager" else part


def _kill(part: str, target: Target) -> str:
    if program := target.program(part):
        program.kill()
        program.resume()
        return part
    if part == "alerter":
        _alerter(target).kill()
        return part
    name = _server(target, part)
    if part == "mosquitto":
        # With messages in its queue: those that it had not saved are gone.
        target.flow_side.hold()
        time.sleep(target.chance.uniform(0, 3))
    try:
        process = target.stack.processes.find(name)
        if process is None:
            raise StreamproofError(f"{name} does not run, so it cannot be killed: see `streamproof status`")
        process.kill()
    finally:
        target.flow_side.release()
    return name


def _alerter(target: Target) -> psutil.Process:
    """Return the process that computes the alerts: the supervisor starts it soon after the job, and once it was killed.

    Raises:
        StreamproofError: none runs.

    """
    found: list[psutil.Process] = []

    def runs() -> bool:
        with suppress(psutil.Error):  # one that has just ended
            children = psutil.Process(target.stack.supervisor()).children()
            found.extend(each for each in children if "streamproof.alerts" in each.cmdline())
        return bool(found)

    if not wait_until(runs, _ALERTER_SECONDS):
        raise StreamproofError("the alerter does not run, so it cannot be killed: see the supervisor's log")
    return found[0]


def _kill_any(target: Target) -> str:
    if not target.left:
        target.left = target.chance.sample(PARTS, len(PARTS))
    return _kill(target.left.pop(), target)


def _restart(part: str, target: Target) -> str:
    if program := target.program(part):
        program.terminate()
        program.resume()
        return part
    name = _server(target, part)
    target.stack.down(parts=(name,))
    target.stack.up(parts=(name,))
    if part == "jobmanager":
        resubmit_lost_jobs()
    return name


def _cut(target: Target) -> str:
    sides = (target.edge_side, target.flow_side)
    for side in sides:
        side.hold()
    time.sleep(_CUT_SECONDS)
    for side in sides:
        side.release()
    return "MQTT connections"


def _flap(target: Target) -> str:
    for _ in range(_FLAP_SECONDS):
        target.edge_side.cut()
        target.flow_side.cut()
        time.sleep(1)
    return "MQTT connections"


def _lose_broker(target: Target) -> str:
    name, began = _take_away(target), time.monotonic()
    target.away.append(name)
    if not wait_until(lambda: not _is_counted_on(name), _FAIL_OVER_SECONDS, 0.1):
        raise StreamproofError(f"{_FAIL_OVER_SECONDS} s after the end of {name} Kafka still counts on it")
    return f"{name}, without which Kafka went on after {time.monotonic() - began:.1f} s"


def _is_counted_on(broker: str) -> bool:
    """Return whether a partition waits for a broker, be it to lead it or to have its records."""
    kafka = KafkaSettings()
    node = broker_names(kafka).index(broker) + 1
    topics = AdminClient(kafka.client).list_topics(timeout=_END_SECONDS).topics
    partitions = (partition for topic in topics.values() for partition in topic.partitions.values())
    return any(node in partition.isrs for partition in partitions)


def _lose_two_brokers(target: Target) -> str:
    first, second = _take_away(target), _take_away(target)
    time.sleep(_ON_THEIR_WAY_SECONDS)
    before = target.confirmed()
    time.sleep(_WAIT_SECONDS)
    if confirmed := target.confirmed() - before:
        raise StreamproofError(f"{confirmed} rows were confirmed while {first} and {second} were away: one is too few")
    target.away.append(second)
    target.stack.up(parts=(first,))
    return f"{first} and {second}, of which {first} came back"


def _take_away(target: Target) -> str:
    """Kill a broker, which nobody starts again."""
    name = next(target.brokers)
    target.stack.processes.stop(name, _END_SECONDS, signal.SIGKILL)
    return name


def _lose_nifi(target: Target) -> str:
    name = _server(target, "nifi")
    target.stack.processes.stop(name, _END_SECONDS, signal.SIGKILL)
    target.away.append(name)
    return name


OF_THREE_BROKERS: Mapping[str, Strike] = {"lose-broker": _lose_broker, "lose-two-brokers": _lose_two_brokers}
"""What only three brokers can be put to."""

OF_TWO_NODES: Mapping[str, Strike] = {"lose-nifi": _lose_nifi}
"""What only two nodes of NiFi can be put to."""

FAULTS: Mapping[str, Strike] = {
    **{f"kill-{part}": partial(_kill, part) for part in PARTS},
    **{f"restart-{part}": partial(_restart, part) for part in PARTS if part != "alerter"},
    "kill-any": _kill_any,
    "cut-mqtt": _cut,
    "flap-mqtt": _flap,
    **OF_THREE_BROKERS,
    **OF_TWO_NODES,
}


def faults_here() -> list[str]:
    """Return the names of the faults that these servers can be put to."""
    missing: set[str] = set()
    if len(KafkaSettings().brokers) == 1:
        missing |= {*OF_THREE_BROKERS}
    if len(NifiSettings().endpoints) == 1:
        missing |= {*OF_TWO_NODES}
    return [name for name in FAULTS if name not in missing]


def refuse_faults(names: Collection[str]) -> None:
    """Refuse names of which there is no fault, or not here.

    Raises:
        UsageError: as it says.

    """
    if unknown := set(names) - {*FAULTS}:
        raise UsageError(f"there is no drill {min(unknown)!r}: name all, or some of {', '.join(FAULTS)}")
    if missing := set(names) - {*faults_here()}:
        name = min(missing)
        needs = "three brokers: `streamproof up --brokers 3`"
        if name in OF_TWO_NODES:
            needs = "two nodes of NiFi: `streamproof up --nifi-nodes 2`"
        raise UsageError(f"{name} takes {needs}, in a home of its own")
