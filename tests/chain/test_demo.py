"""The main job with files of one's own, on servers that run already; `tests/package` runs it as it is installed."""

import re

import pytest
from typer.testing import CliRunner

from streamproof.cli import app
from streamproof.demo import run_demo
from streamproof.stack.live_sinks import end_live
from streamproof.stack.servers import Stack


def test_the_demo_takes_files_of_ones_own_and_their_run_is_reported(deployed_servers, tmp_path, capsys):
    (tmp_path / "mine.csv").write_text(
        "user,asin,overall,Time\nA1,0000143502,4.0,1700000000\nA2,</script><i>,2.0,1700000001\n"
    )
    run_demo([f"Mine={tmp_path / 'mine.csv'}"], deployed_servers.home.home / "nifi" / "python_extensions")
    printed = capsys.readouterr().out
    assert "PROVEN" in printed.splitlines()
    run = re.search(r"Rows of run (\S+)", printed)[1]
    result = CliRunner().invoke(app, ["report", run, "--output", str(tmp_path / "report.html")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report.html").read_text()
    assert '<p class="verdict proven">PROVEN</p>' in page
    assert page.count('class="plotly-graph-div"') == 3
    assert "0000143502 (Mine)" in page
    assert "</script><i>" not in page
    assert str(tmp_path / "mine.csv") in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)  # nothing from elsewhere


@pytest.mark.long
def test_the_demo_keeps_its_answers_in_postgres_and_proves_them_there(deployed_servers, tmp_path, capsys):
    (tmp_path / "mine.csv").write_text("".join(f"A{n},B{n % 5},{n % 4}.5,{1_700_000_000 + n}\n" for n in range(200)))
    extensions = deployed_servers.home.home / "nifi" / "python_extensions"
    try:
        run_demo([f"Mine={tmp_path / 'mine.csv'}"], extensions, ["postgres"])
    finally:
        end_live()
        Stack.from_environment().down(parts=("postgres",))
    printed = capsys.readouterr().out
    right = re.search(
        r"^PostgreSQL: rating_averages: ([\d,]+) right, 0 wrong, 0 missing, 0 extra$", printed, re.MULTILINE
    )
    assert right
    assert re.search(rf"^ +{right[1]} +0 +0 +0 +0 *$", printed, re.MULTILINE), "as many as in Kafka"
    assert "PROVEN" in printed.splitlines()
