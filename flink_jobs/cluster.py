"""A Flink cluster by its REST interface: its jobs, their late rows, cancelling, savepoints."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from ssl import SSLContext
from typing import Any, Literal

import httpx

from flink_jobs.records import JobRecord, find_record, load_records, newest_id
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import FlinkSettings, TlsSettings
from streamproof.core.wait import wait_until

ENDED = {"FINISHED", "CANCELED", "FAILED"}
_COMMIT_S = 15.0
_FINISH_S = 60.0
_CHECKPOINTS = "execution.checkpointing.dir"

_TRIES = 5
"""How often in a row a job may fail on the same rows."""

_OF_THE_DATA = re.compile(
    r"(?:java\.lang\.(?:Arithmetic|NumberFormat|ClassCast|IndexOutOfBounds)|java\.time\.DateTime"
    r"|org\.apache\.flink\.table\.api\.TableRuntime)\w*Exception"
)
"""Errors of a question's expressions: no restart mends them."""


@dataclass(frozen=True)
class Job:
    """A job of the cluster. Of one that has finished and that Flink has forgotten, None stands for what is not known.

    Attributes:
        id: Flink's id, 32 hexadecimal digits; new with each submission of the same job.
        label: the ``job`` of the windows that it writes, which stays; the id where no other is remembered.
        name: job, stream, window and what it follows.
        state: Flink's word: RUNNING, RESTARTING, FINISHED, CANCELED, FAILED …
        since: when it was submitted; when it finished, if Flink has forgotten it.
        late_rows: rows that came behind the watermark and are in no window (copies of counted rows among
            them), since the last restart.
        unreadable: messages of the topic that are not JSON, since the last restart.
        restarts: how many times Flink has restarted it.
        last_checkpoint: when the newest completed checkpoint was begun, or None.
        reason: why it has failed; None where it has not.

    """

    id: str
    label: str
    name: str
    state: str
    since: datetime
    late_rows: int | None
    unreadable: int | None
    restarts: int | None
    last_checkpoint: datetime | None
    reason: str | None = None


class Cluster:
    """The cluster of a JobManager. A job is named by its label or by Flink's id.

    Args:
        settings: where its REST interface is.

    Raises:
        StreamproofError: by every method, when the JobManager does not answer or refuses.
        UsageError: by every method that takes a job, when the cluster knows no such job.

    """

    def __init__(self, settings: FlinkSettings | None = None) -> None:
        flink = settings or FlinkSettings()
        self.address, self.url = flink.jobmanager, flink.url
        self._http = httpx.Client(base_url=self.url, timeout=20, trust_env=False, verify=_authorities(flink.tls))

    def page(self, job: str) -> str:
        """Return the address of a job's page in Flink's web interface."""
        return f"{self.url}/#/job/running/{newest_id(job)}/overview"

    def list(self) -> list[Job]:
        """Return the jobs that the cluster remembers, the newest first, then finished ones that it has forgotten."""
        jobs, records = self._get("/jobs/overview")["jobs"], load_records()
        labels = {flink_id: record.label for record in records for flink_id in record.flink_ids}
        reasons = {record.label: record.reason for record in records if record.reason}
        known = {j["jid"] for j in jobs}
        forgotten = (r for r in reversed(records) if r.finished_at and r.jobmanager == self.address)
        return [
            *(
                self._describe(j, labels.get(j["jid"], j["jid"]), reasons)
                for j in sorted(jobs, key=lambda j: -j["start-time"])
            ),
            *(_describe_finished(r) for r in forgotten if r.flink_ids[-1] not in known),
        ]

    def states(self) -> dict[str, str]:
        """Return Flink's word for the state of each job that the cluster remembers, by Flink's id."""
        return {j["jid"]: j["state"] for j in self._get("/jobs/overview")["jobs"]}

    def checkpoints(self) -> str:
        """Return the folder of the cluster's checkpoints as a URI that it can read; empty where it has none."""
        return next((e["value"] for e in self._get("/jobmanager/config") if e["key"] == _CHECKPOINTS), "")

    def free_slots(self) -> int:
        """Return how many more tasks (at parallelism 1) would find a place."""
        return int(self._get("/overview")["slots-available"])

    def wait_for_slots(self, slots: int, timeout_s: float = 0) -> bool:
        """Wait until so many slots are free; False when they are not in time."""
        return wait_until(lambda: self.free_slots() >= slots, timeout_s)

    def wait_until_known(self, job: str, timeout_s: float = 0) -> bool:
        """Wait until the cluster knows a job by Flink's id; False when it does not in time."""
        return wait_until(lambda: job in self.states(), timeout_s)

    def state(self, job: str) -> str:
        """Return Flink's word for a job's state."""
        # A job's own page is up to three seconds old (web.refresh-interval), this is not.
        return str(self._get(f"/jobs/{newest_id(job)}/status")["status"])

    def why_failed(self, job: str) -> str | None:
        """Return why a job has failed or is being restarted; None where it does well, or is not remembered here."""
        record = find_record(job)
        if record is None or record.reason:
            return record.reason if record else None
        return self._reason(newest_id(job)) if self.state(job) in {"FAILED", "FAILING", "RESTARTING"} else None

    def error_in_the_data(self, job: str) -> str | None:
        """Return the error of the rows themselves on which a job has failed several times in a row.

        None where it has not: what else ends a task, such as a part that is away, mends itself. The job never gets past
        such rows, whatever checkpoints it completes while it comes near them again.
        """
        if self.state(job) in ENDED:
            return None
        entries = self._get(f"/jobs/{newest_id(job)}/exceptions")["exceptionHistory"]["entries"]
        newest = [_cause(entry["stacktrace"]) for entry in entries[:_TRIES]]
        if len(newest) < _TRIES or len(set(newest)) > 1 or not _OF_THE_DATA.match(newest[0]):
            return None
        return newest[0]

    def give_up(self, job: str, reason: str) -> None:
        """Cancel a job that fails on the same rows for ever, and remember why."""
        self.cancel(job)
        if record := find_record(job):
            record.model_copy(update={"state": "failed", "reason": reason}).save()

    def late_rows(self, job: str) -> int:
        """Return the rows that a job dropped as late, in all its operators, since its last (re)start."""
        record = find_record(job)
        if record and record.late_rows is not None:  # Flink forgets the counts of a job that has ended
            return record.late_rows
        return sum(self._counters(job, "numLateRecordsDropped").values())

    def unreadable(self, job: str) -> int:
        """Return the messages that a running job skipped because they are not JSON, since its last restart."""
        counters = self._counters(job, "_messages.numRecordsIn", "_messages.numRecordsOut")
        return max(0, sum(-n if name.endswith("Out") else n for name, n in counters.items()))

    def last_checkpoint(self, job: str) -> datetime | None:
        """Return when the newest completed checkpoint of a job was begun, or None."""
        newest = (self._get(f"/jobs/{newest_id(job)}/checkpoints").get("latest") or {}).get("completed")
        return _time(newest["trigger_timestamp"]) if newest else None

    def restarts(self, job: str) -> int:
        """Return how many times Flink has restarted a job since it was submitted (again)."""
        values = self._get(f"/jobs/{newest_id(job)}/metrics?get=numRestarts")
        return sum(int(metric["value"]) for metric in values)

    def attempts(self, job: str) -> int:
        """Return how often the tasks of a job were started again, in all; it grows with each restart.

        Flink's answer is up to three seconds old (web.refresh-interval), but for a job that has ended.
        """
        return sum(task["attempt"] for vertex in self._vertices(job) for task in vertex["subtasks"])

    def low_watermark(self, job: str) -> int | None:
        """Return the least watermark that the tasks of a job have received, ms since the epoch; None without any."""
        found = [
            int(metric["value"])
            for vertex in self._get(f"/jobs/{newest_id(job)}")["vertices"]
            for metric in self._get(f"/jobs/{newest_id(job)}/vertices/{vertex['id']}/watermarks")
        ]
        return min(found, default=None)

    def taskmanagers(self, job: str) -> set[str]:
        """Return the ids of the TaskManagers that a job's tasks run on."""
        return {task["taskmanager-id"] for vertex in self._vertices(job) for task in vertex["subtasks"]}

    def wait_until_running(self, job: str, timeout_s: float = 120) -> None:
        """Wait until all tasks of a job run.

        Raises:
            StreamproofError: it ended, or did not run in time; the text holds Flink's reason.

        """
        flink_id = newest_id(job)

        def settled() -> bool:
            answer = next(j for j in self._get("/jobs/overview")["jobs"] if j["jid"] == flink_id)
            return answer["state"] in ENDED or 0 < answer["tasks"]["total"] == answer["tasks"]["running"]

        in_time = wait_until(settled, timeout_s)
        if not in_time or self.state(job) in ENDED:
            what = f"is {self.state(job)}" if in_time else f"does not run after {timeout_s:.0f} s"
            raise StreamproofError(f"the job {job} {what}: {self._reason(job)} (see {self.page(job)})")

    def cancel(self, job: str, timeout_s: float = 60) -> None:
        """End a job and wait until it has ended; its checkpoints are kept, and it is not submitted again.

        It commits the windows that it has written, if it can: a transaction left open would hide all later windows of
        the topic from ``read_committed`` readers, for up to 15 minutes.
        """
        record, job = find_record(job), newest_id(job)
        if record and record.finished_at:
            return
        _mark(job, "cancelled")
        if self.state(job) == "RUNNING":
            with suppress(StreamproofError):
                self._stop(job, _COMMIT_S)
        if self.state(job) in ENDED:
            return
        self._ask("PATCH", f"/jobs/{job}", job=job)
        if not wait_until(lambda: self.state(job) in ENDED, timeout_s):
            raise StreamproofError(f"the job {job} does not end: it is {self.state(job)} (see {self.page(job)})")

    def finish(self, record: JobRecord, attempts: int) -> bool:
        """End a job that has done its work, with what it has written committed; its state is then FINISHED.

        Args:
            record: the job, which is remembered as finished.
            attempts: the ``attempts`` of which that is known. If it was restarted meanwhile it is left as one that was
                lost, to be submitted again from the savepoint that it ended with, and this returns False.

        """
        flink_id, late_rows = record.flink_ids[-1], self.late_rows(record.label)
        self._stop(flink_id, _FINISH_S, record.last_savepoints)

        def has_ended() -> bool:
            return self._get(f"/jobs/{flink_id}")["state"] in ENDED

        if not wait_until(has_ended, _FINISH_S):
            raise StreamproofError(f"the job {record.label} does not end (see {self.page(record.label)})")
        if self.attempts(flink_id) != attempts:
            return False
        now = datetime.now(UTC)
        record.model_copy(update={"state": "finished", "finished_at": now, "late_rows": late_rows}).save()
        return True

    def savepoint(self, job: str, *, stop: bool = False, timeout_s: float = 120) -> str:
        """Write a savepoint, or stop the job with one, and return the savepoint's path as the cluster sees it."""
        job = newest_id(job)
        if stop:
            path = self._stop(job, timeout_s)
            _mark(job, "stopped")
            return path
        return self._savepoint(job, "savepoints", {"cancel-job": False}, timeout_s)

    def _stop(self, job: str, timeout_s: float, folder: str = "") -> str:
        return self._savepoint(
            job, "stop", {"drain": False} | ({"targetDirectory": folder} if folder else {}), timeout_s
        )

    def _savepoint(self, job: str, path: str, body: Mapping[str, bool | str], timeout_s: float) -> str:
        trigger = self._ask("POST", f"/jobs/{job}/{path}", job=job, json=body)["request-id"]
        done: dict[str, Any] = {}

        def completed() -> bool:
            done.update(self._get(f"/jobs/{job}/savepoints/{trigger}"))
            return bool(done["status"]["id"] == "COMPLETED")

        if not wait_until(completed, timeout_s):
            raise StreamproofError(
                f"the savepoint of {job} was not complete after {timeout_s:.0f} s (see {self.page(job)})"
            )
        if "location" not in done["operation"]:
            raise StreamproofError(
                f"the savepoint of {job} failed: {_cause(done['operation']['failure-cause']['stack-trace'])}"
            )
        return str(done["operation"]["location"])

    def _vertices(self, job: str) -> Sequence[Mapping[str, Any]]:
        path = f"/jobs/{newest_id(job)}"
        return [self._get(f"{path}/vertices/{vertex['id']}") for vertex in self._get(path)["vertices"]]

    def _describe(self, job: Mapping[str, Any], label: str, reasons: Mapping[str, str]) -> Job:
        id_ = job["jid"]
        return Job(
            id=id_,
            label=label,
            name=job["name"],
            state=job["state"],
            since=_time(job["start-time"]),
            late_rows=self.late_rows(id_),
            unreadable=self.unreadable(id_),
            restarts=self.restarts(id_),
            last_checkpoint=self.last_checkpoint(id_),
            reason=self._reason(id_) if job["state"] == "FAILED" else reasons.get(label),
        )

    def _counters(self, job: str, *endings: str) -> dict[str, int]:
        """Return the sum over subtasks of each counter whose name ends like that."""
        found: dict[str, int] = {}
        job = newest_id(job)
        for vertex in self._get(f"/jobs/{job}")["vertices"]:
            path = f"/jobs/{job}/vertices/{vertex['id']}/subtasks/metrics"
            names = [m["id"] for m in self._get(path)]
            wanted = [n for n in names if n.endswith(endings)]
            if wanted:
                values = self._ask("GET", path, params={"get": ",".join(wanted), "agg": "sum"})
                found |= {f"{vertex['id']}.{m['id']}": int(m["sum"]) for m in values}
        return found

    def _reason(self, job: str) -> str:
        entries = self._get(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"]
        return _cause(entries[0]["stacktrace"]) if entries else "Flink names no reason"

    def _get(self, path: str) -> Any:  # noqa: ANN401 (JSON)
        return self._ask("GET", path, job=path.split("/")[2] if path.startswith("/jobs/") else None)

    def _ask(self, method: str, path: str, *, job: str | None = None, **options: Any) -> Any:  # noqa: ANN401 (JSON)
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise StreamproofError(
                f"Flink's JobManager at {self.address} does not answer ({error}): is it up? "
                "(--jobmanager or STREAMPROOF_FLINK_JOBMANAGER says where it is)"
            ) from error
        if answer.is_success:
            return answer.json() if answer.content else {}
        if job and answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST) and "ob" in answer.text:
            known = ", ".join(j["jid"] for j in self._get("/jobs/overview")["jobs"]) or "none"
            raise UsageError(
                f"Flink's JobManager at {self.address} refuses {job!r}: {_said(answer)}; its jobs: {known}"
            )
        raise StreamproofError(
            f"Flink's JobManager at {self.address}: {method} {path}: {answer.status_code} {_said(answer)}"
        )


@cache
def _authorities(tls: TlsSettings) -> SSLContext:
    """Return the certificate authorities of each client; reading them takes 50 ms of CPU, and the page asks often."""
    return tls.context() or httpx.create_ssl_context(trust_env=False)


def _mark(job: str, state: Literal["cancelled", "stopped"]) -> None:
    if record := find_record(job):
        record.model_copy(update={"state": state}).save()


def _describe_finished(record: JobRecord) -> Job:
    return Job(
        id=record.flink_ids[-1],
        label=record.label,
        name=record.name,
        state="FINISHED",
        since=record.finished_at or datetime.now(UTC),
        late_rows=record.late_rows,
        unreadable=None,
        restarts=None,
        last_checkpoint=None,
    )


def _said(answer: httpx.Response) -> str:
    try:
        return _cause("\n".join(answer.json()["errors"]))
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


def _cause(trace: str) -> str:
    """Return the innermost cause of a Java stack trace, in one line."""
    causes = [line for line in trace.splitlines() if "Caused by: " in line] or trace.splitlines() or [trace]
    return causes[-1 if "Caused by: " in trace else 0].split("Caused by: ")[-1].strip()


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
