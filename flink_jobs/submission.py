"""A job on its way to the cluster: what the user may choose, what is checked first, and the submission."""

import uuid
from dataclasses import dataclass

from flink_jobs.client import connector_jar, run_statements
from flink_jobs.cluster import Cluster
from flink_jobs.offsets import Start, start_offsets
from flink_jobs.tables import JOBS, job_statements
from flink_jobs.window import Window
from streams.contract import Contract, load_contract
from streams.errors import StreamproofError, UsageError
from streams.settings import FlinkSettings, KafkaSettings


@dataclass(frozen=True)
class JobOptions:
    """What a submission may choose.

    Attributes:
        window: the window's shape.
        parallelism: how many slots of the cluster the job takes.
        run: the run to follow, whose clock may lie anywhere; None follows all runs as they come, by one clock.
        start: where in the rows topic to begin; None is ``earliest`` for a run, ``latest`` otherwise.
        checkpoint_interval: milliseconds; windows become visible to ``read_committed`` readers at a checkpoint.
        contract: the stream; None is the one that the job is made for.
        savepoint: the path of a savepoint to go on from, as the cluster sees it; it then decides where to begin.

    """

    window: Window
    parallelism: int = 2
    run: str | None = None
    start: Start | None = None
    checkpoint_interval: int = 1000
    contract: Contract | None = None
    savepoint: str | None = None


@dataclass(frozen=True)
class Submitted:
    """A job that runs: its id (the ``job`` of its windows), its name, and its page in Flink's web interface."""

    job: str
    name: str
    page: str


def submit(
    job: str, options: JobOptions, flink: FlinkSettings | None = None, kafka: KafkaSettings | None = None
) -> Submitted:
    """Submit a job and return as soon as all its tasks run.

    Delivery: rows at least once in, windows exactly once out, in Kafka transactions that each checkpoint commits.

    Raises:
        UsageError: there is no such job.
        StreamproofError: JobManager or Kafka cannot be reached, no slots are free, or Flink refuses the job.

    """
    if job not in JOBS:
        raise UsageError(f"there is no job {job!r}: name one of {', '.join(sorted(JOBS))}")
    flink, kafka = flink or FlinkSettings(), kafka or KafkaSettings()
    contract = options.contract or load_contract(JOBS[job])
    cluster = Cluster(flink)
    _check_slots(cluster, options.parallelism)
    start = options.start if options.start is not None else "earliest" if options.run else "latest"
    offsets = start_offsets(contract, kafka, start)
    source = {
        "scan.startup.mode": "specific-offsets",
        "scan.startup.specific-offsets": ";".join(f"partition:{p},offset:{o}" for p, o in sorted(offsets.items())),
    }
    if options.parallelism > len(offsets):
        # A source task without a partition never has a watermark and would hold back everybody's.
        source["scan.parallelism"] = str(len(offsets))
    job_id = uuid.uuid4().hex
    name = f"{job} {contract.name} {options.window} {f'run {options.run}' if options.run else 'live'}"
    statements = job_statements(
        job,
        contract,
        options.window,
        job_id=job_id,
        run=options.run,
        kafka_servers=kafka.servers_for_cluster,
        source_options=source,
    )
    run_statements(statements, _configuration(options, flink, name, job_id))
    cluster.wait_until_running(job_id)
    return Submitted(job_id, name, cluster.page(job_id))


def _check_slots(cluster: Cluster, parallelism: int) -> None:
    if parallelism < 1:
        raise UsageError(f"a parallelism of {parallelism} makes no sense: at least 1")
    if (free := cluster.free_slots()) < parallelism:
        raise StreamproofError(
            f"Flink at {cluster.address} has {free} free slots, parallelism {parallelism} needs {parallelism}: "
            "cancel a job (`list` shows them), start another TaskManager, or choose a lower --parallelism"
        )


def _configuration(options: JobOptions, flink: FlinkSettings, name: str, job_id: str) -> dict[str, str]:
    host, _, port = flink.jobmanager.rpartition(":")
    configuration = {
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": host,
        "rest.port": port,
        "$internal.pipeline.job-id": job_id,  # so that results, transactions and Flink's page name the same job
        "pipeline.name": name,
        "pipeline.jars": connector_jar().as_uri(),
        "pipeline.object-reuse": "true",
        "parallelism.default": str(options.parallelism),
        "table.local-time-zone": "UTC",  # else window bounds are in the client's zone
        "execution.checkpointing.interval": f"{options.checkpoint_interval} ms",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    }
    if options.savepoint:
        configuration["execution.state-recovery.path"] = options.savepoint
    return configuration
