"""Waiting for what comes about elsewhere, and working one at a time."""

import subprocess
import sys
import threading

from streamproof.core.alone import alone
from streamproof.core.wait import wait_until

HOLD = """
import sys
from pathlib import Path
from streamproof.core.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_condition_is_asked_until_it_holds():
    answers = iter([False, None, "yes"])
    assert wait_until(lambda: next(answers), seconds=60, every=0.001)
    assert list(answers) == []


def test_a_condition_is_asked_once_where_there_is_no_time():
    asked = []
    assert not wait_until(lambda: asked.append(1), seconds=0)
    assert asked == [1]


def test_what_a_condition_raises_is_not_waited_for():
    def fails():
        raise KeyError

    try:
        wait_until(fails, seconds=60)
    except KeyError:
        return
    raise AssertionError


def test_a_lock_waits_for_the_end_of_the_process_that_holds_it_and_says_so_once(tmp_path):
    lock, told, entered = tmp_path / "new" / "lock", [], threading.Event()

    def enter():
        with alone(lock, lambda: told.append("waiting")):
            entered.set()

    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert wait_until(lambda: told, 60)
        assert not entered.is_set()
        holder.kill()
    waiting.join(60)
    assert (entered.is_set(), told) == (True, ["waiting"])
