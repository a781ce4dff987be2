"""Results of a question, written into a table as the reader writes what comes from Kafka."""

import json
from datetime import UTC, datetime

from streamproof.core.alert_rule import EVENT_COLUMNS
from validation.answers import alerts_number
from validation.kafka_records import Results


class Written:
    """The table of results of one question, to which a test adds."""

    def __init__(self, db, run, question, number=0):
        self._db, self._run, self.question = db, run, question
        self.results = Results(db, run, question, number)

    def add(self, start, end, job="job", window=None, **values):
        """Write a result; start and end are milliseconds since the epoch."""
        question = self.question.with_window(window) if window else self.question
        assert self.results.add([Record(as_written(self._run, question, start, end, job, **values))]) == 1
        assert self.results.unreadable == 0


class WrittenAlerts:
    """The table of alerts of one question, to which a test adds what happened."""

    def __init__(self, db, run, question, number=0):
        self._run, self._question = run, question
        self._results = Results(db, run, question, alerts_number(number), EVENT_COLUMNS)

    def add(self, name, state, start, end, begin, number=0, **values):
        """Write that something happened to an alert in a window; milliseconds since the epoch."""
        values |= {"alert_id": name, "alert_state": state, "alert_begin": iso(begin), "alert_number": number}
        record = Record(as_written(self._run, self._question, start, end, "job", alert=True, **values))
        assert self._results.add([record]) == 1
        assert self._results.unreadable == 0


class Record:
    """A message of Kafka."""

    def __init__(self, value):
        self._value = value

    def value(self):
        return self._value

    def timestamp(self):
        return 1, 0


def as_written(run, question, start, end, job, **values):
    """Return a result as Flink writes it to Kafka."""
    window = question.window
    envelope = {"run": run.run, "job": job, "window_start": iso(start), "window_end": iso(end)}
    envelope |= {"window_size": window.size, "window_slide": window.slide, "window_kind": window.kind}
    envelope |= {"question": f"{question.name}@{question.digest}"}
    return json.dumps(envelope | values).encode()


def iso(milliseconds):
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")[:-6]
