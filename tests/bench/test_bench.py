"""`bench`: medians of repeated runs, nothing printed that was not proven, and the chain measured for real."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from streamproof.bench import cli
from streamproof.bench.fixed_work import cost_of_fixed_work
from streamproof.bench.ground import percentiles
from streamproof.bench.measure import Benchmark, NotProvenError, Once, repeat
from streamproof.cli import app
from streamproof.core.errors import UsageError


@pytest.fixture(autouse=True)
def fixed_work(monkeypatch):
    monkeypatch.setattr("streamproof.bench.measure.cost_of_fixed_work", lambda: 4.0)


def test_the_fixed_work_costs_something_each_time():
    assert 0 < cost_of_fixed_work() < 1000


def benchmark(figures):
    """Return a benchmark that gives these figures, one a run; None stands for a run that is not proven."""
    left = list(figures)

    def once(rows):
        figure = left.pop(0)
        if figure is None:
            raise NotProvenError(f"2 of {rows} rows are lost")
        return Once(figure, {"nifi, µs/row": figure / 10})

    return Benchmark("rows/s", once, 1000, "for a test", servers=False)


def test_the_median_of_the_runs_is_given_with_every_run_and_the_median_of_each_part():
    result = repeat("chain", benchmark([30.0, 10.0, 20.0]), 1000, 3)
    assert (result.median, result.runs, result.proven) == (20.0, [30.0, 10.0, 20.0], True)
    assert result.parts == {"nifi, µs/row": 2.0}
    assert result.multiples == {"nifi, µs/row": 0.5}


def test_one_run_that_is_not_proven_leaves_no_figure():
    result = repeat("chain", benchmark([30.0, None, 20.0]), 1000, 3)
    assert (result.median, result.runs, result.parts, result.proven) == (None, [], {}, False)
    assert result.reason == "2 of 1000 rows are lost"


def test_what_is_not_proven_is_printed_as_such_and_ends_in_failure(monkeypatch):
    monkeypatch.setattr(cli, "BENCHMARKS", {"chain.batched": benchmark([None])})
    done = CliRunner().invoke(app, ["bench", "chain", "--repeat", "1"])
    assert "NOT PROVEN" in done.stdout
    assert "chain.batched: 2 of 1000 rows are lost" in str(done.exception)


def test_what_needs_a_program_that_is_missing_is_left_out_and_named_it_says_how_to_install_it(monkeypatch):
    lacking = replace(benchmark([]), program=("no-such-program", "apt-get install it"))
    monkeypatch.setattr(cli, "BENCHMARKS", {"chain.batched": benchmark([1.0]), "chain.other": lacking})
    done = CliRunner().invoke(app, ["bench", "chain", "--repeat", "1", "--json"])
    assert done.exit_code == 0
    assert [result["name"] for result in json.loads(done.stdout)["results"]] == ["chain.batched"]
    assert "chain.other is left out: no-such-program is not installed: `apt-get install it`" in done.stderr
    done = CliRunner().invoke(app, ["bench", "chain.other"])
    assert "no-such-program is not installed" in str(done.exception)


def test_a_name_chooses_itself_and_all_that_begin_with_it():
    assert list(cli._choose(["publish.qos0.1", "up"])) == ["up.cold", "up.warm", "publish.qos0.1"]
    with pytest.raises(UsageError, match=r"no benchmark 'chian': name one of read\.csv, "):
        cli._choose(["chian"])


def test_without_names_all_run_but_the_growth_curves_which_are_listed(monkeypatch):
    monkeypatch.setattr(cli, "BENCHMARKS", {"read.csv": benchmark([1.0]), "grow.length.1": benchmark([])})
    done = CliRunner().invoke(app, ["bench", "--repeat", "1", "--json"])
    assert [result["name"] for result in json.loads(done.stdout)["results"]] == ["read.csv"]
    assert "grow.length.1" in CliRunner().invoke(app, ["bench", "--list"]).stdout


def test_markdown_is_a_table_with_a_column_for_each_part(monkeypatch):
    monkeypatch.setattr(cli, "BENCHMARKS", {"chain.batched": benchmark([30.0, 10.0]), "chain.other": benchmark([None])})
    done = CliRunner().invoke(app, ["bench", "chain", "--repeat", "2", "--markdown"])
    assert done.stdout.splitlines() == [
        "| benchmark | rows | runs | median | unit | least to greatest | nifi, µs/row |",
        "|---|---:|---:|---:|---|---:|---:|",
        "| `chain.batched` | 1,000 | 2 | 20.0 | rows/s | 10.0 to 30.0 | 2.0 |",
        "| `chain.other` | 1,000 | 0 | NOT PROVEN | rows/s |  |  |",
    ]


def test_percentiles_are_figures_that_were_measured():
    assert percentiles([*range(1, 101)]) == {"p50": 50, "p95": 95, "p99": 99}
    assert percentiles([7.0]) == {"p50": 7.0, "p95": 7.0, "p99": 7.0}


@pytest.mark.long
@pytest.mark.usefixtures("servers")
def test_the_chain_is_measured_part_by_part_and_proven(tmp_path):
    saved = tmp_path / "results" / "bench.json"
    names = ["chain.batched", "chain.backlog", "publish.100", "memory.stack"]
    done = CliRunner().invoke(
        app, ["bench", *names, "--rows", "10000", "--repeat", "1", "--json", "--output", str(saved)]
    )
    assert done.exit_code == 0, (done.exception, done.stderr)
    told = json.loads(done.stdout)
    assert told == json.loads(saved.read_text())
    assert told["machine"]["cores"] > 0
    found = {result["name"]: result for result in told["results"]}
    assert sorted(found) == sorted(names)
    assert all(result["proven"] and result["median"] > 0 for result in found.values())
    parts = found["chain.batched"]["parts"]
    everything = parts.pop("all parts, µs/row")
    costs = {name: cost for name, cost in parts.items() if name.endswith("µs/row")}
    assert {name.partition(",")[0] for name in costs} == {
        "mosquitto", "kafka", "nifi", "nifi's Python", "jobmanager", "taskmanager", "replayer"}  # fmt: skip
    assert all(cost >= 0 for cost in costs.values())
    assert everything == pytest.approx(sum(costs.values()))
