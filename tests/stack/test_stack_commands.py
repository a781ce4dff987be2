"""The commands ``status`` and ``logs``: what programs read, and what people see."""

import json
import subprocess
import sys

PARTS = ("mosquitto", "kafka", "nifi", "jobmanager", "taskmanager-1", "taskmanager-2")


def stack(*arguments):
    command = [sys.executable, "-m", "streamproof", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_log(home, name, lines):
    (home / "logs").mkdir(parents=True)
    (home / "logs" / f"{name}.log").write_text("".join(f"line {number}\n" for number in range(1, lines + 1)))


def test_status_of_a_stopped_stack_is_one_json_document(own_environment):
    done = stack("status", "--json")
    assert done.returncode == 0
    stopped = {"pid": None, "healthy": False, "restarts": 0, "last_end": None, "given_up": None}
    assert json.loads(done.stdout) == {"parts": [{"name": n} | stopped for n in PARTS], "supervisor": None}
    assert not (own_environment / "stack").exists()


def test_status_for_people_has_a_line_for_each_part(own_environment):
    done = stack("status")
    *table, last = done.stdout.splitlines()
    assert [line.split()[0] for line in table] == ["part", *PARTS]
    assert last == "Nothing runs: `streamproof up` starts it."
    assert not own_environment.exists()


def test_logs_prints_the_last_lines(own_environment):
    write_log(own_environment, "kafka", 100)
    assert stack("logs", "kafka", "-n", "2").stdout == "line 99\nline 100\n"


def test_logs_of_a_part_that_never_ran_says_so(own_environment):
    done = stack("logs", "kafka")
    assert done.returncode == 2
    assert "kafka has no log yet" in done.stderr
    assert not own_environment.exists()


def test_logs_of_an_unknown_part_names_the_parts(own_environment):
    done = stack("logs", "zookeeper")
    assert done.returncode == 2
    assert all(name in done.stderr for name in PARTS)
    assert not own_environment.exists()


def test_down_of_a_stopped_stack_does_nothing(own_environment):
    done = stack("down")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (own_environment / "stack").exists()
