"""Kafka: one broker or three, each a process that is also a controller (KRaft), the data in ``HOME/kafka``."""

import base64
import os
import subprocess
import uuid
from functools import partial
from pathlib import Path

from confluent_kafka.admin import AdminClient

from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import KafkaSettings
from streamproof.core.whole_file import write_whole
from streamproof.stack.artifacts import Store, read_lock
from streamproof.stack.authority import Authority
from streamproof.stack.configuration import render
from streamproof.stack.java import java_command
from streamproof.stack.part import Part
from streamproof.stack.process import Program
from streamproof.stack.servers_file import keep_servers, part_names, refuse_other_number
from streamproof.stack.settings import Address, StackSettings, loopback_address

BROKERS = (1, 3)
"""How many brokers there may be: two go no further than one, as neither decides anything alone."""

_SETTING = "STREAMPROOF_KAFKA_SERVERS"
_STEP = 2
"""From one broker's port to the next one's; in between is a controller's."""


def broker_names(kafka: KafkaSettings) -> tuple[str, ...]:
    """Return the parts that are Kafka's brokers: ``kafka``, or ``kafka-1`` and so on where there are several."""
    return part_names("kafka", len(kafka.brokers))


def kafka_parts(
    home: Path, store: Store, kafka: KafkaSettings, settings: StackSettings, authority: Authority | None = None
) -> list[Part]:
    """Describe the brokers at ``kafka.servers``; one is healthy when it answers and all that it holds is up to date.

    Raises:
        UsageError: an address is not on loopback, or there are neither one nor three.

    """
    names = broker_names(kafka)
    if len(names) not in BROKERS:
        raise UsageError(f"{_SETTING}={kafka.servers}: `up` starts one broker or three")
    folder = home / "kafka"
    first = settings.kafka_controller_port
    brokers = [loopback_address(each, _SETTING) for each in kafka.brokers]
    controllers = [
        Address(broker.host, first + _STEP * place, "STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT")
        for place, broker in enumerate(brokers)
    ]

    def prepare(place: int) -> Program:
        _refuse_other_number(home, len(names))
        own = folder if len(names) == 1 else folder / names[place]
        jars = [str(store.path(artifact)) for artifact in read_lock() if artifact.part == "kafka"]
        properties = render(
            "kafka.properties",
            own / "server.properties",
            node=place + 1,
            kafka=brokers[place],
            controller=controllers[place],
            voters=",".join(f"{node}@{each.host}:{each.port}" for node, each in enumerate(controllers, 1)),
            replication=len(names),
            in_sync=max(1, len(names) - 1),
            data=own / "data",
            tls=authority and authority.folder,
        )
        java = java_command(settings, settings.kafka_heap, "-cp", os.pathsep.join(jars))
        if not (own / "data" / "meta.properties").exists():
            _format([*java, "kafka.tools.StorageTool", "format", "-c", str(properties)], _cluster_id(folder))
        return Program([*java, "kafka.Kafka", str(properties)], own)

    def healthy(place: int) -> bool:
        client, node = AdminClient(kafka.client | {"bootstrap.servers": kafka.brokers[place]}), place + 1
        known = client.list_topics(timeout=3)
        replicas = [part for topic in known.topics.values() for part in topic.partitions.values()]
        return node in known.brokers and all(node in part.isrs for part in replicas if node in part.replicas)

    return [
        Part(
            name,
            ("kafka",),
            (brokers[place], controllers[place]),
            450,
            partial(prepare, place),
            partial(healthy, place),
            certificates=(authority.folder / "kafka.pem",) if authority else (),
        )
        for place, name in enumerate(names)
    ]


def keep_brokers(home: Path, count: int) -> None:
    """Have the home's Kafka consist of so many brokers, for every command from now on.

    Raises:
        UsageError: it began with another number, or the settings name another.

    """
    if count not in BROKERS:
        raise UsageError(f"--brokers {count}: `up` starts one broker or three")
    _refuse_other_number(home, count)
    if len(KafkaSettings().brokers) != count:
        first = loopback_address(KafkaSettings().brokers[0], _SETTING)
        servers = [f"{first.host}:{first.port + _STEP * place}" for place in range(count)]
        keep_servers(home, _SETTING, servers, lambda: KafkaSettings().brokers, f"--brokers {count}")


def _refuse_other_number(home: Path, count: int) -> None:
    """Refuse to start a Kafka with more or fewer brokers than it began with: its topics are not spread anew."""
    lost = "all topics with it, and what this home's runs say of them is lost"
    refuse_other_number(home / "kafka" / "data", count, ("one broker", "three brokers"), f"the Kafka of {home}", lost)


def _cluster_id(folder: Path) -> str:
    """Return the id that all brokers bear: made once."""
    file = folder / "cluster.id"
    if not file.exists():
        write_whole(file, base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))
    return file.read_text(encoding="ascii")


def _format(command: list[str], cluster: str) -> None:
    """Give a data folder its cluster id, once."""
    done = subprocess.run(
        # --cluster-id=ID, since an id may begin with a dash
        [*command, f"--cluster-id={cluster}", "--ignore-formatted"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StreamproofError(f"Kafka's data folder cannot be formatted: {done.stdout}{done.stderr}")
