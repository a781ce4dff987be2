"""``python -m streamproof.alerts``: computes the alerts of all jobs that follow a run, until nothing is left to do.

The supervisor starts it where a job has a question with an alert, and starts it again when it ends before its work
does, as it does itself when Kafka's client gives no answer. It ends with whoever has started it.
"""

import math
import os
import threading
import time
from contextlib import closing, suppress

from flink_jobs.records import JobRecord, find_record
from streamproof.alerts.alerter import Alerter
from streamproof.alerts.open_jobs import alerts_folder, note_done, open_jobs
from streamproof.core.alone import alone
from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import topics_of
from streamproof.core.question import Question
from streamproof.core.settings import KafkaSettings

_LOOK_S, _STEP_S, _PAUSE_S = 1.0, 0.2, 2.0
_STUCK_S = 45.0
"""Longer than a step can take that still waits for Kafka."""


class Worker(threading.Thread):
    """Computes the alerts of a question until its job has ended and all are written; tries again whatever goes wrong.

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
                if question.tally_topic(record.contract) in topics_of(kafka):
                    with closing(Alerter(record, question, kafka)) as alerter:
                        self._follow(alerter)
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

    def _follow(self, alerter: Alerter) -> None:
        while True:
            has_ended = _has_ended(self._record.label)  # asked before it is looked whether all was read
            for _ in range(int(_LOOK_S / _STEP_S)):
                self.step_began = time.monotonic()
                alerter.step(_STEP_S)
                self.step_began = math.inf
            if has_ended and alerter.is_at_end():
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
