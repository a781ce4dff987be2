"""Many categories over one connection, with few descriptors; files that change, move, or hold nothing that fits."""

import io
import json
import os
import subprocess
import sys
import threading
from fractions import Fraction

import psutil
import pytest
from checkout import CHECKOUT
from typer.testing import CliRunner
from waiting import until

from edge_replayer import open_files
from edge_replayer.cli import app
from edge_replayer.metrics import ReplayMetrics
from edge_replayer.open_files import open_to_read
from edge_replayer.options import ReplayOptions
from edge_replayer.progress import RunProgress
from edge_replayer.replay import replay
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.known_runs import KnownRuns
from streamproof.core.run import RowCounts, load_run
from streamproof.core.settings import KafkaSettings

HEADER = "user_id,product_id,rating,timestamp\n"


def write(path, rows, first=1):
    path.write_text("".join(f"u{n},B{n % 7},{n % 5 + 1}.0,{n}\n" for n in range(first, first + rows)))
    return path


@pytest.fixture
def command(broker, home):
    """Return what runs the replayer in a process of its own, by default with the broker's word for confirmation."""

    def run(*arguments, limit=None, confirm=("--confirm", "broker")):
        environment = os.environ | {
            "STREAMPROOF_HOME": str(home.home),
            "STREAMPROOF_MQTT_PORT": str(broker.settings.port),
            "STREAMPROOF_KAFKA_SERVERS": "127.0.0.1:1",
        }
        replaying = [sys.executable, "-m", "edge_replayer", *arguments, *confirm]
        limited = ["/bin/sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh"] if limit else []
        return subprocess.run(
            [*limited, *replaying], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize("pace", [("--rate", "max"), ("--speed", "1", "--clock", "virtual")])
def test_more_files_than_a_process_may_open_are_replayed(command, home, tmp_path, pace):
    files = [f"D{n}={write(tmp_path / f'{n}.csv', 3, first=n)}" for n in range(1, 301)]
    (tmp_path / "300.csv").write_text(HEADER + "not,a,row,x\n" * 5 + "u,B,1.0,9\n")
    done = command("ratings", *files, *pace, "--run", "R", limit=160)
    assert done.returncode == 0, done.stderr
    run = load_run("R", home)
    assert sum(rows.confirmed for rows in run.rows.values()) == 299 * 3 + 1
    assert len((home.runs / "R" / "rejects-D300.csv").read_text().splitlines()) == 6
    assert "300 categories: 898 rows" in done.stderr
    assert len(done.stderr.splitlines()) < 10  # whatever the number of files


def test_a_file_is_read_on_where_it_was_when_others_took_its_descriptor(tmp_path, monkeypatch):
    monkeypatch.setattr(open_files, "MOST_OPEN", 2)
    monkeypatch.setattr(open_files, "_SMALL_BUFFER", 8)
    texts = [f"{n}\n" * 50 for n in range(5)]
    for n, text in enumerate(texts):
        (tmp_path / str(n)).write_text(text)
    files = [open_to_read(tmp_path / str(n)) for n in range(5)]
    for _ in range(50):
        assert [file.readline() for file in files] == [b"%d\n" % n for n in range(5)]
        assert len(open_files._opened) <= 2
    assert [file.tell() for file in files] == [100] * 5
    assert files[0].seek(-2, io.SEEK_END) == 98
    assert files[0].read() == b"0\n"
    for file in files:
        file.close()
    assert not open_files._opened


def test_a_file_that_another_one_replaced_is_not_read_on(tmp_path, monkeypatch):
    monkeypatch.setattr(open_files, "MOST_OPEN", 1)
    monkeypatch.setattr(open_files, "_SMALL_BUFFER", 8)
    (tmp_path / "a").write_text("a\n" * 50)
    (tmp_path / "b").write_text("b\n" * 50)
    with open_to_read(tmp_path / "b"), open_to_read(tmp_path / "a") as file, open_to_read(tmp_path / "b") as other:
        assert (file.readline(), other.readline()) == (b"a\n", b"b\n")
        (tmp_path / "new").write_text("c\n" * 50)
        (tmp_path / "new").rename(tmp_path / "a")
        with pytest.raises(StreamproofError, match="another file took its place"):
            file.read()


def options_of(files, contract, **more):
    return ReplayOptions(
        contract=contract, files=files, **{"interval": Fraction(1), "clock": "virtual", "run": "R"} | more
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda file: write(file, 3_000, first=2), "has changed while it was replayed"),
        (lambda file: file.open("a").write("u,B,1.0,1\n"), "has changed while it was replayed"),
        (lambda file: os.truncate(file, 30), "has changed while it was replayed|was cut off"),
        (lambda file: file.unlink(), "has gone while it was replayed"),
    ],
)
def test_a_file_that_changes_while_it_is_replayed_ends_the_run_as_failed(broker, home, ratings, tmp_path, change, text):
    file, stop = write(tmp_path / "a.csv", 200), threading.Event()
    options = options_of({"A": file}, ratings, confirm="broker", clock="wall", interval=Fraction(5), batch_rows=5)
    errors = []

    def run():
        try:
            replay(options, home, broker.settings, stop)
        except StreamproofError as error:
            errors.append(error)

    replaying = threading.Thread(target=run)
    replaying.start()
    until(lambda: (home.runs / "R" / "manifest.json").exists() and load_run("R", home).began)
    until(lambda: str(file) in [each.path for each in psutil.Process().open_files()])  # its rows are being read
    change(file)
    replaying.join(60)
    with pytest.raises(StreamproofError, match=text):
        raise errors[0]
    assert load_run("R", home).state == "stopped"


def test_a_file_that_was_only_touched_has_not_changed(broker, home, ratings, tmp_path, monkeypatch):
    file = write(tmp_path / "a.csv", 100)
    monkeypatch.setattr("edge_replayer.sender.Sender.send", lambda *_: os.utime(file, (1, 1)) or True)
    monkeypatch.setattr("edge_replayer.sender.Sender.finish", lambda *_, **__: True)
    with pytest.raises(StreamproofError, match="hold no row"):  # nothing was sent here
        replay(options_of({"A": file}, ratings, confirm="broker"), home, broker.settings)


def test_a_category_without_a_row_is_no_finished_run_unless_it_is_asked_for(command, home, tmp_path):
    good, bad = write(tmp_path / "a.csv", 5), tmp_path / "bad.csv"
    bad.write_text(HEADER + "u,B,x,1\n")
    files = [f"A={good}", f"BAD={bad}", "--rate", "max"]
    done = command("ratings", *files, "--run", "R")
    assert done.returncode == 1
    assert "error: of BAD no row fits the contract" in done.stderr
    assert "--allow-empty" in done.stderr
    assert not load_run("R", home).allow_empty
    assert command("ratings", *files, "--run", "S", "--allow-empty").returncode == 0
    assert load_run("S", home).allow_empty


def test_a_run_goes_on_with_a_file_that_has_moved(broker, home, command, ratings, tmp_path, monkeypatch):
    monkeypatch.setattr("edge_replayer.sender._PATIENCE_AFTER_STOP", 0.1)
    file, stop = write(tmp_path / "a.csv", 100), threading.Event()
    threading.Timer(0.5, stop.set).start()
    nowhere = KafkaSettings(servers="127.0.0.1:1")
    replay(options_of({"A": file}, ratings, interval=Fraction(20), clock="wall"), home, broker.settings, stop, nowhere)
    moved = file.rename(tmp_path / "moved.csv")
    other = write(tmp_path / "other.csv", 100, first=2)
    said = command("--resume", "R", confirm=()).stderr
    assert f"{file} (A) is gone" in said
    assert "replay --resume R A=FILE" in said
    assert "is another file" in command("--resume", "R", f"A={other}", confirm=()).stderr
    assert "has no category 'B': it has A" in command("--resume", "R", f"B={moved}", confirm=()).stderr
    assert "there is no such file" in command("--resume", "R", f"A={file}", confirm=()).stderr
    assert load_run("R", home).sources["A"].file == file
    run = json.loads((home.runs / "R" / "manifest.json").read_text()) | {"confirm": "broker"}  # nobody else confirms
    (home.runs / "R" / "manifest.json").write_text(json.dumps(run))
    done = command("--resume", "R", f"A={moved}", confirm=())
    assert done.returncode == 0, done.stderr
    assert (load_run("R", home).sources["A"].file, load_run("R", home).rows["A"].confirmed) == (moved, 100)


def test_many_categories_are_one_line_of_progress_and_one_series_each(capfd):
    rows = {f"D{n}": RowCounts(sent=n, confirmed=1) for n in range(200)}
    with RunProgress({category: lambda: 0.5 for category in rows}) as progress:
        progress.show(rows, is_last=True)
    assert "200 categories: 19,900 rows" in capfd.readouterr().err

    class Sender:
        low_watermark = sent_until = None
        in_flight = None

    sender = Sender()
    sender.in_flight = type("F", (), {"sent": dict.fromkeys(rows, 3), "confirmed": dict.fromkeys(rows, 1)})
    metrics = ReplayMetrics(run="R", counts=lambda: rows, sender=sender, is_connected=lambda: True, is_timed=False)
    samples = {s.name: s for family in metrics.collect() for s in family.samples}
    assert samples["streamproof_replayer_rows_sent_total"].value == 19_900
    assert samples["streamproof_replayer_rows_in_flight"].value == 400
    assert all(sample.labels.get("category", "") == "" for sample in samples.values())


def test_without_a_kafka_nothing_is_known_of_a_run_and_nothing_is_asked_for_the_brokers_word(
    broker, home, ratings, tmp_path, monkeypatch
):
    KnownRuns(ratings, broker.settings, KafkaSettings(servers="127.0.0.1:1,nowhere.invalid:x")).refuse("R")
    monkeypatch.setattr(KnownRuns, "refuse", lambda *_: pytest.fail("asked"))
    file = write(tmp_path / "a.csv", 5)
    assert replay(options_of({"A": file}, ratings, confirm="broker"), home, broker.settings).state == "finished"
    done = CliRunner().invoke(app, ["ratings", f"A={file}", "--rate", "max", "--to", "stdout", "--run", "R"])
    assert done.exit_code == 0


def test_a_run_that_kafka_knows_is_refused_before_anything_is_sent(broker, home, ratings, tmp_path, monkeypatch):
    monkeypatch.setattr(KnownRuns, "_commit", lambda _self, run, *, note=None: "" if run == "R" and not note else None)
    with pytest.raises(UsageError, match=r"knows a run 'R' already.*Choose another id"):
        replay(options_of({"A": write(tmp_path / "a.csv", 5)}, ratings), home, broker.settings)
    assert not home.runs.exists()
