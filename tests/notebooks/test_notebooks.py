"""The notebooks hold what they say, on the real servers, and fail when it is not so."""

import ast
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import nbformat
import pytest
from checkout import CHECKOUT
from papermill import PapermillExecutionError

from flink_jobs.cluster import Cluster

FILES = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
STORED = {file.stem: nbformat.read(file, nbformat.NO_CONVERT) for file in FILES}
every_notebook = pytest.mark.parametrize("name", STORED)


def code_cells(name):
    return {cell.id: cell for cell in STORED[name].cells if cell.cell_type == "code"}


def number(pattern, text):
    return int(re.search(pattern, text)[1].replace(",", ""))


def is_running(run):
    return any(job.state == "RUNNING" and run in job.name for job in Cluster().list())


@every_notebook
def test_no_output_is_kept_and_the_parameters_come_first(name):
    notebook = STORED[name]
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    cells = list(code_cells(name).values())
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    assert [cell.metadata.get("tags") for cell in cells if cell.metadata] == [["parameters"]]
    assert cells[0].id == "parameters"


@every_notebook
def test_only_commands_files_pandas_numpy_and_plotly_are_used(name):
    tree = ast.parse("\n".join(cell.source for cell in code_cells(name).values()))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert {each.split(".")[0] for each in names} - sys.stdlib_module_names <= {"numpy", "pandas", "plotly"}


def test_cells_that_several_notebooks_share_are_the_same_in_each():
    sources = defaultdict(set)
    for name in STORED:
        for cell in code_cells(name).values():
            sources[cell.id].add(cell.source)
    assert [ident for ident, found in sources.items() if len(found) > 1] == ["parameters"]


@every_notebook
def test_every_notebook_its_picture_and_its_parameters_are_in_the_docs(name):
    manual = (CHECKOUT / "docs" / "notebooks.md").read_text()
    assert f"`{name}.ipynb`" in manual
    assert f"pictures/notebook-{name[:2]}.png" in manual
    for statement in ast.parse(code_cells(name)["parameters"].source).body:
        assert f"`{statement.targets[0].id}`" in manual


def test_without_the_command_a_notebook_says_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(RuntimeError, match="make setup"):
        exec(code_cells("01_first_run")["commands"].source, {})  # noqa: S102 - that is what a kernel does


def test_a_command_that_fails_shows_what_it_said(tmp_path):
    # In a process of its own, as a kernel is: pytest's has folders on its path that bear the packages' names.
    program = code_cells("01_first_run")["commands"].source + "\nstreamproof('validate', 'never')\n"
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "RuntimeError: streamproof validate: exit code 2\nerror: there is no run 'never'" in done.stderr


@pytest.mark.long
def test_every_surge_that_was_put_in_is_found_and_pandas_finds_the_same(surges):
    put_in = number(r"([\d,]+) surges were put in", surges.printed)
    assert put_in >= 4
    assert f"surge: {put_in} of {put_in} found" in surges.printed
    assert "precision 1.000" in surges.printed
    assert number(r"([\d,]+) answers are equal in pandas and in the batch", surges.printed) >= 2 * put_in


@pytest.mark.long
def test_bots_floods_carts_and_unsold_brands_are_found_and_pandas_finds_the_same(bots):
    for kind in ("bot", "flood"):
        found, put_in = re.search(rf"{kind}: ([\d,]+) of ([\d,]+) found", bots.printed).groups()
        assert found == put_in != "0"
    assert float(re.search(r"precision ([\d.]+)", bots.printed)[1]) >= 0.95
    assert number(r"bots: ([\d,]+) answers are equal", bots.printed) > 10_000
    assert number(r"left_in_carts: ([\d,]+) answers are equal", bots.printed) > number(
        r"carts: ([\d,]+) of", bots.printed
    )
    assert "brands: nimbus and oriel need marketing, in pandas as in the batch" in bots.printed


@pytest.mark.long
def test_hours_of_failed_purchases_are_found_and_pandas_finds_the_same(purchases):
    found, put_in = re.search(r"bad_conversion: (\d+) of (\d+) found", purchases.printed).groups()
    assert found == put_in != "0"
    assert "precision 1.000" in purchases.printed
    assert number(r"conversion: ([\d,]+) answers are equal", purchases.printed) > 24
    assert number(r"sales: ([\d,]+) answers are equal", purchases.printed) > 500


@pytest.mark.long
def test_sales_follow_the_population_and_pandas_finds_the_same_by_city_and_country(by_place):
    assert float(re.search(r"correlation of orders and population: ([\d.]+)", by_place.printed)[1]) > 0.9
    assert number(r"sales_by_city: ([\d,]+) answers are equal", by_place.printed) > 1_000
    assert number(r"sales_by_country: ([\d,]+) answers are equal", by_place.printed) > 500


def test_a_first_run_is_proven_and_leaves_no_job(first_run, servers):
    assert number(r": PROVEN, ([\d,]+) windows right", first_run.printed) > 600
    manifest = json.loads((servers.home.runs / first_run.run / "manifest.json").read_text())
    assert [rows["confirmed"] for rows in manifest["rows"].values()] == [600, 600]
    assert not is_running(first_run.run)


def test_all_windows_are_right_by_pandas_alone_and_damaged_ones_are_found(checked, first_run):
    right, of = re.search(r": ([\d,]+) of ([\d,]+) windows right", checked.printed).groups()
    assert right == of
    assert f"run {first_run.run}: PROVEN, {right} windows right" in first_run.printed
    damaged, found = re.search(
        r"(\d+) windows were damaged, and exactly those (\d+) were found", checked.printed
    ).groups()
    # A row lies in six windows of 30 s / 5 s: one row is lost, one is doubled, and three averages are truncated.
    assert damaged == found == "15"


@pytest.mark.long
def test_ratings_are_explored_and_their_windows_are_those_of_flink(explored, first_run):
    same = number(r"([\d,]+) windows are the same in pandas and in Flink", explored.printed)
    right = number(r": PROVEN, ([\d,]+) windows right", first_run.printed)
    assert same == right
    assert number(r"rating_spread: PROVEN, ([\d,]+) answers right", explored.printed) == right
    assert number(r"([\d,]+) windows have the same deviation in both", explored.printed) == right


def test_a_file_that_was_changed_after_its_run_is_found_out(execute, first_run, servers):
    manifest = json.loads((servers.home.runs / first_run.run / "manifest.json").read_text())
    file = Path(manifest["sources"]["Movies_and_TV"]["file"])
    before = file.read_bytes()
    file.write_bytes(before.replace(b",5.0,", b",4.0,", 1))
    try:
        with pytest.raises(PapermillExecutionError) as raised:
            execute("02_validate_windows", RUN=first_run.run)
    finally:
        file.write_bytes(before)
    assert raised.value.evalue == f"{file} has changed since it was replayed"


@pytest.mark.long
def test_files_of_ones_own_are_replayed_in_another_shape_and_validated_as_the_newest_run(execute, own_file):
    first = execute("01_first_run", FILES=[f"Own={own_file}"], SIZE="20s", SLIDE="20s")
    checked = execute("02_validate_windows")
    right = number(rf"run {first.run}: ([\d,]+) of", checked.printed)
    assert right == number(r": PROVEN, ([\d,]+) windows right", first.printed)
    assert "5 windows were damaged, and exactly those 5 were found" in checked.printed


@pytest.mark.long
def test_rows_out_of_order_are_late_by_a_guess_and_never_by_the_low_watermark(lateness, execute):
    assert number(r"bound 0 s: ([\d,]+) of 400 rows late", lateness.printed) > 0
    assert number(r"rows late, ([\d,]+) of [\d,]+ windows wrong", lateness.printed) > 0
    assert number(r"800 rows: ([\d,]+) out of order", lateness.printed) > 0
    assert "min; 0 at or below the low watermark" in lateness.printed
    right = number(r": PROVEN, ([\d,]+) windows right, 0 rows late", lateness.printed)
    assert not is_running(lateness.run)
    # The file's own time is computed by the formula of another pace.
    checked = execute("02_validate_windows", RUN=lateness.run)
    assert number(rf"run {lateness.run}: ([\d,]+) of", checked.printed) == right


@pytest.mark.long
def test_what_is_kept_is_proven_drawn_and_the_same_in_both_branches(kept):
    assert kept.run
    answers = number(r"the database has ([\d,]+) answers to sales", kept.printed)
    assert answers > 100
    assert number(r"sales: ([\d,]+) answers are equal in the stream and in the batch", kept.printed) == answers
    assert "the lake has 6,000 rows" in kept.printed
    assert "2 answers were damaged, and exactly those 2 were found" in kept.printed
