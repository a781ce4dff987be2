"""Only processes that the stack started are ever found or signalled."""

import subprocess
import sys

import psutil
import pytest

from streamproof.stack.process import MARK, Processes, Program, Record

SLEEPER = [sys.executable, "-c", "print('awake', flush=True); import time; time.sleep(600)"]


@pytest.fixture
def processes(tmp_path):
    processes = Processes(tmp_path)
    yield processes
    processes.stop("nifi", 5)


def start(processes, program):
    processes.start("nifi", program)
    return processes.find("nifi")


@pytest.fixture
def stranger():
    """A process that belongs to somebody else."""
    with subprocess.Popen(SLEEPER, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def remember(folder, record):
    (folder / "stack").mkdir()
    (folder / "stack" / "nifi.json").write_text(record.model_dump_json())


def test_a_part_is_found_by_another_command_and_stopped(tmp_path, processes):
    started = start(processes, Program(SLEEPER, tmp_path))
    assert Processes(tmp_path).find("nifi") == started
    processes.stop("nifi", 5)
    assert processes.find("nifi") is None
    assert not started.is_running()


def test_a_part_is_found_in_the_midst_of_being_replaced_by_the_program_that_it_executes(tmp_path, processes):
    again = tmp_path / "again.sh"
    # It comes to rest by itself: no test may leave a process behind that is busy for ever.
    again.write_text('#!/bin/sh\n[ "$1" -gt 0 ] || exec sleep 600\nexec "$0" $(($1 - 1))\n')
    again.chmod(0o755)
    started = start(processes, Program([str(again), "100000"], tmp_path))
    assert [processes.find("nifi") for _ in range(500)] == [started] * 500


def test_a_part_that_ignores_the_polite_signal_is_killed(tmp_path, processes):
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    started = start(processes, Program([sys.executable, "-c", deaf], tmp_path))
    while "deaf" not in processes.last_lines("nifi", 5):
        assert started.is_running()
    processes.stop("nifi", 0.2)
    assert not started.is_running()


def test_a_pid_file_from_before_a_reboot_counts_for_nothing(tmp_path, processes):
    remember(tmp_path, Record(pid=2**22 + 1, create_time=1.0))
    assert processes.find("nifi") is None


def test_a_pid_that_another_process_was_given_later_is_not_signalled(tmp_path, processes, stranger):
    remember(tmp_path, Record(pid=stranger.pid, create_time=psutil.Process(stranger.pid).create_time() - 3600))
    processes.stop("nifi", 1)
    assert stranger.poll() is None


def test_a_process_without_the_mark_of_this_home_is_not_signalled(tmp_path, processes, stranger):
    remember(tmp_path, Record(pid=stranger.pid, create_time=psutil.Process(stranger.pid).create_time()))
    processes.stop("nifi", 1)
    assert stranger.poll() is None


def test_a_part_that_was_killed_is_gone_and_its_next_start_counts_as_a_restart(tmp_path, processes):
    start(processes, Program(SLEEPER, tmp_path)).kill()
    while processes.find("nifi"):
        pass
    assert processes.has_ended("nifi")
    assert processes.record("nifi").restarts == 0
    processes.start("nifi", Program(SLEEPER, tmp_path))
    assert processes.record("nifi").restarts == 1


@pytest.mark.parametrize(
    ("script", "why"),
    [("exit 3", "ended with exit code 3"), ("kill -KILL $$", "killed by SIGKILL"), ("kill $$", "killed by SIGTERM")],
)
def test_another_command_can_tell_how_a_part_ended(tmp_path, processes, script, why):
    processes.start("nifi", Program(["sh", "-c", script], tmp_path))
    while processes.find("nifi"):
        pass
    assert Processes(tmp_path).why_ended("nifi").endswith(f"Z: {why}")
    processes.start("nifi", Program(SLEEPER, tmp_path))
    assert processes.record("nifi").last_end.endswith(why)


def test_a_part_that_was_stopped_has_not_ended_by_itself(tmp_path, processes):
    processes.start("nifi", Program(SLEEPER, tmp_path))
    processes.stop("nifi", 5)
    assert not processes.has_ended("nifi")
    processes.start("nifi", Program(SLEEPER, tmp_path))
    assert processes.record("nifi").restarts == 0


def test_leftovers_are_those_of_this_home_only(tmp_path, processes, stranger):
    started = start(processes, Program([*SLEEPER, "framework/Controller.py"], tmp_path))
    other = Processes(tmp_path / "other")
    (tmp_path / "other").mkdir()
    assert started in processes.leftovers("framework/Controller.py")
    assert not list(other.leftovers("framework/Controller.py"))
    assert psutil.Process(stranger.pid).environ().get(MARK) is None


def test_a_damaged_pid_file_is_as_good_as_none(tmp_path, processes):
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "nifi.json").write_text('{"pid": ')
    assert processes.find("nifi") is None


def test_a_part_is_stopped_also_where_the_disk_has_no_room_to_remember_it(tmp_path, processes, monkeypatch):
    started = start(processes, Program(SLEEPER, tmp_path))

    def is_full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as full:
        full.setattr("streamproof.stack.process.write_whole", is_full)
        processes.stop("nifi", 5)
    assert not started.is_running()
    assert not processes.has_ended("nifi")


def test_what_the_users_own_environment_says_of_python_and_flink_does_not_reach_a_server(
    tmp_path, processes, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("FLINK_HOME", "/opt/flink")
    monkeypatch.setenv("FLINK_CONF_DIR", "/opt/flink/conf")
    monkeypatch.setenv("MINE", "stays")
    environment = start(processes, Program(SLEEPER, tmp_path, {"FLINK_CONF_DIR": "own"})).environ()
    assert (environment["FLINK_CONF_DIR"], environment["MINE"]) == ("own", "stays")
    assert not environment.keys() & {"PYTHONPATH", "FLINK_HOME"}
