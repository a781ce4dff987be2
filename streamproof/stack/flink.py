"""Flink: one JobManager and two TaskManagers, run straight from the files of the PyPI package."""

import os
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from streamproof.core.errors import StreamproofError
from streamproof.core.settings import FlinkSettings
from streamproof.stack.artifacts import Store, read_lock
from streamproof.stack.authority import INTERNAL, OPERATOR, Authority
from streamproof.stack.configuration import render
from streamproof.stack.java import java_command
from streamproof.stack.part import Part
from streamproof.stack.process import Program
from streamproof.stack.rest import rest_client
from streamproof.stack.settings import Address, StackSettings, loopback_address

TASKMANAGERS = ("taskmanager-1", "taskmanager-2")
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - where Flink's reporter listens, if it is switched on
_OFF_HEAP = 128
_METASPACE = 256

# What Flink's own start script gives a Java above 17: reflection into these packages, and a security manager.
_OPENED = (
    "java.base/java.lang",
    "java.base/java.net",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/sun.nio.ch",
    "java.base/java.lang.reflect",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
)


def flink_parts(  # noqa: PLR0917 - as the other parts have it
    home: Path,
    cache: Path,
    store: Store,
    flink: FlinkSettings,
    settings: StackSettings,
    authority: Authority | None = None,
) -> list[Part]:
    """Describe the cluster whose JobManager's REST interface is at ``flink.jobmanager``."""
    folder = home / "flink"
    rest = loopback_address(flink.jobmanager, "STREAMPROOF_FLINK_JOBMANAGER")
    rpc = Address(rest.host, settings.flink_rpc_port, "STREAMPROOF_STACK_FLINK_RPC_PORT")

    def metrics(name: str) -> tuple[Address, ...]:
        if settings.flink_metrics_port is None:
            return ()
        port = settings.flink_metrics_port + ("jobmanager", *TASKMANAGERS).index(name)
        return (Address(_EVERY_ADDRESS, port, "STREAMPROOF_STACK_FLINK_METRICS_PORT"),)

    def program(name: str, main: str, heap: int, *options: str) -> Program:
        temporary = folder / "tmp" / name
        for needed in (temporary, folder / "checkpoints", folder / "savepoints"):
            needed.mkdir(parents=True, exist_ok=True)
        configuration = render(
            "flink.yaml",
            folder / name / "config.yaml",
            name=name,
            rest=rest,
            rpc_port=settings.flink_rpc_port,
            metrics=metrics(name),
            settings=settings,
            off_heap=_OFF_HEAP,
            metaspace=_METASPACE,
            checkpoints=(folder / "checkpoints").as_uri(),
            savepoints=(folder / "savepoints").as_uri(),
            temporary=temporary,
            tls=authority and authority.folder,
            password=authority and authority.password,
            fingerprints=authority and ",".join(authority.fingerprint(name) for name in (OPERATOR, "flink")),
        ).parent
        log4j = render("flink-log4j.properties", configuration / "log4j-console.properties")
        jars = os.pathsep.join(str(jar) for jar in sorted(flink_library(cache, store).glob("*.jar")))
        options += (
            *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED),
            "-Djava.security.manager=allow",
            f"-Dlog4j.configurationFile=file:{log4j}",
            f"-Dlog.file={home / 'logs' / name}.log",  # so that Flink's page shows it
        )
        java = java_command(settings, heap, *options, "-cp", jars)
        environment = {"FLINK_CONF_DIR": str(configuration), "FLINK_PLUGINS_DIR": str(_distribution() / "plugins")}
        return Program([*java, main, "--configDir", str(configuration)], folder, environment)

    def jobmanager() -> Program:
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        return program("jobmanager", main, settings.flink_jobmanager_heap)

    def jobmanager_healthy() -> bool:
        return rest_client(flink.tls).get(f"{flink.url}/overview").is_success

    def taskmanager(name: str) -> Program:
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        direct = f"-XX:MaxDirectMemorySize={settings.flink_network + _OFF_HEAP}m"
        heap = settings.flink_taskmanager_heap
        young = f"-Xmn{heap // 2}m"  # a window's state lives for seconds: each collection that finds it there copies it
        return program(name, main, heap, direct, f"-XX:MaxMetaspaceSize={_METASPACE}m", young)

    def taskmanager_healthy(name: str) -> bool:
        answer = rest_client(flink.tls).get(f"{flink.url}/taskmanagers").raise_for_status()
        heard = {each["id"]: each["timeSinceLastHeartbeat"] for each in answer.json()["taskmanagers"]}
        # Despite its name it is a moment (ms since the epoch). One before the start is of a dead namesake.
        started = (folder / name / "config.yaml").stat().st_mtime * 1000
        return bool(heard.get(name, 0) > started)

    addresses = (rest, rpc, *metrics("jobmanager"))
    parts = [
        Part("jobmanager", ("flink",), addresses, 400, jobmanager, jobmanager_healthy),
        *(
            Part(name, ("flink",), metrics(name), 500, partial(taskmanager, name), partial(taskmanager_healthy, name))
            for name in TASKMANAGERS
        ),
    ]
    if authority is None:
        return parts
    # The operator's, too: the cluster lets it in by its digest.
    certificates = tuple(authority.folder / f"{name}.pem" for name in ("flink", INTERNAL, OPERATOR))
    return [replace(part, certificates=certificates) for part in parts]


def flink_library(cache: Path, store: Store) -> Path:
    """Return the folder of Flink's jars with the Kafka connector among them: ``CACHE/flink/VERSION/lib``."""
    own = sorted((_distribution() / "lib").glob("*.jar"))
    added = [store.path(artifact) for artifact in read_lock() if artifact.part == "flink"]
    version = next(jar.stem.removeprefix("flink-dist-") for jar in own if jar.stem.startswith("flink-dist-"))
    library = cache / "flink" / version / "lib"
    library.mkdir(parents=True, exist_ok=True)
    wanted = {jar.name: jar for jar in (*own, *added)}
    for stale in library.iterdir():
        if stale.name not in wanted or stale.resolve() != wanted[stale.name].resolve():
            stale.unlink()
    for name, jar in wanted.items():
        if not (library / name).exists():
            (library / name).symlink_to(jar.resolve())
    return library


def _distribution() -> Path:
    spec = find_spec("pyflink")
    if spec is None or not spec.submodule_search_locations:
        raise StreamproofError("the Python package apache-flink is not installed: run `make setup`")
    return Path(spec.submodule_search_locations[0])
