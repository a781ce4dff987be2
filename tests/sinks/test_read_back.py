"""The verdict reads back from databases what sinks have kept there, and is not proven where it is not right."""

import sqlite3

import pytest
from run_in_kafka import JudgedRun
from typer.testing import CliRunner

from streamproof.cli import app
from streamproof.sinks.read_back import read_back

pytestmark = pytest.mark.usefixtures("own_servers")


def command(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def judged(new_job, tmp_path, request):
    return JudgedRun(new_job(run=request.node.name[:60].replace("[", ".").rstrip("]")), tmp_path)


def test_what_a_database_holds_is_judged_beside_kafka(judged, query, tmp_path):
    count = judged.write()
    without = judged.validate(read_back)
    assert (without.proven, without.targets) == (True, {}), without.reasons
    alerts = without.questions["sales"].alerts
    assert alerts.right
    file = tmp_path / "kept.sqlite"
    command("sink", "postgres", "--run", judged.run.run, "--rows")
    command("sink", "sqlite", file, "--run", judged.run.run)
    verdict = judged.validate(read_back)
    assert verdict.proven, verdict.reasons
    assert list(verdict.targets) == ["PostgreSQL", f"SQLite in {file}"]
    for target in verdict.targets.values():
        kept = target.questions["sales"]
        assert (kept.right, kept.wrong, kept.missing, kept.extra) == (count, 0, 0, 0)
        assert (kept.alerts.right, kept.alerts.missing, kept.alerts.extra) == (alerts.right, 0, 0)
    stream = judged.job.stream
    assert query(f"SELECT count(*), min(seq), max(seq) FROM {stream}_rows") == [(600, 1, 600)]

    firing = query(f"SELECT alert_of, count(*) FROM alerts WHERE run = '{judged.run.run}' AND alert_state = 'firing' "
                   "GROUP BY 1 ORDER BY 1")  # fmt: skip
    assert {item for item, _ in firing} <= {f"0{n}" for n in range(7)}
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT alert_of, count(*) FROM alerts WHERE alert_state = 'firing' GROUP BY 1 ORDER BY 1"
                          ).fetchall() == firing  # fmt: skip

    query(f"UPDATE {stream}_sales_v1 SET turnover = turnover + 0.01 WHERE item = '01' AND window_start = "
          f"(SELECT min(window_start) FROM {stream}_sales_v1)")  # fmt: skip
    query(f"DELETE FROM {stream}_sales_alerts_v1")
    with sqlite3.connect(file) as db:
        db.execute(f"DELETE FROM {stream}_sales_v1 WHERE item = '02'")
    verdict = judged.validate(read_back)
    assert not verdict.proven
    assert verdict.questions["sales"].right == count
    postgres, in_file = (target.questions["sales"] for target in verdict.targets.values())
    assert (postgres.right, postgres.wrong, postgres.missing) == (count - 1, 1, 0)
    assert (postgres.alerts.right, postgres.alerts.missing) == (0, alerts.right)
    assert in_file.missing
    assert in_file.right + in_file.missing == count
    assert verdict.reasons == [
        "PostgreSQL: sales: 1 answers are wrong",
        f"PostgreSQL: sales: {alerts.right} alerts are missing",
        f"SQLite in {file}: sales: {in_file.missing} answers are missing",
    ]
