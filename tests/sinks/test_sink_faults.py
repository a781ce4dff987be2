"""What goes wrong between a sink and PostgreSQL is said, loses nothing, and leaves nothing half-written."""

import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import psutil
import pytest
from confluent_kafka.admin import AdminClient
from free_ports import free_ports
from pydantic import SecretStr
from typer.testing import CliRunner
from waiting import PATIENCE, until

from streamproof.cli import app
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import HomeSettings, PostgresSettings
from streamproof.core.topics import ensure_topics
from streamproof.sinks.postgres import where
from streamproof.sinks.target import FencedError, TargetAwayError
from streamproof.stack.servers import Stack

pytestmark = pytest.mark.usefixtures("own_servers")


def shown(job):
    return f"{job.stream}_sales"


def in_view(query, job):
    return query(f"SELECT count(*), count(DISTINCT (window_start, item)) FROM {shown(job)}")[0]


@contextmanager
def running(job, **limits):
    """Run a sink in a thread, as long as a test works."""
    stop, ended = threading.Event(), []
    target = job.database()

    def work():
        try:
            job.sink(target, **limits).run(stop)
        except StreamproofError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        thread.join()
        target.close()


@pytest.mark.parametrize(
    "dsn",
    ["postgresql://u:s3cret@h:port/d", "s3cret", "postgresql://u:p@s3cret@localhost/d", "s3cret=x host=localhost"],
)
def test_a_dsn_that_cannot_be_read_is_refused_without_being_printed(dsn):
    with pytest.raises(UsageError, match="STREAMPROOF_POSTGRES_DSN cannot be read") as refused:
        where(SecretStr(dsn))
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (("streamproof:", "nobody:"), UsageError, "refuses: .*password authentication failed"),
        (("{port}/streamproof", "{port}/missing"), UsageError, 'database "missing" does not exist'),
        (("127.0.0.1:{port}", "127.0.0.1:{free}"), TargetAwayError, "is away: .*[Cc]onnection refused"),
    ],
)
def test_a_dsn_that_leads_nowhere_is_an_error_that_says_why(new_job, change, error, says):
    settings = PostgresSettings()
    dsn = settings.connection(HomeSettings()).get_secret_value()
    ports = {"port": settings.port, "free": free_ports(1)[0]}
    wrong = dsn.replace(*(text.format(**ports) for text in change))
    assert wrong != dsn
    with pytest.raises(error, match=says) as refused:
        new_job().database(dsn=SecretStr(wrong))
    assert dsn.split(":")[2].split("@")[0] not in str(refused.value)


def test_a_database_whose_tables_are_of_another_shape_is_refused(new_job, query):
    job = new_job()
    job.write([job.result(n) for n in range(10)])
    query(f"CREATE TABLE {shown(job)}_v1 (something text)")
    with pytest.raises(UsageError, match=f'"{shown(job)}_v1" already exists: its tables are of another shape'):
        job.store()
    query(f"DROP TABLE {shown(job)}_v1")
    assert job.store() == 10
    query(f"ALTER TABLE {shown(job)}_v1 RENAME sales TO sold")
    job.write([job.result(10)])
    with pytest.raises(UsageError, match=r'column "sales" of relation .* does not exist'):
        job.store()
    query(f"ALTER TABLE {shown(job)}_v1 RENAME sold TO sales")
    assert job.store() == 1


def test_the_second_of_two_writers_is_refused_by_the_database(new_job, query):
    job = new_job()
    job.write([job.result(n) for n in range(100)])
    with closing(job.database()) as first, closing(job.database()) as second:
        assert job.sink(first).run(threading.Event(), lambda: True) == 100
        stale = job.sink(second)
        second.places = dict  # as it was before the first one wrote
        with pytest.raises(FencedError, match="another sink has stored what follows"):
            stale.run(threading.Event(), lambda: True)
    assert in_view(query, job) == (100, 100)


def test_a_batch_whose_answer_was_lost_is_not_stored_again(new_job, query):
    job = new_job()
    job.write([job.result(n) for n in range(100)])
    with closing(job.database()) as target:
        store, places, lost = target.store, target.places, []

        def store_and_lose_the_answer(*batch):
            store(*batch)
            if not lost:
                lost.append("store")
                raise TargetAwayError("the connection was lost")

        def places_when_it_is_back():
            if lost == ["store"]:
                lost.append("places")
                raise TargetAwayError("it starts up")
            return places()

        target.store, target.places = store_and_lose_the_answer, places_when_it_is_back
        assert job.sink(target).run(threading.Event(), lambda: True) == 100
    assert lost == ["store", "places"]
    assert in_view(query, job) == (100, 100)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"sales": 2**63}, "out of range .*/5, column sales"),
        ({"turnover": "much"}, "numeric.*/5, column turnover"),
        ({"item": "a\0b"}, "0x00.*/5"),
        ({"last_sold": "yesterday evening"}, "timestamp.*/5, column last_sold"),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_nothing_of_its_batch_is_stored(new_job, query, values, says):
    job = new_job()
    ensure_topics([job.topic], job.kafka)
    results = [job.result(n) for n in range(10)]
    results[5] |= values
    job.write(results, partition=0)
    with pytest.raises(StreamproofError, match=says):
        job.store()
    assert query(f"SELECT to_regclass('{shown(job)}')") == [(None,)]
    assert query(f"SELECT count(*) FROM streamproof_places WHERE topic = '{job.topic}'") == [(0,)]


def test_what_is_no_result_is_kept_aside_with_its_reason(new_job, query, capsys):
    job = new_job()
    job.write([job.result(1), b"{", job.result(2, question="sales@0"), job.result(3)], partition=0)
    assert job.store() == 4
    assert query(f"SELECT sales FROM {shown(job)} ORDER BY 1") == [(1,), (3,)]
    refused = query(f"SELECT kafka_offset, reason FROM streamproof_refused WHERE topic = '{job.topic}' ORDER BY 1")
    assert [offset for offset, _ in refused] == [1, 2]
    assert refused[1][1] == "no job that this machine knows was asked 'sales@0'"
    assert "fits no table" in capsys.readouterr().err


def test_another_text_of_a_question_has_a_table_of_its_own(new_job, query, capsys):
    job = new_job()
    job.write([job.result(n) for n in range(10)])
    job.store()
    changed = new_job(stream=job.stream, question=job.question.text.replace("mean", "average"), run="r2")
    changed.write([changed.result(n, average=1.5) for n in range(7)])
    changed.store()
    assert (
        f"{changed.question.label} is new, or has other columns: it has a table of its own" in capsys.readouterr().err
    )
    assert query(f"SELECT count(*), max(average), max(run) FROM {shown(job)}") == [(7, 1.5, "r2")]
    assert query(f"SELECT count(*) FROM {shown(job)}_v1") == [(10,)]


def test_only_the_newest_job_of_a_run_is_shown(new_job, query):
    job = new_job()
    job.write([job.result(n) for n in range(10)])
    newer = new_job(stream=job.stream, run=job.run, label="f" * 32)
    newer.write([newer.result(n) for n in range(4)])
    newer.store()
    assert in_view(query, job) == (4, 4)
    assert query(f"SELECT count(*) FROM {shown(job)}_v1") == [(14,)]


def test_a_database_that_is_killed_is_waited_for(new_job, query, own_servers, capsys):
    job, count = new_job(), 60_000
    job.write(job.result(n) for n in range(count))
    with running(job, rows=1000) as ended:
        until(lambda: query(f"SELECT to_regclass('{shown(job)}')")[0][0] and in_view(query, job)[0], look=0.01)
        for _ in range(2):
            server = own_servers.processes.find("postgres")
            server.kill()
            server.wait(PATIENCE)
            until(lambda: start(own_servers))
        until(lambda: in_view(query, job)[0] == count)
        assert not ended
    assert in_view(query, job) == (count, count)
    assert "answers again" in capsys.readouterr().err


def start(stack):
    """Start PostgreSQL; what a killed one has left behind may hold it up for a moment."""
    try:
        stack.up(parts=("postgres",))
    except StreamproofError:
        return False
    return True


@pytest.mark.long
def test_a_kafka_that_is_killed_is_waited_for(new_job, query, own_servers):
    job = new_job()
    job.write([job.result(n) for n in range(1000)])
    with running(job) as ended:
        until(lambda: query(f"SELECT to_regclass('{shown(job)}')")[0][0] and in_view(query, job)[0] == 1000)
        server = own_servers.processes.find("kafka")
        server.kill()
        server.wait(PATIENCE)
        own_servers.up(parts=("kafka",))
        job.write([job.result(n) for n in range(1000, 2000)])
        until(lambda: in_view(query, job)[0] == 2000 or ended)
        assert not ended
    assert in_view(query, job) == (2000, 2000)


def test_records_that_kafka_has_no_more_are_missed_aloud(new_job):
    job = new_job()
    job.write([job.result(n) for n in range(10)])
    job.store()
    admin = AdminClient({"bootstrap.servers": job.kafka.servers})
    admin.delete_topics([job.topic])[job.topic].result(PATIENCE)
    until(lambda: ensure_topics([job.topic], job.kafka))
    with pytest.raises(StreamproofError, match="the topic was made anew, or it is another Kafka"):
        job.store()


@contextmanager
def small_disk(folder, size):
    """Mount a file system in memory that is soon full."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if done.returncode:
        pytest.skip("a small file system can be made by root alone, where mounts are allowed")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.long
def test_a_disk_that_is_full_is_waited_for(new_job, query, tmp_path, monkeypatch, capsys):
    home, folder = tmp_path / "home", tmp_path / "home" / "postgres"
    with small_disk(folder, "130m"):
        monkeypatch.setenv("STREAMPROOF_HOME", str(home))
        monkeypatch.setenv("STREAMPROOF_POSTGRES_PORT", str(free_ports(1)[0]))
        stack = Stack.from_environment()
        try:
            stack.up(parts=("postgres",))
            job, count = new_job(), 300_000
            job.write(job.result(n) for n in range(count))
            said = ""
            with running(job, rows=20_000) as ended:

                def is_full():
                    nonlocal said
                    said += capsys.readouterr().err
                    return ended or "trying again" in said

                until(is_full)
                assert not ended
                subprocess.run(["mount", "-o", "remount,size=600m", str(folder)], check=True)
                until(lambda: start(stack))  # it may have ended, which the supervisor would see to
                until(lambda: in_view(query, job)[0] == count)
            assert in_view(query, job) == (count, count)
        finally:
            stack.down()


@pytest.mark.long
def test_while_the_database_is_away_memory_does_not_grow(new_job, query, own_servers):
    job = new_job()
    job.write([job.result(0)])
    job.store()
    server = own_servers.processes.find("postgres")
    command = [sys.executable, "-m", "streamproof.sinks", "postgres"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as sink:
        assert "storing in" in sink.stderr.readline()
        server.kill()
        server.wait(PATIENCE)
        sizes, written = [], 1
        for _ in range(3):
            job.write(job.result(n) for n in range(written, written + 80_000))
            written += 80_000
            until(lambda: psutil.Process(sink.pid).cpu_percent(1) < 20)
            sizes.append(psutil.Process(sink.pid).memory_info().rss // 2**20)
        until(lambda: start(own_servers))
        until(lambda: in_view(query, job)[0] == written)
        sink.kill()
    assert in_view(query, job) == (written, written)
    assert sizes[2] - sizes[0] < 40, sizes


def test_a_sink_of_a_run_that_is_unknown_says_so():
    done = CliRunner().invoke(app, ["sink", "postgres", "--run", "never"])
    assert isinstance(done.exception, UsageError)
    assert "there is no run 'never'" in str(done.exception)
