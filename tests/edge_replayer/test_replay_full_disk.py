"""A disk that is full, and a home that cannot be written: told clearly; what was begun can go on, or begin anew."""

import errno
import os
import subprocess
import sys
from fractions import Fraction

import pytest

from edge_replayer.options import ReplayOptions
from edge_replayer.replay import replay, resume
from streamproof.core.disk import explain
from streamproof.core.run import Run, load_run


@pytest.fixture
def options(tmp_path, ratings):
    file = tmp_path / "a.csv"
    file.write_text("".join(f"u{n},B{n % 7},4.0,{n}\n" for n in range(1, 2_001)))
    return ReplayOptions(
        contract=ratings,
        files={"A": file},
        interval=Fraction(1),
        clock="virtual",
        confirm="broker",
        run="mine",
        batch_rows=10,
    )


def fill_disk(monkeypatch, when):
    """Have the manifest fail to be written from the first time on that its run is as ``when`` says."""
    save, full = Run.save, []

    def refuse(run, home):
        if full or when(run):
            full.append(run)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(home.runs))
        save(run, home)

    monkeypatch.setattr(Run, "save", refuse)


def test_a_run_whose_disk_was_full_from_the_beginning_leaves_its_id_free(broker, home, options, monkeypatch):
    with monkeypatch.context() as full:
        fill_disk(full, lambda _: True)
        with pytest.raises(OSError, match="No space left") as raised:
            replay(options, home, broker.settings)
    assert "make room" in explain(raised.value)
    assert "--resume" not in explain(raised.value)
    assert list(home.runs.iterdir()) == []
    assert replay(options, home, broker.settings).state == "finished"


@pytest.mark.parametrize("moment", ["began", "end"])
def test_a_run_whose_disk_became_full_says_how_it_goes_on_and_does(broker, home, options, monkeypatch, moment):
    with monkeypatch.context() as full:
        fill_disk(full, lambda run: getattr(run, moment) is not None)
        with pytest.raises(OSError, match="No space left") as raised:
            replay(options, home, broker.settings)
    assert explain(raised.value).endswith("; after that `streamproof replay --resume mine` goes on")
    assert not load_run("mine", home).ended
    run = resume("mine", home, broker.settings)
    assert (run.state, run.rows["A"].sent, run.rows["A"].confirmed) == ("finished", 2_000, 2_000)


def test_room_that_is_made_while_the_run_ends_does_not_mark_its_end(broker, home, options, monkeypatch):
    save, failed = Run.save, []

    def refuse_once(run, home):
        if run.end is not None and not failed:
            failed.append(run)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(run, home)

    monkeypatch.setattr(Run, "save", refuse_once)
    with pytest.raises(OSError, match="No space left"):
        replay(options, home, broker.settings)
    assert (load_run("mine", home).state, load_run("mine", home).end) == ("stopped", None)
    assert resume("mine", home, broker.settings).state == "finished"


def test_a_folder_that_a_killed_process_left_without_a_manifest_does_not_block_its_id(broker, home, options):
    (home.runs / "mine").mkdir(parents=True)
    (home.runs / "mine" / "sent").write_text("")
    assert replay(options, home, broker.settings).state == "finished"


def command(folder, broker, *before):
    environment = os.environ | {
        "STREAMPROOF_HOME": str(folder / "home"),
        "STREAMPROOF_MQTT_PORT": str(broker.settings.port),
    }
    replaying = [sys.executable, "-m", "edge_replayer", "ratings", f"A={folder / 'a.csv'}", "--rate", "max"]
    return subprocess.run(
        [*before, *replaying, "--confirm", "broker", "--run", "mine"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("options")
def test_a_home_that_is_a_file_is_told_with_the_setting_that_changes_it(broker, tmp_path):
    (tmp_path / "home").touch()
    done = command(tmp_path, broker)
    home = tmp_path / "home"
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {home}/runs/mine: Not a directory: choose a folder that can be written with STREAMPROOF_HOME "
        f"(now {home})\n"
    )


@pytest.mark.usefixtures("options")
def test_a_system_that_refuses_to_write_ends_the_command_without_a_traceback(broker, tmp_path):
    done = command(tmp_path, broker, "/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/home/runs/mine/manifest.json: File too large")
    assert "Traceback" not in done.stderr
    assert command(tmp_path, broker).returncode == 0
