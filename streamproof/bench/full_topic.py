"""A run that lies in Kafka already, as the chain leaves it: generated rows, heartbeats, end marks, and its manifest.

What reads it, the window job or another, then waits for nobody.
"""

import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from edge_replayer.csv_rows import CsvRows
from edge_replayer.in_flight import InFlight
from edge_replayer.message import Message
from edge_replayer.options import ReplayOptions
from edge_replayer.payload import Payloads
from edge_replayer.resume import source_of
from edge_replayer.schedule import Schedule
from edge_replayer.sender import Sender
from nifi_templates.processors.kafka_rows import is_mark, key_reader
from streamproof.bench.ground import CATEGORIES, CONTRACT, START_MS, refuse, sample_files
from streamproof.core.contract import Contract, Topics
from streamproof.core.errors import StreamproofError
from streamproof.core.run import RowCounts, Run
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.topics import ensure_topics, partitions_of

INTERVAL = Fraction(1000)
"""Milliseconds between two rows of a category: one a second, the default pace."""

BATCH_ROWS = 500
"""Rows of one message: between a category's first and last one, another category's rows do not come."""

_BATCH_MS = 100
_IN_FLIGHT = 50_000
_TIMEOUT_S = 60


def fill_topic(manifest: Run) -> Run:
    """Write a run's rows into a topic of its own, with the messages that the edge and the flow would make.

    Nothing is lost or doubled. The topics are named after the run; ``remove_topics`` removes them.

    Args:
        manifest: what ``new_run`` has returned.

    Returns:
        The same manifest as it was saved: finished, every row confirmed.

    Raises:
        StreamproofError: Kafka cannot be reached, or does not take a row.

    """
    kafka = KafkaSettings()
    contract, files = manifest.contract, {category: source.file for category, source in manifest.sources.items()}
    ensure_topics([contract.topics.rows, contract.topics.dead_letters], kafka)
    options = ReplayOptions(contract=contract, files=files, interval=manifest.interval, clock="virtual", start=START_MS)
    readers = {category: CsvRows(contract, file) for category, file in files.items()}
    schedule = Schedule(
        options, START_MS, readers, dict.fromkeys(files, refuse), threading.Event(), HomeSettings().home
    )
    due, _ = schedule.rows(dict.fromkeys(files, 0))
    in_flight = InFlight(list(files), _IN_FLIGHT)

    def note_end(event_time: int) -> None:
        manifest.end = event_time

    sender = Sender(
        payloads=Payloads(manifest.run, contract, list(files)),
        publisher=_ToKafka(contract, kafka, in_flight),
        in_flight=in_flight,
        batch_rows=BATCH_ROWS,
        batch_ms=_BATCH_MS,
        moment=schedule.moments(0),
        stop=threading.Event(),
        tick=lambda: None,
        before_end=note_end,
    )
    sender.send(due)
    sender.finish()
    for category, sent in in_flight.sent.items():
        manifest.rows[category] = RowCounts(sent=sent, confirmed=in_flight.confirmed[category], confirmed_to=sent)
    manifest.state = "finished"
    manifest.save(HomeSettings())
    return manifest


def remove_topics(run: Run) -> None:
    """Remove the topics of a run that ``fill_topic`` made, and those that others named after them."""
    admin, name = AdminClient(KafkaSettings().client), run.contract.topics.rows
    topics = [topic for topic in admin.list_topics(timeout=_TIMEOUT_S).topics if name in topic]
    for done in admin.delete_topics(topics).values() if topics else ():
        done.result(_TIMEOUT_S)


def new_run(
    run: str,
    rows: int,
    *,
    keys: int | None = None,
    interval: Fraction = INTERVAL,
    categories: Sequence[str] = CATEGORIES,
) -> Run:
    """Return the manifest of such a run with all its rows sent, none confirmed; nothing is sent or saved.

    Args:
        run: the id of the new run.
        rows: how many, in all categories together.
        keys: of each category.
        interval: milliseconds between two rows of a category.
        categories: their names.

    """
    now = datetime.now(UTC)
    name = f"{CONTRACT.name}_{re.sub('[^a-z0-9]', '_', run.lower())}"  # a stream, and so topics, of its own
    topics = Topics(rows=name, dead_letters=f"{name}.dead-letter")
    files = sample_files(rows, keys, categories)
    return Run(
        run=run,
        contract=CONTRACT.model_copy(update={"name": name, "topics": topics}),
        clock="virtual",
        pace="interval",
        interval=interval,
        start=START_MS,
        began=int(now.timestamp() * 1000),
        batch_rows=BATCH_ROWS,
        batch_ms=_BATCH_MS,
        sources={category: source_of(file) for category, file in files.items()},
        rows={category: RowCounts(sent=rows // len(files)) for category in files},
        created=now,
    )


class _ToKafka:
    """What the flow does with the edge's messages: each line a record, a mark one in each partition, confirmed."""

    def __init__(self, contract: Contract, kafka: KafkaSettings, in_flight: InFlight) -> None:
        self._topic, self._in_flight, self._keys_of = (
            contract.topics.rows,
            in_flight,
            key_reader(contract.partition_by or ""),
        )
        self._producer = Producer(
            {
                **kafka.client,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 0,
            }
        )
        self._partitions = partitions_of(self._topic, kafka)

    def send(self, message: Message) -> None:
        """Write a message's rows, or a mark, and confirm it as soon as Kafka has all of it."""
        self._write(message.payload)
        if self._producer.flush(_TIMEOUT_S):
            raise StreamproofError(f"Kafka did not take all rows within {_TIMEOUT_S} s")
        self._in_flight.confirm(message.category, message.first, message.last)

    def send_heartbeat(self, category: str, payload: bytes) -> None:  # noqa: ARG002
        """Write a heartbeat."""
        self._write(payload)

    def say(self, payload: bytes) -> None:
        """There are no other edges."""

    def check(self) -> None:
        """Errors show at once."""

    def close(self) -> None:
        """Nothing is left to do."""

    def _write(self, payload: bytes) -> None:
        lines = payload.split(b"\n")
        for line, key in zip(lines, self._keys_of(payload, lines), strict=True):
            if is_mark(line):
                for partition in self._partitions:
                    self._producer.produce(self._topic, line, None, partition, on_delivery=_must_arrive)
            else:
                self._producer.produce(self._topic, line, key, on_delivery=_must_arrive)


def _must_arrive(error: object, _: object) -> None:
    if error is not None:
        raise KafkaException(error)
