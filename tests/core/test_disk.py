"""Errors of files: which of them end a command with a message, and what the message says."""

import errno

import duckdb
import pytest
import typer

from streamproof.core.command import run_app
from streamproof.core.disk import duckdb_in, explain
from streamproof.core.whole_file import write_whole


def run_that_raises(error):
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail():
        raise error

    run_app(app)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMPROOF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.argv", ["fail"])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: make room in {}/home, or"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            "/x/y: No space left on device: make room there, or",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files: allow more of them (`ulimit -n 4096`)"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "/x/y: Permission denied"),
    ],
)
def test_an_error_of_a_file_ends_a_command_with_a_message(capfd, tmp_path, error, text):
    with pytest.raises(SystemExit) as ended:
        run_that_raises(error)
    assert ended.value.code == 1
    assert capfd.readouterr().err.startswith(f"error: {text.format(tmp_path)}")


def test_an_error_of_a_connection_is_not_taken_for_one_of_a_file():
    with pytest.raises(ConnectionRefusedError):
        run_that_raises(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))


def test_a_file_below_the_home_names_the_setting_that_changes_it(tmp_path):
    text = explain(PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "home" / "runs")))
    assert text.endswith(f"choose a folder that can be written with STREAMPROOF_HOME (now {tmp_path / 'home'})")


def test_a_file_that_does_not_fit_is_named_and_the_old_one_stays(tmp_path, monkeypatch):
    write_whole(tmp_path / "a", "old")

    def is_full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", is_full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_whole(tmp_path / "a", "new")
    assert raised.value.filename == str(tmp_path / "a")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_database_that_cannot_write_fails_as_a_file_does(tmp_path):
    with (
        pytest.raises(OSError, match="room") as raised,
        duckdb_in(tmp_path),
    ):
        raise duckdb.IOException('Could not write file "x": No space left on device, no room')
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path))
