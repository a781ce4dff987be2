"""A sink: reads committed records of topics and stores them in a target, each exactly once.

How far it has read stands in the target alone, written in the transaction that stores the records. A sink that begins
anew asks the target and reads on from there. One thread reads and encodes, another stores. Of what was read and is not
stored yet there are at most three batches; while the target is away, nothing more is read.
"""

import queue
import threading
import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from streamproof.core.brokers import kafka_at
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import SLACK, new_consumer
from streamproof.core.settings import KafkaSettings
from streamproof.sinks.target import Block, Place, Places, Target, TargetAwayError

Result = TypeVar("Result")

_LOOK_S, _POLL_S, _TIMEOUT_S = 1.0, 0.1, 15
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_MOST = 20_000
_PASSING = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT}


@dataclass(frozen=True)
class Batch(Generic[Block]):
    """Records that are stored together: as the target encodes them, how many, and where they begin and end."""

    block: Block
    count: int
    begins: Places
    ends: Places


@dataclass(frozen=True)
class Limits:
    """When a batch is stored: so many records were read, or so many seconds have passed since its first."""

    rows: int
    seconds: float


class Sink(Generic[Block]):
    """Reads topics and stores their records.

    Args:
        target: where to.
        topics: tells which topics are read; those that Kafka does not have yet are read once it has them.
        kafka: where they are.
        limits: when a batch is stored.
        since: from when on topics are read of which the target holds nothing; None for all that Kafka has.
        only: only records with these bytes in their value are stored; all are counted as read.

    Delivery: exactly once.

    """

    def __init__(
        self,
        target: Target[Block],
        topics: Callable[[], Collection[str]],
        kafka: KafkaSettings,
        *,
        limits: Limits,
        since: datetime | None = None,
        only: bytes = b"",
    ) -> None:
        self._target, self._wanted, self._kafka, self._limits = target, topics, kafka, limits
        self._since, self._only = since, only
        self._batches: queue.Queue[Batch[Block]] = queue.Queue(1)
        self._held: dict[Place, int] = {}
        self._positions: dict[Place, int] = {}
        self._failure: BaseException | None = None
        self._is_unsure = False

    def run(self, stop: threading.Event, is_over: Callable[[], bool] = lambda: False) -> int:
        """Work until ``stop`` is set, or all is stored that there is after ``is_over`` has said that no more will come.

        ``stop`` is set when this returns.

        Returns:
            How many records were stored.

        Raises:
            FencedError: another sink writes to the target.
            StreamproofError: a record cannot be stored, or records are gone that were never read.

        """
        self._held |= self._trying(stop, self._target.places) or {}
        reader = threading.Thread(target=self._read, args=(stop, is_over), daemon=True)
        reader.start()
        stored = 0
        try:
            while not stop.is_set():
                is_reading = reader.is_alive()  # asked before it is looked whether it has left anything
                try:
                    batch = self._batches.get(timeout=_POLL_S)
                except queue.Empty:
                    if is_reading:
                        continue
                    break
                stored += self._trying(stop, partial(self._store, batch)) or 0
        finally:
            stop.set()
            reader.join()
        if self._failure:
            raise self._failure
        return stored

    def _trying(self, stop: threading.Event, what: Callable[[], Result]) -> Result | None:
        """Do something with the target; while that is away, try again and say so. None where it is stopped."""
        said: set[str] = set()

        def say(error: BaseException | None) -> None:
            if str(error) not in said:
                said.add(str(error))
                _say(f"{error}: trying again")

        trying = Retrying(
            retry=retry_if_exception_type(TargetAwayError),
            wait=wait_exponential_jitter(_FIRST_PAUSE_S, _LONGEST_PAUSE_S),
            sleep=sleep_using_event(stop),
            stop=stop_when_event_set(stop),
            before_sleep=lambda state: say(state.outcome.exception() if state.outcome else None),
        )
        try:
            found = trying(what)
        except RetryError:  # the next sink reads again what is not stored
            return None
        if said:
            _say(f"{self._target.name} answers again")
        return found

    def _store(self, batch: Batch[Block]) -> int:
        if not (self._is_unsure and self._is_stored(batch)):
            self._is_unsure = True  # until the target has answered: it may store the batch, and the answer be lost
            self._target.store(batch.block, batch.begins, batch.ends)
        self._is_unsure = False
        return batch.count

    def _is_stored(self, batch: Batch[Block]) -> bool:
        held = self._target.places()
        return all(held.get(place) == end for place, end in batch.ends.items())

    def _read(self, stop: threading.Event, is_over: Callable[[], bool]) -> None:
        reading = new_consumer(
            self._kafka,
            enable_partition_eof=True,
            auto_offset_reset="error",
            queued_max_messages_kbytes=16_384,
            fetch_queue_backoff_ms=10,
        )
        # Ends are asked for by another one: on the connection of one that reads, the answer waits for the next records.
        asking = new_consumer(self._kafka)
        try:
            with closing(reading), closing(asking):
                looked, is_last = 0.0, False
                while not stop.is_set():
                    if time.monotonic() - looked >= _LOOK_S:
                        over = is_over()  # asked before it is looked whether all was read
                        is_last = self._open(reading, asking) and over
                        looked = time.monotonic()
                    if batch := self._next_batch(reading, stop):
                        self._hand_over(batch, stop)
                    elif is_last and self._is_at_end(asking):
                        return
        except BaseException as error:  # raised again by the thread that waits
            self._failure = error

    def _open(self, reading: Consumer, asking: Consumer) -> bool:
        """Begin to read partitions that are new; False where Kafka does not tell of them."""
        try:
            topics = asking.list_topics(timeout=_TIMEOUT_S).topics
            there = {(name, part) for name in {*self._wanted()} & topics.keys() for part in topics[name].partitions}
            if new := sorted(there - self._positions.keys()):
                starts = [TopicPartition(*place, self._start_of(place, asking)) for place in new]
                reading.incremental_assign(starts)
                self._positions |= {(start.topic, start.partition): start.offset for start in starts}
        except KafkaException as error:
            _say(f"Kafka at {kafka_at(self._kafka)}: {error.args[0].str()}: trying again")
            return False
        return True

    def _start_of(self, place: Place, asking: Consumer) -> int:
        low, high = asking.get_watermark_offsets(TopicPartition(*place), timeout=_TIMEOUT_S)
        held = self._held.get(place)
        where = f"{self._target.name}: topic {place[0]}, partition {place[1]}"
        if held is None:
            if self._since is None:
                return low
            moment = int((self._since - SLACK).timestamp() * 1000)
            (start,) = asking.offsets_for_times([TopicPartition(*place, moment)], timeout=_TIMEOUT_S)
            return start.offset if start.offset >= 0 else high
        if held < low:
            raise StreamproofError(
                f"{where}: the records from {held} to {low - 1} are gone from Kafka, and were not stored: its "
                "retention is shorter than the sink was away"
            )
        if held > high:
            raise StreamproofError(
                f"{where}: it holds records up to {held - 1}, and Kafka has them up to {high - 1} only: the topic was "
                "made anew, or it is another Kafka. Give this one a database, or a lake, of its own"
            )
        return held

    def _next_batch(self, reading: Consumer, stop: threading.Event) -> Batch[Block] | None:
        """Read until a batch is full or old enough; None where nothing came."""
        records: list[Message] = []
        moved: set[Place] = set()
        deadline = time.monotonic() + self._limits.seconds
        while not stop.is_set() and len(records) < self._limits.rows and (time.monotonic() < deadline or not moved):
            found = reading.consume(min(self._limits.rows - len(records), _MOST), _POLL_S)
            if not found and not moved:
                return None
            # The last offsets of a topic can be marks of transactions, which are never delivered: the end event tells.
            others = [message for message in found if message.error()]
            came = [message for message in found if not message.error()] if others else found
            last = {_place(message): message for message in came}
            positions = [(place, cast("int", message.offset()) + 1) for place, message in last.items()]
            for place, position in (*positions, *filter(None, map(self._end_told_by, others))):
                if position > self._positions[place]:
                    self._positions[place] = position
                    moved.add(place)
            records += [m for m in came if self._only in (m.value() or b"")] if self._only else came
        if not moved:
            return None
        begins = {place: self._held[place] for place in moved if place in self._held}
        ends = {place: self._positions[place] for place in moved}
        self._held |= ends
        return Batch(self._target.encode(records), len(records), begins, ends)

    def _end_told_by(self, message: Message) -> tuple[Place, int] | None:
        """Return where a partition ends; None where the message tells of something that passes."""
        error = cast("KafkaError", message.error())
        if error.code() == KafkaError._PARTITION_EOF:
            return _place(message), cast("int", message.offset())
        text = f"Kafka at {kafka_at(self._kafka)}: topic {message.topic()} cannot be read: {error.str()}"
        if not error.retriable() and error.code() not in _PASSING:
            raise StreamproofError(text)
        _say(f"{text}: trying again")
        return None

    def _hand_over(self, batch: Batch[Block], stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._batches.put(batch, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def _is_at_end(self, asking: Consumer) -> bool:
        try:
            return all(
                position >= asking.get_watermark_offsets(TopicPartition(*place), timeout=_TIMEOUT_S)[1]
                for place, position in self._positions.items()
            )
        except KafkaException:
            return False


def _place(message: Message) -> Place:
    return cast("Place", (message.topic(), message.partition()))


def _say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
