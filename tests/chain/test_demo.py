"""The main job with files of one's own, on servers that run already; `tests/package` runs it as it is installed."""

import re

from typer.testing import CliRunner

from streamproof.cli import app
from streamproof.demo import run_demo


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
