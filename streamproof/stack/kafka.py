"""Kafka: one process that is broker and controller (KRaft), its data in ``HOME/kafka``."""

import base64
import os
import subprocess
import uuid
from pathlib import Path

from confluent_kafka.admin import AdminClient

from streamproof.core.errors import StreamproofError
from streamproof.core.settings import KafkaSettings
from streamproof.stack.artifacts import Store, read_lock
from streamproof.stack.authority import Authority
from streamproof.stack.configuration import render
from streamproof.stack.java import java_command
from streamproof.stack.part import Part
from streamproof.stack.process import Program
from streamproof.stack.settings import Address, StackSettings, loopback_address


def kafka_part(
    home: Path, store: Store, kafka: KafkaSettings, settings: StackSettings, authority: Authority | None = None
) -> Part:
    """Describe the broker at ``kafka.servers``."""
    folder = home / "kafka"
    address = loopback_address(kafka.servers, "STREAMPROOF_KAFKA_SERVERS")
    controller = Address(address.host, settings.kafka_controller_port, "STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT")

    def prepare() -> Program:
        jars = [str(store.path(artifact)) for artifact in read_lock() if artifact.part == "kafka"]
        properties = render(
            "kafka.properties",
            folder / "server.properties",
            kafka=address,
            controller_port=settings.kafka_controller_port,
            data=folder / "data",
            tls=authority and authority.folder,
        )
        java = java_command(settings, settings.kafka_heap, "-cp", os.pathsep.join(jars))
        if not (folder / "data" / "meta.properties").exists():
            _format([*java, "kafka.tools.StorageTool", "format", "-c", str(properties)])
        return Program([*java, "kafka.Kafka", str(properties)], folder)

    def healthy() -> bool:
        client = AdminClient(kafka.client)
        return bool(client.list_topics(timeout=3).brokers)

    certificate = authority.folder / "kafka.pem" if authority else None
    return Part("kafka", ("kafka",), (address, controller), 450, prepare, healthy, certificate=certificate)


def _format(command: list[str]) -> None:
    """Give the data folder its cluster id, once."""
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    done = subprocess.run(
        # --cluster-id=ID, since an id may begin with a dash
        [*command, f"--cluster-id={cluster}", "--ignore-formatted"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StreamproofError(f"Kafka's data folder cannot be formatted: {done.stdout}{done.stderr}")
