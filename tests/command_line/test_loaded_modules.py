"""What each command loads: its own stage, and not what others need."""

import os
import re
import subprocess
import sys

import pytest
import typer
from checkout import CHECKOUT

from streamproof.cli import app

SLOW = {"pyflink", "dash", "plotly", "pandas", "duckdb", "pyarrow", "numpy", "nipyapi", "confluent_kafka", "apprise"}
UNUSED = {"dns"}
BATCH = {"duckdb", "pyarrow", "numpy", "confluent_kafka"}
NEEDED = {
    "--help": set(),
    "replay ratings A={csv} --to stdout": set(),
    "contract draft --help": set(),
    "list": set(),
    "question list": set(),
    "question show rating_averages": set(),
    "submit --help": {"confluent_kafka"},
    "status": {"confluent_kafka"},
    "flow status ratings": {"nipyapi", "confluent_kafka"},
    "windows --help": BATCH,
    "audit nothing": BATCH,
    "alerts nothing": {"confluent_kafka"},
    "sink lake --help": {"confluent_kafka"},
    "alert receipts": {"confluent_kafka"},
    "alert backtest nothing A={csv}": {"confluent_kafka"} | BATCH,
    "alert deliver --help": {"confluent_kafka"},
    "report --help": BATCH | {"plotly"},
    "dashboard --help": BATCH | {"nipyapi"},
    "demo --help": BATCH | {"nipyapi", "pyflink"},
}


def commands(group, path=()):
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, typer.core.TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), group.commands[name], command


@pytest.mark.parametrize("line", NEEDED)
def test_a_command_loads_only_what_it_needs(line, tmp_path):
    csv = tmp_path / "a.csv"
    csv.write_text("u1,B,5.0,7200\n")
    # Nothing listens there: a command that asks a server says so, and has loaded what it asks with.
    nowhere = {
        "STREAMPROOF_HOME": str(tmp_path),
        "STREAMPROOF_FLINK_JOBMANAGER": "127.0.0.1:1",
        "NIFI_API_ENDPOINT": "http://127.0.0.1:1/nifi-api",
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "streamproof", *line.format(csv=csv).split()],
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    loaded = set(re.findall(r"^import time:.*\| +(\w+)$", done.stderr, re.MULTILINE))
    assert "streamproof.core" not in loaded  # the pattern finds whole packages
    assert {"streamproof", "typer"} <= loaded
    assert not loaded & UNUSED
    assert loaded & SLOW == NEEDED[line], done.stderr[-2000:]


def test_the_list_of_commands_says_of_each_what_its_own_help_says_first():
    said = {name: (listed.help, command.help) for name, listed, command in commands(typer.main.get_command(app))}
    assert {"replay", "flow status"} < set(said)
    assert {n: listed for n, (listed, _) in said.items()} == {n: text.split("\n\n")[0] for n, (_, text) in said.items()}


def test_a_command_that_there_is_not_is_answered_with_the_nearest():
    done = subprocess.run([sys.executable, "-m", "streamproof", "stats"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Did you mean 'status'?" in done.stderr


@pytest.mark.parametrize("line", ["--help", "status"])
@pytest.mark.parametrize("program", [["-m", "streamproof"], ["-c", "from streamproof.__main__ import main; main()"]])
def test_modules_of_the_users_own_in_pythonpath_change_nothing(program, line, tmp_path):
    for module in ("validation", "typer", "rich", "pydantic"):
        (tmp_path / f"{module}.py").write_text("raise RuntimeError('this is not the one')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "STREAMPROOF_HOME": str(tmp_path / "home")}
    command = [sys.executable, *program, line]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_started_does_not_see_the_users_pythonpath_but_the_checkout_in_it_stays(tmp_path):
    code = (
        "import os, sys; from streamproof.__main__ import ignore_pythonpath; ignore_pythonpath();"
        "print(os.environ.get('PYTHONPATH')); print(os.getcwd() in sys.path)"
    )

    def left(*folders):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert left(tmp_path) == ["None", "False"]
    assert left(tmp_path, CHECKOUT) == [str(CHECKOUT), "False"]
