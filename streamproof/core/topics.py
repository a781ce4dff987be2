"""Kafka topics: made where they are missing, left alone where they exist."""

from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from streamproof.core.brokers import kafka_at
from streamproof.core.errors import StreamproofError
from streamproof.core.settings import KafkaSettings
from streamproof.core.wait import wait_until

_TIMEOUT_S = 20

_CONFIG = {"message.timestamp.type": "LogAppendTime"}
"""Flink stamps its records with event time, which may lie years away. What goes by a record's time, retention and the
search for where a run begins, needs the time of its arrival, whatever the broker's own default."""


def partitions_of(topic: str, kafka: KafkaSettings) -> list[int]:
    """Return the numbers of a topic's partitions.

    Raises:
        StreamproofError: Kafka cannot be reached, or has no such topic.

    """
    try:
        about = AdminClient(kafka.client).list_topics(topic, _TIMEOUT_S).topics[topic]
    except KafkaException as error:
        raise StreamproofError(f"Kafka at {kafka_at(kafka)}: {error.args[0].str()}") from error
    if about.error:
        raise StreamproofError(f"Kafka at {kafka_at(kafka)}: topic {topic}: {about.error.str()}")
    return list(about.partitions)


def ensure_topics(names: Iterable[str], kafka: KafkaSettings, config: Mapping[str, str] | None = None) -> list[str]:
    """Create topics where they are missing; return the names of those made, all ready for use.

    Args:
        names: of the topics.
        kafka: where they are, and how many partitions each gets.
        config: Kafka's settings of new ones.

    Raises:
        StreamproofError: Kafka cannot be reached or refuses.

    """
    # A record is acknowledged when all replicas but one have it: one broker's loss loses nothing and stops nothing.
    own = {**_CONFIG, "min.insync.replicas": str(max(1, kafka.replication - 1)), **(config or {})}
    wanted = [NewTopic(name, kafka.partitions, kafka.replication, config=own) for name in names]
    admin = AdminClient(kafka.client)  # kept: it takes its pending answers with it
    made = []
    for name, result in admin.create_topics(wanted, request_timeout=_TIMEOUT_S).items():
        try:
            result.result()
            made.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise StreamproofError(
                    f"Kafka at {kafka_at(kafka)}: topic {name} cannot be made: {error.args[0].str()}"
                ) from error
    for name in made:
        _wait_until_known(admin, name, kafka)
    return made


def _wait_until_known(admin: AdminClient, topic: str, kafka: KafkaSettings) -> None:
    """Wait until the brokers tell a new topic's partitions to whoever asks; they do so a moment after it is made."""

    def is_known() -> bool:
        about = admin.list_topics(topic, _TIMEOUT_S).topics[topic]
        return len(about.partitions) == kafka.partitions and all(p.leader >= 0 for p in about.partitions.values())

    if not wait_until(is_known, _TIMEOUT_S, 0.1):
        raise StreamproofError(
            f"Kafka at {kafka_at(kafka)}: topic {topic} was made, but not all of its partitions have a leader"
        )
