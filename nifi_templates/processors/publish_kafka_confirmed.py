"""NiFi sink: FlowFiles of JSON lines into a Kafka topic; done when Kafka has confirmed every record.

What leaves it by ``success`` says which rows Kafka now has: one line of JSON for each run and category.

Delivery guarantee: at least once, in order within each partition. What is tried again is sent again from the
FlowFile's first line, so a partition may hold a line twice, but never a later line without the earlier ones.
"""

import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import py4j.java_gateway
import py4j.protocol
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from dead_letters import dead_letter, topic_of
from kafka_rows import is_mark, key_reader, row_numbers
from nifiapi.flowfiletransform import FlowFileTransform, FlowFileTransformResult
from nifiapi.properties import PropertyDescriptor, StandardValidators
from python_process import acknowledge_at_once, carry_bytes_fast, end_with_parent
from row_ranges import RowRanges

ROWS, REJECTED_ROWS = "rows", "rejected rows"
DETAILS_BEGIN = "Records in this FlowFile were invalid for the following reasons:"
METADATA_SECONDS = 30.0

Pairs = Iterable[tuple[bytes, bytes | None]]


class PublishKafkaConfirmed(FlowFileTransform):
    """One idempotent producer, made when the first FlowFile comes and again after each failure."""

    class Java:
        """What NiFi knows it as."""

        implements = ["org.apache.nifi.python.processor.FlowFileTransform"]

    class ProcessorDetails:
        """Read by NiFi from the source text: literals only."""

        version = "0.1.0"
        description = (
            "Publishes each line as a Kafka record and succeeds when Kafka has confirmed all of them; "
            "the content is then which rows those are."
        )
        tags = ["kafka", "publish", "at-least-once", "json"]
        dependencies = ["confluent-kafka==2.16.1", "pybase64==1.5.1"]

    SERVERS = PropertyDescriptor(
        name="Bootstrap Servers",
        description="Addresses of Kafka brokers, host:port,…",
        required=True,
        validators=[StandardValidators.NON_EMPTY_VALIDATOR],
    )
    TOPIC = PropertyDescriptor(
        name="Topic",
        description="The topic to publish to; it must exist.",
        required=True,
        validators=[StandardValidators.NON_EMPTY_VALIDATOR],
    )
    CONTENT = PropertyDescriptor(
        name="Content",
        description="rows: each line gets its key, and a line with a seq of 0 or less goes to every partition. "
        "dead letters: each line is published as it is. "
        "rejected rows: each line is published as a dead letter, with the FlowFile's reason.",
        required=True,
        default_value="rows",
        allowable_values=["rows", "dead letters", "rejected rows"],
    )
    KEY_FIELD = PropertyDescriptor(
        name="Key Field", description="The text field that becomes a row's key.", required=False
    )
    PATIENCE = PropertyDescriptor(
        name="Confirmation Seconds",
        description="How long to wait for Kafka's confirmation before the FlowFile is tried again.",
        required=True,
        default_value="10",
        validators=[StandardValidators.POSITIVE_INTEGER_VALIDATOR],
    )
    CA_FILE = PropertyDescriptor(
        name="CA File",
        description="Authorities that must have signed the server's certificate, PEM. Without it nothing is encrypted.",
        required=False,
    )
    CERTIFICATE_FILE = PropertyDescriptor(
        name="Certificate File", description="The certificate that is shown to the server, PEM.", required=False
    )
    KEY_FILE = PropertyDescriptor(name="Key File", description="Its private key, PEM.", required=False)
    descriptors = (SERVERS, TOPIC, CONTENT, KEY_FIELD, PATIENCE, CA_FILE, CERTIFICATE_FILE, KEY_FILE)

    def __init__(self, **_: object) -> None:
        end_with_parent()
        carry_bytes_fast(py4j.protocol)
        acknowledge_at_once(py4j.java_gateway.GatewayConnection)
        self.producer: Producer | None = None

    def getPropertyDescriptors(self) -> list[object]:
        """Return the properties; NiFi calls this."""
        return list(self.descriptors)

    def onScheduled(self, context: Any) -> None:
        """Begin anew; NiFi calls this at each start, but not for a process that it had to start again."""
        self.producer = None

    def onStopped(self, context: Any) -> None:
        """Leave Kafka; nothing is under way, as every FlowFile waits for its confirmations."""
        self.producer = None

    def transform(self, context: Any, flowfile: Any) -> Any:
        """Publish a FlowFile; ``success`` only when each of its records is confirmed, else ``failure``."""
        try:
            producer = self.producer or self._connect(context)
            published, confirmations = self._publish(producer, flowfile)
        except (KafkaException, BufferError) as error:
            reason = str(error.args[0] if error.args else error)
            if self.producer is not None:
                # What still waits must not follow later, behind what is then sent in its place.
                self.producer.purge()
                self.producer = None
            where = context.getProperty(self.SERVERS).getValue()
            self.logger.error(f"Kafka at {where}: {reason}; will be tried again")  # noqa: TRY400
            return FlowFileTransformResult("failure", {"kafka.error": reason[:1000]})
        return FlowFileTransformResult("success", {"kafka.records": str(published)}, confirmations)

    def _connect(self, context: Any) -> Producer:
        def value(descriptor: Any) -> str:
            return context.getProperty(descriptor).getValue() or ""

        self.topic, self.content = value(self.TOPIC), value(self.CONTENT)
        self.keys_of = key_reader(value(self.KEY_FIELD))
        self.patience = int(value(self.PATIENCE))
        self.partitions: tuple[float, int] = (0.0, 0)
        tls = {
            "security.protocol": "ssl",
            "ssl.ca.location": value(self.CA_FILE),
            "ssl.certificate.location": value(self.CERTIFICATE_FILE),
            "ssl.key.location": value(self.KEY_FILE),
        }
        self.producer = Producer(
            {
                **({name: text for name, text in tls.items() if text} if value(self.CA_FILE) else {}),
                "bootstrap.servers": value(self.SERVERS),
                "enable.idempotence": True,
                "acks": "all",
                # Never give up on a single record: the ones behind it would then overtake it.
                "message.timeout.ms": 0,
                "partitioner": "murmur2_random",  # as Kafka's own Java producer
                "compression.type": "lz4",
                "linger.ms": 5,
                "delivery.report.only.error": True,
                "queue.buffering.max.messages": 0,  # no bound but that of their size: a mark is as many as partitions
                "queue.buffering.max.kbytes": 2_097_151,
            },
        )
        self._partition_count(self.producer)
        return self.producer

    def _publish(self, producer: Producer, flowfile: Any) -> tuple[int, bytes]:
        """Publish all and wait; return how many records were confirmed, and what the edge is to be told.

        Raises:
            KafkaException: a record was refused, or not confirmed in time.

        """
        errors: list[KafkaError] = []

        def note(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                errors.append(error)

        deadline = time.monotonic() + self.patience
        published = RowRanges()
        count = 0
        for pairs, partition in self._records(producer, flowfile, published):
            records = [{"value": value, "key": key} for value, key in pairs]
            if producer.produce_batch(self.topic, records, partition, on_delivery=note) < len(records):
                raise KafkaException(next(record["_error"] for record in records if "_error" in record))
            count += len(records)
        waiting = producer.flush(max(1.0, deadline - time.monotonic()))
        if errors:
            raise KafkaException(errors[0])
        if waiting:
            raise KafkaException(f"{waiting} of {count} records were not confirmed in {self.patience} s")
        return count, published.confirmations()

    def _records(self, producer: Producer, flowfile: Any, published: RowRanges) -> Iterator[tuple[Pairs, int]]:
        """Yield the records, value and key of each, by the partition that they go to: -1 is that of the key."""
        content = bytes(flowfile.getContentsAsBytes())
        lines = [line for line in content.split(b"\n") if line]
        if self.content == ROWS:
            pairs = zip(lines, self.keys_of(content, lines), strict=True)
            numbers = row_numbers(content, lines)
            if numbers:
                published.add_rows(lines, numbers)
                yield pairs, -1
                return
            for line in lines:
                published.add_row(line)
            for everywhere, group in groupby(pairs, lambda pair: is_mark(pair[0])):
                same = list(group)
                for partition in range(self._partition_count(producer)) if everywhere else (-1,):
                    yield same, partition
            return
        if self.content == REJECTED_ROWS:
            attributes = flowfile.getAttributes()
            topics = (attributes.get("mqtt.topics") or "").split("\n")
            received_at = int(attributes.get("mqtt.received_at") or 0)
            details = attributes.get("validation.details") or "ValidateRecord cannot read it"
            reason = details.removeprefix(DETAILS_BEGIN).lstrip("; ")
            lines = [dead_letter(line, reason, "schema", topic_of(line, topics), received_at) for line in lines]
        for line in lines:
            published.add_dead_letter(line)
        yield [(line, None) for line in lines], -1

    def _partition_count(self, producer: Producer) -> int:
        """Return the topic's number of partitions, asked for anew from time to time: it can grow."""
        asked_at, count = self.partitions
        if not count or time.monotonic() - asked_at > METADATA_SECONDS:
            topic = producer.list_topics(self.topic, timeout=self.patience).topics[self.topic]
            if topic.error is not None:
                raise KafkaException(topic.error)
            count = len(topic.partitions)
            self.partitions = (time.monotonic(), count)
        return count
