"""The audit of a run: the way of its rows, stage by stage, without a look at files or windows."""

import time
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel

from streamproof.core.command import console
from streamproof.core.errors import UsageError
from streamproof.core.run import load_run
from streamproof.core.settings import HomeSettings, KafkaSettings
from validation.delivery import CategoryRows, RowTotals, audit_rows, is_settled
from validation.kafka_records import RunRecords
from validation.stages import Stages
from validation.verdict import ASK_SECONDS, SETTLED_SECONDS, open_database


class Audit(BaseModel):
    """What was found about a run's rows.

    Attributes:
        state: of the run, by its manifest.
        job: the job whose reading was looked at; None where none is known.
        unreadable: records in Kafka that name the run but are not what their topic should hold.

    """

    run: str
    state: Literal["running", "finished", "stopped"]
    checked_at: datetime
    job: str | None
    rows: RowTotals
    categories: dict[str, CategoryRows]
    unreadable: int


def audit(
    run: str,
    home: HomeSettings,
    kafka: KafkaSettings,
    *,
    job: str | None = None,
    stages: Stages = Stages(),  # noqa: B008 - frozen
) -> Audit:
    """Follow a run's rows by its manifest, Kafka, NiFi and Flink.

    Of a run that goes on, the manifest is read first: what it says is confirmed is in Kafka when that is read, and
    the later stages may have more rows than it says were sent.

    Args:
        run: the run's id.
        home: where the run's manifest is.
        kafka: where its rows are.
        job: whose reading; without it, that of the newest job that reads the run.
        stages: who can tell what NiFi received and what the job read.

    Raises:
        UsageError: there is no such run, or no such job.
        StreamproofError: Kafka cannot be read.

    """
    manifest = load_run(run, home)
    with (
        open_database(home.runs / run) as db,
        console.status("reading Kafka") as status,
        RunRecords(db, manifest, kafka, only="rows") as records,
    ):
        records.read()
        deadline = time.monotonic() + (0 if manifest.state == "running" else SETTLED_SECONDS)
        status.update("asking NiFi and Flink")
        while True:
            answers = stages.ask(manifest, job)
            rows = audit_rows(db, manifest, None, *answers, records.contents)
            if is_settled(rows, *answers) or time.monotonic() >= deadline:
                break
            time.sleep(ASK_SECONDS)
        if job and answers[1] is None:
            raise UsageError(f"of a job {job!r} nothing is remembered here: `streamproof list` shows the jobs")
        return Audit(
            run=run,
            state=manifest.state,
            checked_at=datetime.now(UTC),
            job=answers[1].job if answers[1] else None,
            rows=RowTotals.of(rows),
            categories=rows,
            unreadable=records.unreadable,
        )
