"""Kafka's brokers, and which of them accept connections."""

import socket
from contextlib import suppress
from urllib.parse import urlsplit

from streamproof.core.settings import KafkaSettings

_CONNECT_SECONDS = 1.0


def accepts(place: str, port: int, seconds: float = _CONNECT_SECONDS) -> bool:
    """Return whether somebody listens at ``host:port``; ``port`` is the one of a place that names none."""
    with suppress(OSError, ValueError):
        parts = urlsplit(f"//{place.strip()}")
        socket.create_connection((parts.hostname or "", parts.port or port), seconds).close()
        return True
    return False


def accepting(kafka: KafkaSettings) -> list[str]:
    """Return the addresses of the brokers that accept connections."""
    return [broker for broker in kafka.brokers if accepts(broker, 9092)]


def kafka_at(kafka: KafkaSettings) -> str:
    """Return where Kafka is, as an error says it; of several brokers it names those that are missing."""
    if len(kafka.brokers) == 1:
        return kafka.servers
    there = accepting(kafka)
    missing = " and ".join(broker for broker in kafka.brokers if broker not in there)
    return f"{kafka.servers}" + (f" (no broker listens at {missing})" if missing else "")
