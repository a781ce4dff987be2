"""Where in the rows topic a job reads: from where on, found out when it is submitted, and how far it has come."""

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from flink_jobs.records import JobRecord, Start
from flink_jobs.tables import consumer_group
from streamproof.core.brokers import kafka_at
from streamproof.core.contract import Contract
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import ends_of, new_consumer
from streamproof.core.settings import KafkaSettings
from streamproof.core.topics import ensure_topics

_TIMEOUT_S = 10
_NEW_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION}


def start_offsets(contract: Contract, kafka: KafkaSettings, start: Start) -> dict[int, int]:
    """Return the offset in each partition of the rows topic, which is made where it is missing.

    With fixed offsets a row that is sent while the job still starts is read, which "latest" in Flink would miss.

    Raises:
        StreamproofError: Kafka cannot be reached or refuses.

    """
    admin = AdminClient(kafka.client)
    try:
        admin.list_topics(timeout=_TIMEOUT_S)
        ensure_topics([contract.topics.rows], kafka)
        return _offsets(admin, contract.topics.rows, start)
    except KafkaException as error:
        raise StreamproofError(
            f"Kafka at {kafka_at(kafka)}: {error.args[0].str()}: is it up? (STREAMPROOF_KAFKA_SERVERS says where it is)"
        ) from error


def read_offsets(record: JobRecord, kafka: KafkaSettings) -> dict[int, tuple[int, int]]:
    """Return for each partition of the rows topic from which offset on a job has read, and up to before which one.

    Kafka keeps how far it was at its last checkpoint, also when the job or Flink is away.

    Raises:
        StreamproofError: Kafka cannot be reached or refuses.

    """
    group = consumer_group(record.label)
    # Not the admin client's question for it: librdkafka aborts the process when that times out (a frozen Kafka).
    asker = new_consumer(kafka, group)
    try:
        asked = [TopicPartition(record.contract.topics.rows, partition) for partition in record.offsets]
        places = asker.committed(asked, timeout=_TIMEOUT_S)
    except KafkaException as error:
        raise StreamproofError(f"Kafka at {kafka_at(kafka)}: {error.args[0].str()}") from error
    finally:
        asker.close()
    read = {place.partition: place.offset for place in places}
    return {partition: (start, max(start, read.get(partition, 0))) for partition, start in record.offsets.items()}


def end_offsets(record: JobRecord, kafka: KafkaSettings) -> dict[int, int]:
    """Return the offset behind the last record of each partition of the rows topic that a job reads.

    Raises:
        StreamproofError: Kafka cannot be reached or refuses.

    """
    asker = new_consumer(kafka)
    try:
        places = [TopicPartition(record.contract.topics.rows, partition) for partition in record.offsets]
        return ends_of(asker, places, _TIMEOUT_S)
    except KafkaException as error:
        raise StreamproofError(f"Kafka at {kafka_at(kafka)}: {error.args[0].str()}") from error
    finally:
        asker.close()


def _is_of_a_new_topic(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _NEW_TOPIC


@retry(retry=retry_if_exception(_is_of_a_new_topic), wait=wait_fixed(0.2), stop=stop_after_delay(15), reraise=True)
def _offsets(admin: AdminClient, topic: str, start: Start) -> dict[int, int]:
    metadata = admin.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
    if metadata.error:
        raise KafkaException(metadata.error)

    def ask(spec: OffsetSpec) -> dict[int, int]:
        asked = {TopicPartition(topic, partition): spec for partition in metadata.partitions}
        answers = admin.list_offsets(asked, request_timeout=_TIMEOUT_S)
        return {place.partition: answer.result().offset for place, answer in answers.items()}

    ends = ask(OffsetSpec.latest())
    if start == "latest":
        return ends
    if start == "earliest":
        return ask(OffsetSpec.earliest())
    found = ask(OffsetSpec.for_timestamp(start))
    # Kafka answers -1 where no row is that young.
    return {partition: offset if offset >= 0 else ends[partition] for partition, offset in found.items()}
