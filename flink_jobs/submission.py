"""A job on its way to the cluster: what is checked first, the submission, and the same job submitted again."""

import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from flink_jobs.client import Session, connector_jar, end_jvm
from flink_jobs.cluster import ENDED, Cluster
from flink_jobs.offsets import start_offsets
from flink_jobs.planner import PLANNING, plan_job
from flink_jobs.records import (
    JobOptions,
    JobRecord,
    alone,
    ended_run,
    find_record,
    followers,
    is_outdated,
    newest_checkpoint,
    writer_of,
)
from flink_jobs.rest_stores import rest_stores
from flink_jobs.tables import consumer_group, kafka_sink, kafka_source, tally_sink
from streamproof.core.alert_rule import alerts_topic
from streamproof.core.contract import Contract, load_contract
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.kafka_rights import Right, allow
from streamproof.core.question import Asked, Question
from streamproof.core.settings import FlinkSettings, KafkaSettings
from streamproof.core.topics import ensure_topics

_SLOTS_TIMEOUT_S = 60
"""How long TaskManagers may take to come back to a JobManager that was started again, and jobs to end with a run."""

_ON_ITS_WAY_S = 5
"""How long an interrupted submission may take to show at the JobManager."""


@dataclass(frozen=True)
class Submitted:
    """A job that runs.

    Attributes:
        job: its label, the ``job`` of its results; it stays when the job is submitted again.
        name: stream, questions with their windows, and what it follows.
        page: its page in Flink's web interface.
        flink_id: its id there, new with each submission.
        notes: what is worth knowing of its questions though nothing is wrong.

    """

    job: str
    name: str
    page: str
    flink_id: str
    notes: list[str]


def submit(
    questions: Sequence[Question],
    options: JobOptions,
    flink: FlinkSettings | None = None,
    kafka: KafkaSettings | None = None,
) -> Submitted:
    """Submit one job for several questions of a stream; return as soon as all its tasks run.

    A job that does not get so far is cancelled again.

    Delivery: rows at least once in, results exactly once out, in Kafka transactions that each checkpoint commits.

    Raises:
        UsageError: a question is refused, they are not of one stream, or the savepoint is not one of the same
            questions, run and windows.
        StreamproofError: JobManager or Kafka cannot be reached, no slots are free, or Flink refuses the job.

    """
    names = [question.name for question in questions]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"{min(twice)!r} is asked twice: one job answers a question once")
    if batch := [question.name for question in questions if question.header.run == "batch"]:
        raise UsageError(f"{batch[0]} is for a batch, not for Flink: streamproof batch {batch[0]} --run RUN")
    if options.contract is None and len(streams := {question.header.stream for question in questions}) > 1:
        raise UsageError(f"the questions are of several streams, {', '.join(sorted(streams))}: a job has one")
    flink = flink or FlinkSettings()
    if any(ended_run(follower) for follower in followers()):  # they are about to end, which needs the lock
        Cluster(flink).wait_for_slots(options.parallelism, _SLOTS_TIMEOUT_S)
    with alone():
        return _submit(questions, options, flink, kafka or KafkaSettings())


def _submit(
    questions: Sequence[Question], options: JobOptions, flink: FlinkSettings, kafka: KafkaSettings
) -> Submitted:
    cluster = Cluster(flink)
    asked = [Asked(name=each.name, text=each.text, window=each.window) for each in questions]
    if options.savepoint:
        record = _writer(asked, options, options.savepoint)
        _check_is_not_there(record, cluster)
        _check_slots(cluster, options.parallelism)
    else:
        contract = options.contract or load_contract(questions[0].header.stream)
        _check_slots(cluster, options.parallelism)
        start = options.start if options.start is not None else "earliest" if options.run else "latest"
        record = JobRecord(
            label=uuid.uuid4().hex,
            asked=asked,
            contract=contract,
            options=options,
            offsets=start_offsets(contract, kafka, start),
            checkpoints=cluster.checkpoints(),
            jobmanager=flink.jobmanager,
            flink_ids=[],
            submitted_at=datetime.now(UTC),
        )
    return _launch(record, options, flink, kafka)


def resubmit(label: str, flink: FlinkSettings | None = None, kafka: KafkaSettings | None = None) -> Submitted:
    """Submit a job again that its JobManager has lost, or that ended too early; return as soon as all its tasks run.

    It goes on from its newest checkpoint, or begins anew where it never completed one. Label and transactional ids
    stay, so its windows are still written exactly once.

    Raises:
        UsageError: no such job is remembered, or it was cancelled or stopped.
        StreamproofError: the job is not lost, its checkpoints cannot be seen, and as ``submit``.

    """
    with alone():
        record = find_record(label)
        if record is None or record.state != "running":
            what = f"was {record.state}" if record else "is not remembered"
            raise UsageError(f"the job {label} {what}: submit it anew")
        flink, kafka = flink or FlinkSettings(jobmanager=record.jobmanager), kafka or KafkaSettings()
        cluster = Cluster(flink)
        _check_is_not_there(record, cluster, {"FAILED", "FINISHED"})
        options = replace(record.options, savepoint=newest_checkpoint(record))
        _check_slots(cluster, options.parallelism, _SLOTS_TIMEOUT_S)
        return _launch(record, options, flink, kafka)


def _writer(asked: list[Asked], options: JobOptions, savepoint: str) -> JobRecord:
    record = writer_of(savepoint)
    for what, wanted, had in (
        ("question", _joined(asked, lambda of: of.name), _joined(record.asked, lambda of: of.name)),
        ("window", _joined(asked, lambda of: str(of.window)), _joined(record.asked, lambda of: str(of.window))),
        ("text of its question", *(_joined(each, lambda of: of.question.digest) for each in (asked, record.asked))),
        ("run", options.run, record.options.run),
        ("stream", (options.contract or record.contract).name, record.contract.name),
    ):
        if wanted != had:
            raise UsageError(
                f"{savepoint} is of a job with another {what}: {had or 'all of them'}, not {wanted or 'all'}"
            )
    if options.contract not in (None, record.contract):
        raise UsageError(f"{savepoint}: the contract of {record.contract.name} has changed since")
    if is_outdated(savepoint, record):
        raise UsageError(
            f"after {savepoint} the job has committed windows, which would be written twice: go on from its newest "
            f"checkpoint, {newest_checkpoint(record)}"
        )
    return record


def _joined(asked: list[Asked], what: Callable[[Asked], str]) -> str:
    return ", ".join(map(what, asked))


def _check_is_not_there(record: JobRecord, cluster: Cluster, gone: Collection[str] = ENDED) -> None:
    # Two at once would end each other's transactions and write each window twice.
    states = cluster.states()
    for flink_id in record.flink_ids:
        if (state := states.get(flink_id)) and state not in gone:
            raise StreamproofError(f"the job {record.label} is {state} ({cluster.page(flink_id)}): cancel it first")


def _check_slots(cluster: Cluster, parallelism: int, timeout_s: float = 0) -> None:
    if parallelism < 1:
        raise UsageError(f"a parallelism of {parallelism} makes no sense: at least 1")
    if not cluster.wait_for_slots(parallelism, timeout_s):
        raise StreamproofError(
            f"Flink at {cluster.address} has {cluster.free_slots()} free slots, parallelism {parallelism} needs "
            f"{parallelism}: cancel a job (`list` shows them), start another TaskManager, or choose a lower "
            "--parallelism"
        )


def _launch(record: JobRecord, options: JobOptions, flink: FlinkSettings, kafka: KafkaSettings) -> Submitted:
    flink_id = uuid.uuid4().hex if record.flink_ids else record.label
    contract = record.contract
    start = {
        "scan.startup.mode": "specific-offsets",
        "scan.startup.specific-offsets": ";".join(f"partition:{p},offset:{o}" for p, o in record.offsets.items()),
    }
    if options.parallelism > len(record.offsets):
        # A source task without a partition never has a watermark and would hold back everybody's.
        start["scan.parallelism"] = str(len(record.offsets))
    cluster = Cluster(flink)
    launched = record.model_copy(
        update={
            "options": options,
            "checkpoints": cluster.checkpoints(),
            "jobmanager": flink.jobmanager,
            "flink_ids": [*record.flink_ids, flink_id],
            "state": "running",
        }
    )
    launched.save()  # before the job runs: if this process is killed, the job is known all the same
    stores = ExitStack()
    try:
        secured = stores.enter_context(rest_stores(flink))
        session = Session(_configuration(options, flink, launched.name, flink_id) | secured)
        questions = [each.question for each in record.asked]
        planned = plan_job(
            session,
            questions,
            contract,
            label=record.label,
            run=options.run,
            source=kafka_source(questions, contract, label=record.label, kafka=kafka, options=start),
            sink=lambda question: kafka_sink(question, contract, label=record.label, kafka=kafka),
            tally=lambda question: tally_sink(question, contract, label=record.label, kafka=kafka),
        )
        ensure_topics([each.question.topic(contract) for each in planned], kafka)
        if record.followed:
            tallied = [each.tally_topic(contract) for each in questions if each.is_tallied]
            ensure_topics(tallied, kafka.model_copy(update={"partitions": 1}))
            ensure_topics([alerts_topic(contract)], kafka)
        allow(kafka, "flink", _rights(record.label, questions, contract))
        session.submit()
        cluster.wait_until_running(flink_id)
    except BaseException as error:
        _take_back(cluster, flink_id, interrupted=not isinstance(error, Exception))
        if record.flink_ids:
            launched.model_copy(update={"state": record.state}).save()
        else:
            launched.remove()
        raise
    finally:
        stores.close()
    notes = [f"{each.question.name}: {note}" for each in planned for note in each.notes]
    return Submitted(record.label, launched.name, cluster.page(flink_id), flink_id, notes)


def _rights(label: str, questions: Collection[Question], contract: Contract) -> list[Right]:
    """Return what Flink may do for a job: read the rows, write the results, and end its own transactions.

    To find those that were left open it lists them, and Kafka leaves out, without a word, what it may not describe; and
    it asks who writes to a topic, for which Kafka wants the right to read it.
    """
    written = [each.topic(contract) for each in questions]
    written += [each.tally_topic(contract) for each in questions if each.is_tallied]
    return [
        Right("topic", contract.topics.rows, ("read", "describe")),
        Right("group", consumer_group(label), ("read",)),
        *(Right("topic", topic, ("write", "describe", "read")) for topic in written),
        Right("transactional_id", f"streamproof-{label}-", ("write", "describe"), is_prefix=True),
    ]


def _take_back(cluster: Cluster, flink_id: str, *, interrupted: bool) -> None:
    """Cancel a job that may have reached the cluster, or be on its way to it."""
    if interrupted:
        end_jvm()  # it might be about to submit the job
    with suppress(StreamproofError):
        if cluster.wait_until_known(flink_id, _ON_ITS_WAY_S if interrupted else 0):
            cluster.cancel(flink_id)


def _configuration(options: JobOptions, flink: FlinkSettings, name: str, flink_id: str) -> dict[str, str]:
    host, _, port = flink.jobmanager.rpartition(":")
    configuration = PLANNING | {
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": host,
        "rest.port": port,
        "$internal.pipeline.job-id": flink_id,  # known beforehand, so that it can be recorded and taken back
        "pipeline.name": name,
        "pipeline.jars": connector_jar().as_uri(),
        "parallelism.default": str(options.parallelism),
        "execution.checkpointing.interval": f"{options.checkpoint_interval} ms",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    }
    if options.savepoint:
        configuration["execution.state-recovery.path"] = options.savepoint
    return configuration
