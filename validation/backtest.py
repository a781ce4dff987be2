"""Would this rule have fired? A question's alerts from files alone, and compared with what was put into the files."""

import csv
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from streamproof.core.contract import Contract
from streamproof.core.errors import UsageError
from streamproof.core.question import RESULT_COLUMNS, Question
from validation.alert_events import Alert, AlertEvent, alerts_of_events, as_utc
from validation.alerts import compute_alerts
from validation.comparison import plain
from validation.files_alone import read_files
from validation.truth import compute_truth
from validation.verdict import open_database

RUN = "backtest"
"""The run's id, which is part of each alert's."""

_TRUTH_COLUMNS = {"kind", "category", "key", "begin", "end"}


class PutIn(BaseModel):
    """Something that a generator put in on purpose: what, of which category and key (empty: of all), and when."""

    kind: str
    category: str
    key: str
    begin: datetime
    end: datetime


class Score(BaseModel):
    """How alerts compare with what was put in.

    Attributes:
        put_in: how much was, by kind.
        found: of how much of it an alert fired, by kind.
        fired: how many alerts fired.
        rightly: how many of them for something that was put in.
        delays: seconds from the begin of each that was found to the end of the window in which its alert fired.
        missed: what no alert fired for.

    """

    put_in: dict[str, int]
    found: dict[str, int]
    fired: int
    rightly: int
    delays: list[float]
    missed: list[PutIn]

    @property
    def precision(self) -> float | None:
        """The share of the alerts that fired rightly; None where none fired."""
        return self.rightly / self.fired if self.fired else None

    @property
    def recall(self) -> float | None:
        """The share of what was put in that was found; None where nothing was."""
        total = sum(self.put_in.values())
        return sum(self.found.values()) / total if total else None

    @property
    def median_delay(self) -> float | None:
        """Seconds; None where nothing was found."""
        return statistics.median(self.delays) if self.delays else None


def backtest(question: Question, contract: Contract, files: Mapping[str, Path]) -> list[AlertEvent]:
    """Return what would have happened to a question's alerts, had these files been replayed by their own time.

    Raises:
        UsageError: the question has no alert, the stream no time of its own, or a file is not there.
        StreamproofError: a file cannot be read, or the question fails on its rows.

    """
    if question.header.alert is None:
        raise UsageError(f"{question.name} has no alert: write one into its header (docs/alerts.md)")
    with open_database(Path(tempfile.gettempdir())) as db:
        run = read_files(db, question, contract, files, RUN)
        compute_truth(db, run, question, "truth")
        compute_alerts(db, question, run.run, "truth", "alerts")
        found = db.execute("SELECT * FROM alerts ORDER BY window_end, alert_id, alert_state")
        names = [name for name, *_ in found.description]
        return [_event(question, dict(zip(names, row, strict=True))) for row in found.fetchall()]


def read_truth(file: Path, kinds: Sequence[str] = ()) -> list[PutIn]:
    """Read a generator's ``truth.csv``: what it put in on purpose, of some kinds or of all.

    Raises:
        UsageError: the file cannot be read, lacks a column or holds no time where one must stand, or has no such kind.

    """
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines)
            if missing := _TRUTH_COLUMNS - set(rows.fieldnames or ()):
                raise UsageError(f"{file}: it has no column {min(missing)}: is it a generator's truth.csv?")
            found = [PutIn.model_validate({name: row[name] for name in _TRUTH_COLUMNS}) for row in rows]
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error
    if unknown := set(kinds) - {each.kind for each in found}:
        known = ", ".join(sorted({each.kind for each in found})) or "nothing"
        raise UsageError(f"{file}: nothing of the kind {min(unknown)!r} was put in: there is {known}")
    return [each for each in found if not kinds or each.kind in kinds]


def score(events: Sequence[AlertEvent], put_in: Sequence[PutIn]) -> Score:
    """Compare alerts with what was put in.

    An alert is for something that was put in when their times overlap and the thing's key and category, where it has
    them, stand among the alert's key and values.
    """
    started = {event.id: event.window_start for event in events if event.state == "firing"}
    fired = [alert for alert in alerts_of_events(events) if alert.fired]
    for_each = [[alert for alert in fired if _is_for(alert, started[alert.id], thing)] for thing in put_in]
    rightly = {alert.id for alerts in for_each for alert in alerts}
    delays = [
        (min(alert.fired for alert in alerts if alert.fired) - as_utc(thing.begin)).total_seconds()
        for thing, alerts in zip(put_in, for_each, strict=True)
        if alerts
    ]
    kinds = sorted({thing.kind for thing in put_in})
    both = list(zip(put_in, for_each, strict=True))
    return Score(
        put_in={kind: sum(thing.kind == kind for thing in put_in) for kind in kinds},
        found={kind: sum(thing.kind == kind and bool(alerts) for thing, alerts in both) for kind in kinds},
        fired=len(fired),
        rightly=len(rightly),
        delays=delays,
        missed=[thing for thing, alerts in both if not alerts],
    )


def _is_for(alert: Alert, since: datetime, thing: PutIn) -> bool:
    values = {name: str(value) for name, value in (alert.values | alert.key).items()}
    until = alert.resolved or datetime.max.replace(tzinfo=UTC)
    return (
        since < as_utc(thing.end) + timedelta(milliseconds=1)
        and until > as_utc(thing.begin)
        and thing.category in {"", values.get("category", thing.category)}
        and (not thing.key or thing.key in values.values())
    )


def _event(question: Question, row: dict[str, Any]) -> AlertEvent:
    left_out = {*RESULT_COLUMNS, *question.key}
    return AlertEvent(
        id=row["alert_id"],
        question=question.label,
        title=question.title,
        run=RUN,
        job="",
        state=row["alert_state"],
        key={name: plain(row[name]) for name in question.key},
        window_start=as_utc(row["window_start"]),
        window_end=as_utc(row["window_end"]),
        begin=as_utc(row["alert_begin"]),
        number=row["alert_number"],
        values={n: plain(v) for n, v in row.items() if n not in left_out and not n.startswith("alert")},
    )
