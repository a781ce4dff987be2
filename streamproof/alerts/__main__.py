"""``python -m streamproof.alerts``: computes what follows from answers, scores and alerts, until nothing is left to do.

It does so for all jobs that follow a run. The supervisor starts it where one has a question with a model or an alert,
and starts it again when it ends before its work does, as it does itself when Kafka's client gives no answer. It ends
with whoever has started it.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress

from flink_jobs.records import JobRecord, find_record
from streamproof.alerts.alerter import LONG_AGO, Alerter
from streamproof.alerts.open_jobs import alerts_folder, note_done, open_jobs
from streamproof.core.alone import alone
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import topics_of
from streamproof.core.question import Question
from streamproof.core.settings import KafkaSettings
from streamproof.models.scorer import Scorer

_LOOK_S, _STEP_S, _PAUSE_S = 1.0, 0.2, 2.0
_STUCK_S = 45.0
"""Longer than a step can take that still waits for Kafka."""


class Worker(threading.Thread):
    """Computes what follows from a question's answers until its job has ended and all is written; tries again for ever.

    Attributes:
        step_began: when the step began that is under way, by the monotonic clock; infinite while there is none.

    """

    def __init__(self, record: JobRecord, question: Question) -> None:
        super().__init__(daemon=True)
        self._record, self._question = record, question
        self.step_began = math.inf

    def run(self) -> None:
        """Do it."""
        record, question, kafka = self._record, self._question, KafkaSettings()
        while True:
            try:
                if (question.scored or question).tally_topic(record.contract) in topics_of(kafka):
                    with ExitStack() as opened:
                        self._follow([opened.enter_context(closing(begin())) for begin in self._parts(kafka)])
                elif not _has_ended(record.label):
                    threading.Event().wait(_PAUSE_S)
                    continue
                if ended := find_record(record.label):
                    note_done(ended, question)
            except StreamproofError as error:
                self.step_began = math.inf
                console.print(f"{error}: trying again", markup=False, soft_wrap=True)
                threading.Event().wait(_PAUSE_S)
            else:
                return

    def _parts(self, kafka: KafkaSettings) -> list[Callable[[], Scorer | Alerter]]:
        """Return what has to work, each behind what it reads."""
        record, question = self._record, self._question
        parts: list[Callable[[], Scorer | Alerter]] = []
        if question.model:
            since = record.submitted_at or LONG_AGO
            parts.append(lambda: Scorer(record.label, question, record.contract, since=since, kafka=kafka))
        if question.header.alert:
            parts.append(lambda: Alerter(record, question, kafka))
        return parts

    def _follow(self, parts: Sequence[Scorer | Alerter]) -> None:
        while True:
            has_ended = _has_ended(self._record.label)  # asked before it is looked whether all was read
            for _ in range(int(_LOOK_S / _STEP_S)):
                for part in parts:
                    self.step_began = time.monotonic()
                    part.step(_STEP_S)
                    self.step_began = math.inf
            if has_ended and all(part.is_at_end() for part in parts):
                return


def _has_ended(job: str) -> bool:
    record = find_record(job)
    return record is None or record.state != "running"


def main() -> None:
    """Look for work, a thread for each question of a job."""
    starter = os.getppid()
    workers: dict[tuple[str, str], Worker] = {}
    with alone(alerts_folder() / "lock"):
        while os.getppid() == starter:
            work = open_jobs()
            for record, question in work:
                name = (record.flink_ids[-1], question.name)
                if name not in workers or not workers[name].is_alive():
                    workers[name] = Worker(record, question)
                    workers[name].start()
            if not work:
                return
            if time.monotonic() - min(worker.step_began for worker in workers.values()) > _STUCK_S:
                console.print(f"Kafka's client has given no answer for {_STUCK_S:.0f} s: beginning anew")
                os._exit(1)  # what it has not committed, the next process writes
            threading.Event().wait(_LOOK_S)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
