"""What ends by itself is started again, visibly; what keeps ending is given up. Mosquitto stands for all."""

import socket
import threading
import time

import psutil
import pytest
from waiting import eventually

from streamproof.core.alone import alone
from streamproof.core.settings import MqttSettings
from streamproof.stack import process as stack_process
from streamproof.stack import supervisor as stack_supervisor
from streamproof.stack.process import end
from streamproof.stack.servers import SUPERVISOR, Stack
from streamproof.stack.supervisor import ATTEMPTS, Supervisor


@pytest.fixture
def supervised(own_stack):
    """Mosquitto, looked after from within this process."""
    stop = threading.Event()
    own_stack.up(parts=("mosquitto",))
    looking = threading.Thread(target=Supervisor(own_stack).run, args=(stop,))
    looking.start()
    yield own_stack
    stop.set()
    looking.join(10)


def mosquitto(stack):
    return next(status for status in stack.status() if status.name == "mosquitto")


def kill(stack):
    process = stack.processes.find("mosquitto")
    process.kill()
    process.wait(10)


def test_a_part_that_was_killed_works_again_and_status_tells_how_often_and_why(supervised):
    first = mosquitto(supervised)
    assert (first.restarts, first.last_end) == (0, None)
    for times in (1, 2):
        kill(supervised)

        def works_again(times=times):
            assert (mosquitto(supervised).healthy, mosquitto(supervised).restarts) == (True, times)

        eventually(works_again)
    assert mosquitto(supervised).pid != first.pid
    assert mosquitto(supervised).last_end.endswith("Z: killed by SIGKILL")


def test_a_part_that_is_restarted_on_purpose_again_and_again_has_not_ended_by_itself(supervised, monkeypatch, capsys):
    def end_slowly(process, seconds):
        end(process, seconds)
        time.sleep(3 * stack_supervisor._LOOK)  # so that the supervisor looks when it has ended

    monkeypatch.setattr(stack_process, "end", end_slowly)
    for _ in range(ATTEMPTS + 1):
        supervised.down(parts=("mosquitto",))
        supervised.up(parts=("mosquitto",))
    assert "by itself" not in capsys.readouterr().err
    kill(supervised)

    def works_again():
        assert (mosquitto(supervised).healthy, mosquitto(supervised).restarts) == (True, 1)

    eventually(works_again)


def test_a_part_that_was_stopped_stays_so(supervised):
    supervised.down(parts=("mosquitto",))
    assert not supervised.processes.has_ended("mosquitto")
    assert not supervised.start_again("mosquitto")
    assert mosquitto(supervised).pid is None


def test_a_part_that_keeps_ending_is_given_up_with_the_end_of_its_log_until_it_is_started_by_hand(
    supervised, monkeypatch, capsys
):
    monkeypatch.setattr(stack_supervisor, "ATTEMPTS", 2)
    with socket.socket() as taken:
        supervised.processes.stop("mosquitto", 10)
        supervised.up(parts=("mosquitto",))
        with alone(supervised._home / "lock"):
            kill(supervised)
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", MqttSettings().port))
            taken.listen()

        def given_up():
            assert "Address already in use" in (mosquitto(supervised).given_up or "")

        eventually(given_up)
        found = mosquitto(supervised)
        assert found.pid is None
        assert found.last_end.endswith("ended with exit code 1")
    told = capsys.readouterr().err
    assert told.count("mosquitto ended by itself") == 2
    assert "mosquitto ended 3 times in a row and is given up" in told
    supervised.up(parts=("mosquitto",))
    assert mosquitto(supervised).given_up is None


def test_a_command_that_a_part_needs_when_it_is_back_is_run_until_it_succeeds(own_stack, tmp_path):
    stop = threading.Event()
    once = f"test -e {tmp_path}/first && touch {tmp_path}/second || {{ touch {tmp_path}/first; exit 1; }}"
    own_stack.up(parts=("mosquitto",))
    looking = threading.Thread(target=Supervisor(own_stack, {"mosquitto": ["sh", "-c", once]}).run, args=(stop,))
    looking.start()
    try:
        kill(own_stack)

        def succeeded():
            assert (tmp_path / "second").exists()

        eventually(succeeded)
    finally:
        stop.set()
        looking.join(10)


def test_up_leaves_one_supervisor_behind_and_down_ends_it_first(own_stack):
    command = ["sleep", "600"]
    own_stack.up(parts=("mosquitto",))
    own_stack.supervise(command)
    first = own_stack.supervisor()
    Stack.from_environment().supervise(command)
    assert own_stack.supervisor() == first
    own_stack.down(parts=("mosquitto",))
    assert own_stack.supervisor() == first
    own_stack.down()
    assert own_stack.supervisor() is None
    assert not psutil.pid_exists(first)
    assert own_stack.processes.record(SUPERVISOR) is None
