"""What would have fired, from files alone, and how that compares with what was put into them."""

import csv
import json

import pytest
from typer.testing import CliRunner

from streamproof.cli import app
from streamproof.core.contract import load_contract
from streamproof.core.errors import UsageError
from streamproof.core.question import load_question
from validation.backtest import backtest, read_truth, score

RATINGS = load_contract("ratings")
QUESTION = """-- Which products are rated all at once?
-- stream = "ratings"
-- window = "tumbling 10s"
-- key = ["category", "product_id"]
-- [alert]
-- when = "times >= 5"
-- for = 2

SELECT window_start, window_end, category, product_id, COUNT(*) AS times
FROM windowed GROUP BY window_start, window_end, category, product_id
"""
BEGAN = 1_704_067_200  # 2024-01-01T00:00:00Z


@pytest.fixture
def files(tmp_path):
    """A product rated each second from 100 s to 160 s, another one from 300 s to 310 s, and one at all times."""
    rows = [("quiet", n) for n in range(0, 400, 5)]
    rows += [("surge", n) for n in range(100, 160)] + [("short", n) for n in range(300, 310)]
    file = tmp_path / "Books.csv"
    file.write_text("".join(f"u,{product},5.0,{BEGAN + n}\n" for product, n in sorted(rows, key=lambda row: row[1])))
    (tmp_path / "surges.sql").write_text(QUESTION)
    with (tmp_path / "truth.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["kind", "category", "key", "begin", "end", "size"])
        writer.writerow(["surge", "Books", "surge", "2024-01-01T00:01:40Z", "2024-01-01T00:02:40Z", 60])
        writer.writerow(["surge", "Books", "short", "2024-01-01T00:05:00Z", "2024-01-01T00:05:10Z", 10])
        writer.writerow(["flood", "Music", "surge", "2024-01-01T00:01:40Z", "2024-01-01T00:02:40Z", 60])
    return tmp_path


def test_what_would_have_fired_is_told_from_a_file_alone(files):
    events = backtest(load_question(str(files / "surges.sql")), RATINGS, {"Books": files / "Books.csv"})
    assert [(e.state, e.key["product_id"], f"{e.window_end:%H:%M:%S}", e.values["times"]) for e in events] == [
        ("pending", "surge", "00:01:50", 10),
        ("firing", "surge", "00:02:00", 10),
        ("resolved", "surge", "00:02:50", None),
        ("pending", "short", "00:05:10", 10),
        ("withdrawn", "short", "00:05:20", None),
    ]


def test_precision_recall_and_delay_are_told_against_what_was_put_in(files):
    events = backtest(load_question(str(files / "surges.sql")), RATINGS, {"Books": files / "Books.csv"})
    of_surges = score(events, read_truth(files / "truth.csv", ["surge"]))
    assert (of_surges.precision, of_surges.recall, of_surges.delays) == (1.0, 0.5, [20.0])
    assert [thing.key for thing in of_surges.missed] == ["short"]
    of_floods = score(events, read_truth(files / "truth.csv", ["flood"]))  # those of another category
    assert (of_floods.precision, of_floods.recall, of_floods.median_delay) == (0.0, 0.0, None)
    with pytest.raises(UsageError, match="nothing of the kind 'bot' was put in: there is flood, surge"):
        read_truth(files / "truth.csv", ["bot"])


def test_the_command_prints_alerts_and_figures_and_gives_the_same_as_json(files):
    line = ["alert", "backtest", str(files / "surges.sql"), f"Books={files / 'Books.csv'}"]
    line += ["--truth", str(files / "truth.csv"), "--kind", "surge"]
    said = CliRunner().invoke(app, line)
    assert said.exit_code == 0, said.output
    assert "precision: 1.000 (1 of 1 alerts)" in said.stdout
    assert "recall of surge: 0.500 (1 of 2)" in said.stdout
    assert "delay: 20 s median, 20 s at most" in said.stdout
    assert "missed: surge short, 2024-01-01 00:05:00Z to 2024-01-01 00:05:10Z" in said.stdout
    document = json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)
    assert [alert["state"] for alert in document["alerts"]] == ["resolved", "withdrawn"]
    assert (document["score"]["precision"], document["score"]["recall"]) == (1.0, 0.5)


def test_a_question_without_an_alert_and_a_file_without_the_columns_are_refused(files):
    with pytest.raises(UsageError, match="rating_averages has no alert"):
        backtest(load_question("rating_averages"), RATINGS, {"Books": files / "Books.csv"})
    with pytest.raises(UsageError, match=r"it has no column begin: is it a generator's truth\.csv"):
        read_truth(files / "Books.csv")
