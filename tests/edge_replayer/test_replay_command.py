"""The command as a user types it: what is refused, and what it prints without a broker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import CHECKOUT
from typer.testing import CliRunner
from waiting import PATIENCE

from edge_replayer.cli import app
from streamproof.core.errors import UsageError

HOUR = 3_600_000
START = 1_704_067_200_000


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.csv").write_text("u1,B,5.0,7200\nu2,B,x,1\nu3,B,4.0,3600\nu4,C,1.0,3600\n")
    (tmp_path / "b.csv").write_text("v1,B,5.0,5400\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "bad.csv").write_text("user_id,product_id,rating,timestamp\nu,B,x,1\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"STREAMPROOF_HOME": str(folder / "home"), "STREAMPROOF_MQTT_PORT": "1"}
    command = [sys.executable, "-m", "edge_replayer", "ratings", *arguments]
    files = {"A=a.csv": f"A={folder}/a.csv", "B=b.csv": f"B={folder}/b.csv"}
    command = [files.get(word, word) for word in command]
    return subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def printed(folder: Path, *arguments: str) -> list[dict]:
    result = run(folder, *arguments, "--to", "stdout")
    assert result.returncode == 0, result.stderr
    return [row for row in map(json.loads, result.stdout.splitlines()) if row["seq"] > 0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["A=nowhere.csv"], "nowhere.csv: there is no such file"),
        (["A=/"], "/: is not a file"),
        (["A={}/empty.csv"], "empty.csv: the file is empty"),
        (["A=a.csv", "A=a.csv"], "'A' is named twice"),
        (["a.csv"], "write CATEGORY=FILE"),
        (["=a.csv"], "the category '' cannot"),
        (["A/B=a.csv"], "the category 'A/B' cannot"),
        (["A+=a.csv"], "the category 'A+' cannot"),
        (["#=a.csv"], "the category '#' cannot"),
        (["A=a.csv", "--limit", "0"], "--limit must be at least 1"),
        (["A=a.csv", "--loop", "--speed", "1"], "--loop goes with --rate or --interval only"),
        (["A=a.csv", "--rate", "1", "--speed", "1"], "one pace only"),
        (["A=a.csv", "--rate", "0"], "--rate 0: expected a number above 0"),
        (["A=a.csv", "--speed", "max"], "--speed max: expected a number above 0"),
        (["A=a.csv", "--interval", "5"], "'5' is not a duration"),
        (["A=a.csv", "--rate", "max", "--clock", "wall"], "virtual clock"),
        (["A=a.csv", "--start", "2024-01-01T00:00:00"], "the zone is missing"),
        (["A=a.csv", "--start", "soon"], "expected a time like 2024-01-01T00:00:00Z"),
        (["A=a.csv", "--run", "../x"], "cannot be a run's id"),
        (["A=a.csv", "--json", "--to", "stdout"], "choose one"),
        (["A=a.csv", "--in-flight", "70000"], "60000 at most"),
        (["A=a.csv", "--metrics", "here"], "--metrics here: expected a port"),
        (["A=a.csv", "--metrics", ":28060"], "--metrics :28060: expected a port"),
        (["A=a.csv", "--metrics", "0"], "--metrics 0: expected a port"),
        (["A=a.csv", "--metrics", "127.0.0.1:70000"], "--metrics 127.0.0.1:70000: expected a port"),
        ([], "name a stream and at least one CATEGORY=FILE"),
        (["--resume", "R"], "--resume RUN takes files and pace from the run"),
    ],
)
def test_wrong_use_is_refused_with_what_to_do(files, monkeypatch, arguments, text):
    monkeypatch.setenv("STREAMPROOF_HOME", str(files / "home"))
    monkeypatch.setenv("STREAMPROOF_MQTT_PORT", "1")
    arguments = [a.replace("=a.csv", f"={files}/a.csv").replace("{}", str(files)) for a in arguments]
    error = CliRunner().invoke(app, ["ratings", *arguments]).exception
    assert isinstance(error, UsageError)
    assert text in str(error)
    assert not (files / "home").exists()


def test_wrong_use_ends_with_code_2_and_no_traceback(files):
    result = run(files, "A=nowhere.csv")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: nowhere.csv: there is no such file\n"


def test_the_two_clocks_stamp_the_same_event_times(files):
    arguments = ("A=a.csv", "--interval", "1.5ms", "--start", "2024-01-01T00:00:00Z")
    wall, virtual = (printed(files, *arguments, "--clock", clock) for clock in ("wall", "virtual"))
    assert [row["event_time"] - START for row in wall] == [0, 1, 3]
    assert [row["event_time"] for row in virtual] == [row["event_time"] for row in wall]


def test_rate_max_is_the_virtual_clock_with_rows_a_millisecond_apart(files):
    rows = printed(files, "A=a.csv", "--rate", "max", "--start", "2024-01-01T02:00:00+02:00")
    assert [(row["user_id"], row["event_time"] - START) for row in rows] == [("u1", 0), ("u3", 1), ("u4", 2)]


def test_the_files_own_time_is_sent_in_the_order_of_time_and_line(files):
    rows = printed(files, "A=a.csv", "B=b.csv", "--speed", "1", "--clock", "virtual", "--batch-rows", "1")
    assert [row["user_id"] for row in rows] == ["u3", "u4", "v1", "u1"]
    assert [row["event_time"] for row in rows] == [HOUR, HOUR, 3 * HOUR // 2, 2 * HOUR]
    assert [row["seq"] for row in rows] == [1, 2, 1, 3]


def test_the_files_own_time_with_a_start_is_counted_from_the_earliest_of_all_categories(files):
    arguments = ("--speed", "7200", "--start", "2024-01-01T00:00:00Z", "--limit", "2", "--batch-rows", "1")
    rows = printed(files, "B=b.csv", "A=a.csv", *arguments)
    assert [(row["user_id"], row["event_time"] - START) for row in rows] == [("u3", 0), ("u4", 0), ("v1", 250)]


def test_a_loop_begins_anew_until_the_limit_and_reports_a_bad_row_once(files):
    result = run(files, "A=a.csv", "--rate", "max", "--loop", "--limit", "7", "--to", "stdout")
    rows = [row for row in map(json.loads, result.stdout.splitlines()) if row["seq"] > 0]
    assert [row["user_id"] for row in rows] == ["u1", "u3", "u4", "u1", "u3", "u4", "u1"]
    assert [row["seq"] for row in rows] == list(range(1, 8))
    assert result.stderr.count("line 2: rejected: rating") == 1


def test_a_strict_run_ends_at_the_first_bad_row_and_names_it(files):
    for pace in ("--rate", "--speed"):
        result = run(files, "A=a.csv", pace, "1000", "--strict", "--to", "stdout")
        assert result.returncode == 1
        assert "a.csv, line 2: rating: expected a number" in result.stderr


def test_files_without_a_single_fitting_row_are_an_error(files):
    result = run(files, f"A={files}/bad.csv", "--loop", "--rate", "max", "--to", "stdout")
    assert result.returncode == 1
    assert "no row of these files fits the contract" in result.stderr


def test_a_category_without_a_single_fitting_row_beside_a_good_one_is_an_error(files):
    result = run(files, "A=a.csv", f"BAD={files}/bad.csv", "--rate", "max", "--to", "stdout")
    assert result.returncode == 1
    assert "error: of BAD no row fits the contract: nothing was sent" in result.stderr
    assert len([line for line in result.stdout.splitlines() if json.loads(line)["seq"] > 0]) == 3


def test_a_reader_that_goes_away_ends_the_replay_quietly(files):
    command = [sys.executable, "-m", "edge_replayer", "ratings", f"A={files}/a.csv", "--rate", "max", "--loop"]
    with subprocess.Popen(
        [*command, "--to", "stdout"], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as replaying:
        replaying.stdout.readline()
        replaying.stdout.close()
        assert replaying.wait(PATIENCE) == 0
        assert b"Traceback" not in replaying.stderr.read()


@pytest.mark.long
@pytest.mark.parametrize("pace", ["--rate=max", "--speed=1"])
def test_a_large_file_is_streamed_in_little_memory(tmp_path, pace):
    big = tmp_path / "big.csv"
    with big.open("w") as file:
        file.writelines(f"A{n:013d},{n * 7919 % 10**10:010d},4.0,{n * 104729 % 10**9}\n" for n in range(1_000_000))
    program = (
        "import pathlib, re, runpy, sys\n"
        "try: runpy.run_module('edge_replayer', run_name='__main__')\n"
        # Not getrusage: its greatest size includes the parent's, from before exec.
        "finally:\n"
        "    status = pathlib.Path('/proc/self/status').read_text()\n"
        "    print(re.search(r'VmHWM:\\s+(\\d+)', status)[1], file=sys.stderr)\n"
    )
    arguments = ["ratings", f"A={big}", pace, "--clock", "virtual", "--to", "stdout"]
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert "1,000,000 rows" in result.stderr
    assert int(result.stderr.split()[-1]) < 300 * 1024
