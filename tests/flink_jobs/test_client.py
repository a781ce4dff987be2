"""Flink's client, a JVM of its own: it runs the Flink that comes with the project, whatever the environment names."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os
from flink_jobs.client import Session
before = dict(os.environ)
Session({}).execute("CREATE TEMPORARY VIEW v AS SELECT 1")
assert dict(os.environ) == before
"""


def plan(tmp_path, program=PROGRAM, **variables):
    environment = os.environ | {"STREAMPROOF_HOME": str(tmp_path)} | variables
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_another_flink_in_the_environment_changes_nothing(tmp_path):
    (tmp_path / "config.yaml").write_text("env.java.home: /nowhere\n")
    own = {name: str(tmp_path) for name in ("FLINK_HOME", "FLINK_CONF_DIR", "FLINK_LIB_DIR", "FLINK_OPT_DIR")}
    done = plan(tmp_path, **own, FLINK_ENV_JAVA_OPTS="-nonsense", PYFLINK_GATEWAY_DISABLED="true", SUBMIT_ARGS="-x")
    assert done.returncode == 0, done.stderr


def test_a_java_home_without_java_is_told_before_a_jvm_is_started(tmp_path):
    done = plan(tmp_path, STREAMPROOF_STACK_JAVA_HOME=str(tmp_path))
    assert done.stderr.splitlines()[-1].startswith(
        f"streamproof.core.errors.UsageError: STREAMPROOF_STACK_JAVA_HOME={tmp_path}: expected the home of a Java 21"
    )


GARBAGE = """
import threading
from pyflink import java_gateway
from flink_jobs.client import Session
session = Session({})
client = java_gateway.get_gateway()._gateway_client
ended = threading.Event()
def collect():
    while not ended.wait(0.001):
        client.garbage_collect_object("o999999")
threading.Thread(target=collect, daemon=True).start()
session.execute("CREATE TEMPORARY TABLE t (a BIGINT) WITH ('connector' = 'datagen')")
for _ in range(5):
    session.explain("SELECT a, COUNT(*) FROM t GROUP BY a")
ended.set()
"""


@pytest.mark.long
def test_garbage_of_another_thread_does_not_move_the_planner_to_another_thread_of_the_jvm(tmp_path):
    done = plan(tmp_path, GARBAGE)
    assert done.returncode == 0, done.stderr
