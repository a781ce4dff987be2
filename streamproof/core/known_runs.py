"""Which runs Kafka knows: their ids are noted there, so that no other run takes one of them.

To look for a run among a topic's records would mean to read them all. So the edge notes a run when it sends its first
row, as the committed offset of a consumer group that bears the run's name: Kafka finds that by its key, in
milliseconds, and forgets it after ``offsets.retention.minutes`` (7 days, as it forgets records by default). What came
over another MQTT broker is noted apart: it need not have come to this Kafka.
"""

from streamproof.core.brokers import accepting
from streamproof.core.contract import Contract
from streamproof.core.errors import UsageError
from streamproof.core.settings import KafkaSettings, MqttSettings

_ANSWER_SECONDS = 5.0


class KnownRuns:
    """The runs of a stream that Kafka knows; where it cannot be reached, none is known and none is noted."""

    def __init__(self, contract: Contract, mqtt: MqttSettings, kafka: KafkaSettings) -> None:
        self._topic, self._mqtt, self._kafka = contract.topics.rows, mqtt, kafka

    def refuse(self, run: str) -> None:
        """Refuse an id that a run has already.

        Raises:
            UsageError: there are rows of such a run in Kafka, or on their way there.

        """
        if self._commit(run, note=False):
            raise UsageError(
                f"Kafka at {self._kafka.servers} knows a run {run!r} already, in the topic {self._topic}: its rows "
                "would be mixed with those of this one. Choose another id, or none"
            )

    def note(self, run: str) -> None:
        """Note that rows of a run are on their way."""
        self._commit(run, note=True)

    def _commit(self, run: str, *, note: bool) -> bool:
        """Note a run, or tell whether it was noted."""
        if not accepting(self._kafka):
            return False
        from confluent_kafka import KafkaException, TopicPartition

        from streamproof.core.kafka import new_consumer

        consumer = new_consumer(self._kafka, f"streamproof-run/{self._mqtt.host}:{self._mqtt.port}/{self._topic}/{run}")
        try:
            if note:
                consumer.commit(offsets=[TopicPartition(self._topic, 0, 0)], asynchronous=False)
                return True
            (found,) = consumer.committed([TopicPartition(self._topic, 0)], timeout=_ANSWER_SECONDS)
        except KafkaException:  # no such topic yet, or Kafka is about to start or to end
            return False
        else:
            return found.offset >= 0
        finally:
            consumer.close()
