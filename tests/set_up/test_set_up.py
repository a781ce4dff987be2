"""The set-up before there is a Python environment: what it says, and where the rest goes."""

import os
import subprocess

import pytest
from checkout import CHECKOUT


@pytest.fixture
def tools(tmp_path):
    """A folder of programs that come first, to be filled by a test."""
    folder = tmp_path / "tools"
    folder.mkdir()

    def add(name, text):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

    add("talk", 'for line in $(seq "$1"); do echo "line $line"; done')
    return add


def only(tmp_path, *names):
    """Put some of the system's programs among the tools, for a set-up that finds no others."""
    for name in names:
        (tmp_path / "tools" / name).symlink_to(f"/bin/{name}")


def set_up(tmp_path, *arguments, path=None):
    return subprocess.run(
        [CHECKOUT / "set-up", arguments[0], tmp_path / "venv", *arguments[1:]],
        cwd=CHECKOUT,
        env={"PATH": path or f"{tmp_path / 'tools'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


PYTHON = """
test "$1" = -m || exit 0
mkdir -p "$3/bin"
for name in pip uv; do cp "$(command -v talk_or_fail)" "$3/bin/$name"; done
"""


def test_each_step_is_a_line_and_the_log_has_the_rest(tmp_path, tools):
    tools("own_python", PYTHON)
    tools("talk_or_fail", "talk 200")
    done = set_up(tmp_path, "environment", "own_python")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line.split(" … ")[0].split()[0] for line in lines] == ["making", "installing", "installing", "installing"]
    assert all(line.endswith(" s") for line in lines)
    assert done.stdout == ""
    assert (tmp_path / "venv" / "setup.log").read_text().count("line 200\n") == 3


def test_a_step_that_fails_shows_its_end_and_names_the_log(tmp_path, tools):
    tools("own_python", PYTHON)
    tools("talk_or_fail", 'case "$*" in *sync*) talk 100; exit 7;; *) echo "another step";; esac')
    done = set_up(tmp_path, "environment", "own_python")
    assert done.returncode == 1
    assert "Python packages … failed\nline 86\n" in done.stderr
    assert f"line 100\n\nThese are the last lines of {tmp_path / 'venv' / 'setup.log'}." in done.stderr
    assert "another step" not in done.stderr


def test_another_python_is_refused_before_anything_is_made(tmp_path, tools):
    tools("own_python", 'test "$1" = --version && echo Python 3.13.1; exit 1')
    done = set_up(tmp_path, "environment", "own_python")
    assert done.returncode == 2
    assert "found: Python 3.13.1" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_a_browser_that_cannot_be_installed_is_one_to_install_by_hand(tmp_path, tools):
    tools("id", "echo 1000")
    only(tmp_path, "mkdir", "sh")
    done = set_up(tmp_path, "browser", path=str(tmp_path / "tools"))
    assert done.returncode == 2
    assert "sudo apt-get install chromium" in done.stderr


def test_a_browser_that_is_there_is_not_installed_again(tmp_path, tools):
    tools("chromium", "exit 1")
    tools("apt-get", "exit 1")
    done = set_up(tmp_path, "browser")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_model_checker_that_cannot_be_installed_stops_nothing(tmp_path, tools):
    tools("id", "echo 0")
    tools("apt-get", 'echo "$*"; exit 1')
    only(tmp_path, "mkdir", "sh", "date", "sed", "wc", "tail")
    done = set_up(tmp_path, "checker", path=str(tmp_path / "tools"))
    assert done.returncode == 0
    assert done.stderr.startswith("installing spin gcc libc6-dev with apt … failed")


def test_root_gets_the_browser_from_the_package_manager(tmp_path, tools):
    tools("id", "echo 0")
    tools("apt-get", 'echo "$*"')
    only(tmp_path, "mkdir", "sh", "date", "sed", "wc", "tail")
    done = set_up(tmp_path, "browser", path=str(tmp_path / "tools"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("installing chromium with apt …")
    assert "update\ninstall -y --no-install-recommends chromium\n" in (tmp_path / "venv" / "setup.log").read_text()
