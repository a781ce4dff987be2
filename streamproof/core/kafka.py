"""A reader of Kafka's topics: only what is committed, without a consumer group, so reading leaves no trace there.

And a producer's records, which wait while its queue is full.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streamproof.core.brokers import kafka_at
from streamproof.core.errors import StreamproofError
from streamproof.core.settings import KafkaSettings

SLACK = timedelta(minutes=10)
"""How far the clocks of this machine and of Kafka may lie apart."""

_BATCH = 20_000
_STALLED_SECONDS = 60
_QUEUE_SECONDS = 0.2


def new_consumer(kafka: KafkaSettings, group: str = "streamproof", **more: str | int) -> Consumer:
    """Return a consumer that reads what is committed, and itself commits nothing; ``more``: a dot is written ``_``."""
    return Consumer(
        {
            **kafka.client,
            "group.id": group,  # required, and mostly unused: nothing is subscribed or committed
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
        | {name.replace("_", "."): value for name, value in more.items()}
    )


def produce(producer: Producer, topic: str, value: bytes | str, key: bytes | str | None = None) -> None:
    """Put a record into a producer's queue; while that is full, wait."""
    while True:
        try:
            producer.produce(topic, value, key=key)
        except BufferError:
            producer.poll(_QUEUE_SECONDS)
        else:
            return


def ends_of(consumer: Consumer, places: list[TopicPartition], timeout: float = 15) -> dict[int, int]:
    """Return, by partition, the offset behind the last record that the consumer may read."""
    return {place.partition: consumer.get_watermark_offsets(place, timeout=timeout)[1] for place in places}


def topics_of(kafka: KafkaSettings) -> set[str]:
    """Return the names of all topics.

    Raises:
        StreamproofError: Kafka cannot be reached.

    """
    try:
        return set(AdminClient(kafka.client).list_topics(timeout=15).topics)
    except KafkaException as error:
        raise StreamproofError(f"Kafka at {kafka_at(kafka)}: {error.args[0].str()}") from error


class TopicReader:
    """Reads a topic from a moment on: first up to its present end, then whatever comes.

    Args:
        topic: its name; every partition is read.
        since: where to begin; None is the present end.
        kafka: where it is.
        at: the offset to begin at, by partition, where that is known.

    Only committed records are read. Raises ``StreamproofError`` where Kafka or the topic cannot be read.

    """

    def __init__(
        self, topic: str, since: datetime | None, kafka: KafkaSettings, at: Mapping[int, int] | None = None
    ) -> None:
        self.topic, self._kafka = topic, kafka
        self._consumer = new_consumer(
            kafka,
            enable_partition_eof=True,
            auto_offset_reset="earliest",
            queued_max_messages_kbytes=16_384,
            fetch_queue_backoff_ms=10,  # a second by default, for each time that the queue was full
        )
        # Ends are asked for by another one: on the connection of one that reads, the answer waits for the next records.
        self._asking = new_consumer(kafka)
        try:
            self._start(since, at or {})
        except KafkaException as error:
            self.close()
            raise self._failure(error.args[0]) from error

    @property
    def partitions(self) -> int:
        """How many partitions the topic has."""
        return len(self._positions)

    @property
    def positions(self) -> dict[int, int]:
        """The offset up to before which each partition was read."""
        return dict(self._positions)

    def _start(self, since: datetime | None, at: Mapping[int, int]) -> None:
        about = self._consumer.list_topics(self.topic, timeout=15).topics[self.topic]
        if about.error:
            raise KafkaException(about.error)
        moment = int((since - SLACK).timestamp() * 1000) if since else 0
        starts = [TopicPartition(self.topic, partition, moment) for partition in about.partitions]
        # The ends first: asked for afterwards, they would lie behind what was committed in between, unread for ever.
        ends = ends_of(self._consumer, starts)
        if since is None:
            starts = [TopicPartition(self.topic, partition, end) for partition, end in ends.items()]
        else:
            starts = self._consumer.offsets_for_times(starts, timeout=15)
        for start in starts:
            start.offset = at.get(start.partition, start.offset if start.offset >= 0 else ends[start.partition])
        self._unread = {s.partition: ends[s.partition] for s in starts if s.offset < ends[s.partition]}
        self._positions = {start.partition: start.offset for start in starts}
        self._consumer.assign(starts)

    def read(self) -> Iterator[list[Message]]:
        """Yield the records up to the end that the topic had when the reader was made."""
        heard = time.monotonic()
        while self._unread:
            if messages := self._consume(0.1):
                heard = time.monotonic()
                yield messages
            elif time.monotonic() - heard > _STALLED_SECONDS:
                raise StreamproofError(
                    f"Kafka at {kafka_at(self._kafka)}: nothing more of topic {self.topic} within "
                    f"{_STALLED_SECONDS} s, though its end is not reached: see the broker's log"
                )

    def read_on(self) -> list[Message]:
        """Return the records that came since, up to the end that the topic has now."""
        try:
            ends = self._ends(timeout=15)
        except KafkaException as error:
            raise self._failure(error.args[0]) from error
        self._unread = {partition: end for partition, end in ends.items() if self._positions[partition] < end}
        return [message for messages in self.read() for message in messages]

    def poll(self, seconds: float) -> list[Message]:
        """Return records that came since; wait for up to ``seconds`` where there is none yet."""
        return self._consume(seconds)

    def is_at_end(self) -> bool:
        """Return whether all that the topic has now was read; False also where Kafka does not tell."""
        try:
            ends = self._ends(timeout=2)
        except KafkaException:
            return False
        return all(self._positions[partition] >= end for partition, end in ends.items())

    def behind_open_transactions(self) -> dict[int, int]:
        """Return, by partition, how many records cannot be read as a transaction before them is not committed."""
        everything = new_consumer(self._kafka, isolation_level="read_uncommitted")
        places = self._consumer.assignment()
        try:
            stable, ends = self._ends(timeout=15), ends_of(everything, places)
        except KafkaException as error:
            raise self._failure(error.args[0]) from error
        finally:
            everything.close()
        return {partition: end - stable[partition] for partition, end in ends.items() if end > stable[partition]}

    def _ends(self, timeout: float) -> dict[int, int]:
        # First what leads the partitions: that one had no leader for a moment would be remembered for minutes.
        self._asking.list_topics(self.topic, timeout=timeout)
        return ends_of(self._asking, self._consumer.assignment(), timeout)

    def _consume(self, seconds: float) -> list[Message]:
        found = self._consumer.consume(_BATCH, seconds)
        for message in found:
            if (error := message.error()) and error.code() != KafkaError._PARTITION_EOF:
                raise self._failure(error)
        # The last offsets of a topic can be marks of transactions, which are never delivered: the end event tells.
        for partition, last in {cast("int", message.partition()): message for message in found}.items():
            self._positions[partition] = cast("int", last.offset()) + (last.error() is None)
            if last.error() or cast("int", last.offset()) + 1 >= self._unread.get(partition, 0):
                self._unread.pop(partition, None)
        return [message for message in found if not message.error()]

    def _failure(self, error: KafkaError) -> StreamproofError:
        return StreamproofError(
            f"Kafka at {kafka_at(self._kafka)}: topic {self.topic} cannot be read: {error.str()}. "
            "Are the servers up, and has the flow been deployed?"
        )

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()
        self._asking.close()


def read_records(topic: str, places: Collection[tuple[int, int]], kafka: KafkaSettings) -> Iterator[Message]:
    """Yield the records of a topic that stand at these places: (partition, offset).

    Raises:
        StreamproofError: Kafka cannot be read.

    """
    consumer = new_consumer(kafka, auto_offset_reset="earliest")
    wanted = set(places)
    try:
        for partition, first, last in _stretches(sorted(wanted)):
            consumer.assign([TopicPartition(topic, partition, first)])
            heard, at = time.monotonic(), first
            while at <= last:
                found = consumer.consume(_BATCH, 0.1)
                for message in found:
                    if error := message.error():
                        raise StreamproofError(f"Kafka at {kafka_at(kafka)}: topic {topic}: {error.str()}")
                    at = cast("int", message.offset()) + 1
                    if (partition, at - 1) in wanted:
                        yield message
                if found:
                    heard = time.monotonic()
                elif time.monotonic() - heard > _STALLED_SECONDS:
                    raise StreamproofError(f"Kafka at {kafka_at(kafka)}: topic {topic} gives no records from {at} on")
    finally:
        consumer.close()


def _stretches(places: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Join places that lie near each other into (partition, first, last)."""
    stretch = None
    for partition, offset in places:
        if stretch and stretch[0] == partition and offset - stretch[2] <= _BATCH:
            stretch = (partition, stretch[1], offset)
            continue
        if stretch:
            yield stretch
        stretch = (partition, offset, offset)
    if stretch:
        yield stretch
