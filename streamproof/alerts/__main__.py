"""``python -m streamproof.alerts``: computes the alerts of all jobs that follow a run, until nothing is left to do.

The supervisor starts it where a job has a question with an alert, and starts it again when it ends before its work
does. It ends with whoever has started it.
"""

import os
import threading
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


def work_on(record: JobRecord, question: Question) -> None:
    """Compute the alerts of a question until its job has ended and all are written; try again whatever goes wrong."""
    kafka = KafkaSettings()
    while True:
        try:
            if question.tally_topic(record.contract) in topics_of(kafka):
                with closing(Alerter(record, question, kafka)) as alerter:
                    _follow(alerter, record.label)
            elif not _has_ended(record.label):
                threading.Event().wait(_PAUSE_S)
                continue
            if ended := find_record(record.label):
                note_done(ended, question)
        except StreamproofError as error:
            console.print(f"{error}: trying again", markup=False, soft_wrap=True)
            threading.Event().wait(_PAUSE_S)
        else:
            return


def _follow(alerter: Alerter, job: str) -> None:
    while True:
        has_ended = _has_ended(job)  # asked before it is looked whether all was read
        for _ in range(int(_LOOK_S / _STEP_S)):
            alerter.step(_STEP_S)
        if has_ended and alerter.is_at_end():
            return


def _has_ended(job: str) -> bool:
    record = find_record(job)
    return record is None or record.state != "running"


def main() -> None:
    """Look for work, a thread for each question of a job."""
    starter = os.getppid()
    workers: dict[tuple[str, str], threading.Thread] = {}
    with alone(alerts_folder() / "lock"):
        while os.getppid() == starter:
            work = open_jobs()
            for record, question in work:
                name = (record.flink_ids[-1], question.name)
                if name not in workers or not workers[name].is_alive():
                    workers[name] = threading.Thread(target=work_on, args=(record, question), daemon=True)
                    workers[name].start()
            if not work:
                return
            threading.Event().wait(_LOOK_S)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
