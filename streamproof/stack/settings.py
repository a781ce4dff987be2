"""What only the servers need to know; the public addresses are those of ``streamproof.core.settings``.

Clients and servers read the same addresses, so they cannot disagree.
"""

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from streamproof.core.errors import UsageError
from streamproof.core.settings import JavaHome, Port, Settings


class StackSettings(Settings):
    """The servers' own settings; memory is in mebibytes, times in seconds.

    Attributes:
        java_home: a Java 21 to use instead of the one from PyPI.
        java_options: more options for every server's Java, as on a command line.
        nifi_management_port: the port of NiFi's own health page; by default three above that of its REST interface.
        nifi_cluster_port: the first of the ports by which NiFi's nodes talk; each takes two.
        zookeeper_port: where ZooKeeper listens, which is there with two nodes of NiFi.
        mosquitto_autosave: seconds between two savings of the broker's sessions and queues.
        mosquitto_edge_port: where a secured broker listens for edges.
        flink_slots: task slots of each of the two TaskManagers.
        flink_managed, flink_network: memory outside the heap, of each TaskManager.
        flink_metrics_port: where the JobManager serves Prometheus; the TaskManagers take the two ports above it. Off
            by default, since Flink's reporter listens on every address of the machine, with no setting against it.
        start_timeout: seconds that a part has to become healthy.
        stop_timeout: seconds that a part has to end before it is killed.

    """

    model_config = SettingsConfigDict(env_prefix="STREAMPROOF_STACK_")

    java_home: JavaHome | None = None
    java_options: str = ""
    mosquitto_autosave: int = Field(default=5, ge=1)
    mosquitto_edge_port: Port = 21884
    kafka_controller_port: Port = 29093
    kafka_heap: int = Field(default=384, ge=256)
    nifi_management_port: Port | None = None
    nifi_heap: int = Field(default=640, ge=384)
    nifi_cluster_port: Port = 28100
    zookeeper_port: Port = 22181
    flink_rpc_port: Port = 26123
    flink_slots: int = Field(default=4, ge=1)
    flink_jobmanager_heap: int = Field(default=320, ge=192)
    flink_taskmanager_heap: int = Field(default=1024, ge=256)
    flink_managed: int = Field(default=128, ge=64)
    flink_network: int = Field(default=48, ge=32)
    flink_metrics_port: int | None = Field(default=None, ge=1, le=65533)
    start_timeout: int = Field(default=180, ge=1)
    stop_timeout: int = Field(default=30, ge=1)


class Address(NamedTuple):
    """Where a part listens, and the setting that says so."""

    host: str
    port: int
    setting: str


def loopback_address(value: str, setting: str) -> Address:
    """Return the host and port that a part is to listen on.

    Raises:
        UsageError: it is not one ``host:port``, or not an address of this machine's loopback.

    """
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not port or "," in value:
        raise UsageError(f"{setting}={value}: write one host:port, like 127.0.0.1:{port or 29092}")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError(
            f"{setting}={value}: `up` starts servers on this machine's loopback only; set it to 127.0.0.1:{port}, "
            "or leave `up` out and use the servers that run at that address"
        )
    return Address(host, port, setting)
