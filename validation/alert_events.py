"""The alerts of a run as they stand in Kafka, and what became of each."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from streamproof.core.alert_rule import BREACH_COLUMN, CLEAR_COLUMN, State, alerts_topic
from streamproof.core.kafka import TopicReader, topics_of
from streamproof.core.question import RESULT_COLUMNS
from streamproof.core.run import Run
from streamproof.core.settings import KafkaSettings

_NO_VALUES = {*RESULT_COLUMNS, BREACH_COLUMN, CLEAR_COLUMN}


class AlertEvent(BaseModel):
    """Something that happened to an alert.

    Attributes:
        id: the alert's.
        question: name and digest of the question's text.
        title: the question in words.
        run: the run.
        job: who answered.
        state: what happened.
        key: whose alert, by the columns of the question's key.
        window_start: of the window in which it happened.
        window_end: likewise.
        begin: the end of the window with which the breach began.
        number: of a repetition: 1, 2, 3 …; else 0.
        values: the other columns of the answer in that window; all None where there is none.
        came_from: the records that it follows from, as ``topic/partition/offset``.

    """

    id: str
    question: str
    title: str = ""
    run: str
    job: str
    state: State
    key: dict[str, Any]
    window_start: datetime
    window_end: datetime
    begin: datetime
    number: int
    values: dict[str, Any]
    came_from: list[str] = []

    @property
    def question_name(self) -> str:
        """The question's name."""
        return self.question.partition("@")[0]


class Alert(BaseModel):
    """What became of an alert.

    Attributes:
        state: the last that happened; one that is repeated still fires.
        begin: the end of the window with which the breach began.
        fired: the end of the window in which it began to fire; None where it did not.
        resolved: the end of the window in which it was over; None where it was not.
        repeats: how often it was told again.
        values: of the answer with which it fired, or with which the breach began.

    """

    id: str
    question: str
    job: str
    state: State
    key: dict[str, Any]
    begin: datetime
    fired: datetime | None = None
    resolved: datetime | None = None
    repeats: int = 0
    values: dict[str, Any]

    @property
    def is_firing(self) -> bool:
        """Whether it fires still."""
        return self.fired is not None and self.resolved is None


def read_alerts(run: Run, kafka: KafkaSettings) -> list[AlertEvent]:
    """Return all events of a run's alerts, in the order in which they were written to each partition.

    Raises:
        StreamproofError: Kafka cannot be read.

    """
    topic = alerts_topic(run.contract)
    if topic not in topics_of(kafka):
        return []
    reader = TopicReader(topic, run.created, kafka)
    try:
        values = [message.value() or b"" for messages in reader.read() for message in messages]
    finally:
        reader.close()
    return [event for value in values if (event := parse_event(value)) and event.run == run.run]


def parse_event(value: bytes) -> AlertEvent | None:
    """Return the event that a record of a topic of alerts says; None where it says none."""
    try:
        record = json.loads(value)
        key = record["alert_key"]
        return AlertEvent(
            id=record["alert_id"],
            question=record["question"],
            title=record["alert_title"],
            run=record["run"],
            job=record["job"],
            state=record["alert_state"],
            key={name: record[name] for name in key},
            window_start=record["window_start"],
            window_end=record["window_end"],
            begin=record["alert_begin"],
            number=record["alert_number"],
            values={
                name: value
                for name, value in record.items()
                if name not in {*_NO_VALUES, *key} and not name.startswith("alert_")
            },
            came_from=record["alert_from"],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def alerts_of_events(events: Iterable[AlertEvent]) -> list[Alert]:
    """Return what became of each alert, the earliest first."""
    found: dict[tuple[str, str], Alert] = {}
    for event in sorted(events, key=lambda event: (event.window_end, event.state != "resolved")):
        alert = found.setdefault(
            (event.job, event.id),
            Alert(
                id=event.id,
                question=event.question_name,
                job=event.job,
                state=event.state,
                key=event.key,
                begin=event.begin,
                values=event.values,
            ),
        )
        alert.state = event.state
        if event.state == "firing":
            alert.fired, alert.values = event.window_end, event.values
        elif event.state == "resolved":
            alert.resolved = event.window_end
        elif event.state == "repeated":
            alert.repeats = max(alert.repeats, event.number)
    return list(found.values())


def newest_jobs(events: Iterable[AlertEvent]) -> Iterator[AlertEvent]:
    """Yield of each question the events of the job that wrote last."""
    found = list(events)
    last = {event.question_name: event.job for event in found}
    return (event for event in found if last[event.question_name] == event.job)


def as_utc(moment: datetime) -> datetime:
    """Return a time of DuckDB, which has no zone and is in UTC, with its zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
