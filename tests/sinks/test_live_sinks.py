"""A sink that is wanted beside the servers is kept running until they are stopped, and is part of each verdict."""

import pytest
from run_in_kafka import JudgedRun
from typer.testing import CliRunner
from waiting import PATIENCE, until

from streamproof.chain.start_servers import named_sinks
from streamproof.chain.supervise import SinkProcesses
from streamproof.cli import app
from streamproof.core.errors import UsageError
from streamproof.core.settings import HomeSettings, PostgresSettings
from streamproof.sinks.kept import kept_of
from streamproof.sinks.read_back import read_back
from streamproof.stack.live_sinks import end_live, keep_live, live_sinks

pytestmark = pytest.mark.usefixtures("own_servers")


@pytest.fixture
def sinks():
    processes = SinkProcesses()
    keep_live(named_sinks("postgres"))
    yield processes
    processes.end()
    end_live()
    processes.keep()
    assert not live_sinks()


def test_a_live_sink_that_is_killed_is_started_again(new_job, query, sinks):
    job = new_job()
    stored = f"SELECT count(*) FROM {job.stream}_sales"
    job.write([job.result(n) for n in range(500)])
    sinks.keep()
    until(lambda: query(f"SELECT to_regclass('{job.stream}_sales')")[0][0] and query(stored) == [(500,)])
    (process,) = sinks._processes.values()
    process.kill()
    process.wait(PATIENCE)
    job.write([job.result(n) for n in range(500, 900)])
    sinks.keep()
    until(lambda: query(stored) == [(900,)])


def test_a_run_that_a_live_sink_has_not_stored_is_not_proven(new_job, tmp_path, sinks):
    run = JudgedRun(new_job(run="live-run"), tmp_path)
    count = run.write()
    without = run.validate(read_back)
    assert not without.proven
    assert f"PostgreSQL: sales: {count} answers are missing" in without.reasons
    sinks.keep()
    verdict = run.validate(read_back, wait=PATIENCE)
    assert verdict.proven, verdict.reasons
    assert verdict.targets["PostgreSQL"].questions["sales"].right == count
    sinks.end()
    end_live()
    assert [kept.kind for kept in kept_of(run.run)] == ["postgres"], "the sink has noted it in the run's folder"


def test_a_database_that_cannot_be_read_back_leaves_the_run_unproven(new_job, tmp_path, sinks, monkeypatch):
    run = JudgedRun(new_job(run="unread-run"), tmp_path)
    run.write()
    assert sinks
    monkeypatch.setenv("STREAMPROOF_POSTGRES_DSN", "postgresql://u:s3cret@127.0.0.1:1/d")
    verdict = run.validate(read_back)
    (reason,) = verdict.reasons
    assert reason.startswith("PostgreSQL: cannot be read back: PostgreSQL at 127.0.0.1:1/d is away")
    assert "s3cret" not in verdict.model_dump_json()


def test_status_tells_where_the_database_is_and_not_its_password():
    settings, home = PostgresSettings(), HomeSettings()
    shown = CliRunner().invoke(app, ["status"]).output
    assert f"postgresql://streamproof@127.0.0.1:{settings.port}/streamproof, its password is in " in shown
    password = settings.password_file(home)
    assert password.read_text() not in shown
    assert password.stat().st_mode & 0o777 == 0o600


def test_a_sink_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match="there is no sink 'oracle': name one of postgres"):
        named_sinks("postgres, oracle")
