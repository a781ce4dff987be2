"""Delivery: alerts are read from their topics, noted in the outbox for each receiver, and told until they are taken.

At least once: a receiver may hear of an event twice, with the same id, and never misses one. Each receiver has a thread
of its own, so one that is away holds up no other; its events wait on the disk, in their order.
"""

import threading
from collections.abc import Sequence
from contextlib import closing

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from tenacity import RetryError, Retrying, retry_if_result, stop_when_event_set, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from streamproof.alerts.outbox import Outbox, Waiting
from streamproof.alerts.receivers import Receiver
from streamproof.core.alert_rule import ALERTS
from streamproof.core.brokers import kafka_at
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import ends_of, new_consumer, topics_of
from streamproof.core.settings import KafkaSettings
from validation.alert_events import parse_event

TOLD = {"firing", "repeated", "resolved"}
"""What receivers are told; that a breach has begun is not yet an alert."""

_LOOK_S, _POLL_S, _BATCH = 2.0, 0.2, 500
_TIMEOUT_S = 15
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0


class Delivery:
    """Reads alerts and tells receivers of them, until it is stopped.

    Args:
        receivers: whom.
        outbox: what is to be told, and what was.
        kafka: where the alerts are.
        run: of this run alone; None for all. A receiver that is new is told of everything that Kafka has of a run, and
            of all runs only what comes from now on.

    """

    def __init__(
        self, receivers: Sequence[Receiver], outbox: Outbox, kafka: KafkaSettings, run: str | None = None
    ) -> None:
        self._receivers, self._outbox, self._kafka, self._run = receivers, outbox, kafka, run
        self._scope = run or ""
        self._places = {each.name: outbox.places(each.name, self._scope) for each in receivers}
        self._is_first_look = True

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; what is being sent then is still noted. Where Kafka goes away, it is waited for.

        Raises:
            StreamproofError: Kafka cannot be read at the beginning.

        """
        workers = [threading.Thread(target=self._tell, args=(each, stop), name=each.name) for each in self._receivers]
        for worker in workers:
            worker.start()
        try:
            topics_of(self._kafka)
            while not stop.is_set():
                try:
                    with closing(new_consumer(self._kafka, auto_offset_reset="earliest")) as consumer:
                        self._read(consumer, stop)
                except (KafkaException, StreamproofError) as error:
                    said = error.args[0].str() if isinstance(error, KafkaException) else error
                    _say(f"alerts cannot be read from Kafka at {kafka_at(self._kafka)}: {said}: trying again")
                    stop.wait(_LOOK_S)
        finally:
            stop.set()
            for worker in workers:
                worker.join()

    def _read(self, consumer: Consumer, stop: threading.Event) -> None:
        known: set[str] = set()
        while not stop.is_set():
            if new := {t for t in topics_of(self._kafka) if t.endswith(f".{ALERTS}")} - known:
                known |= new
                self._begin(consumer, new, at_end=self._is_first_look and self._run is None)
                places = {place: next_ for each in self._places.values() for place, next_ in each.items()}
                starts = {place: min(each[place] for each in self._places.values()) for place in places}
                consumer.assign([TopicPartition(topic, part, next_) for (topic, part), next_ in starts.items()])
            self._is_first_look = False
            for _ in range(int(_LOOK_S / _POLL_S)):
                if stop.is_set():
                    break
                self._note(consumer.consume(_BATCH, _POLL_S))

    def _begin(self, consumer: Consumer, topics: set[str], *, at_end: bool) -> None:
        """Note where each receiver begins that has never read these topics."""
        about = consumer.list_topics(timeout=_TIMEOUT_S).topics
        for topic in topics:
            parts = [TopicPartition(topic, part) for part in about[topic].partitions]
            ends = ends_of(consumer, parts, _TIMEOUT_S) if at_end else {part.partition: 0 for part in parts}
            for name, places in self._places.items():
                new = {(topic, part): end for part, end in ends.items() if (topic, part) not in places}
                self._outbox.note([name], self._scope, (), new)
                places.update(new)

    def _note(self, messages: list[Message]) -> None:
        for message in messages:
            if (error := message.error()) and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
        by_place: dict[tuple[str, int], list[Message]] = {}
        for message in messages:
            by_place.setdefault((message.topic() or "", message.partition() or 0), []).append(message)
        for place, of_place in by_place.items():
            for name, places in self._places.items():
                found = [parse_event(m.value() or b"") for m in of_place if (m.offset() or 0) >= places[place]]
                events = [e for e in found if e and e.state in TOLD and self._run in (None, e.run)]
                places[place] = max(places[place], (of_place[-1].offset() or 0) + 1)
                self._outbox.note([name], self._scope, events, {place: places[place]})

    def _tell(self, receiver: Receiver, stop: threading.Event) -> None:
        trying = Retrying(
            retry=retry_if_result(lambda problem: problem is not None),
            wait=wait_exponential_jitter(_FIRST_PAUSE_S, _LONGEST_PAUSE_S),
            sleep=sleep_using_event(stop),
            stop=stop_when_event_set(stop),
        )
        while not stop.is_set():
            if (waiting := self._outbox.first(receiver.name)) is None:
                stop.wait(_POLL_S)
                continue
            try:
                trying(self._tell_once, receiver, waiting)
            except RetryError:  # it is stopped; the event stays in the outbox
                return
            self._outbox.deliver(waiting.place)
            event = waiting.event
            _say(f"{event.state} {event.question_name} [{event.id}] is delivered to {receiver.name}")

    def _tell_once(self, receiver: Receiver, waiting: Waiting) -> str | None:
        try:
            problem = receiver.tell(waiting.event)
        except Exception as error:  # whatever a service's own code raises
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            self._outbox.fail(waiting.place, problem)
            left = self._outbox.waiting(receiver.name)
            _say(f"{receiver.name} takes no alerts: {problem} ({left} wait, which are tried again)")
        return problem


def _say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
