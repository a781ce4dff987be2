"""The notebooks, executed, on the real servers where they need them."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import papermill
import pytest
from checkout import CHECKOUT

from flink_jobs.cluster import Cluster
from streamproof.generator.make import make

NOTEBOOKS = CHECKOUT / "notebooks"
PLOTLY = "application/vnd.plotly.v1+json"


class Executed:
    """A notebook with its outputs.

    Attributes:
        notebook: all of it.
        printed: what its cells printed.
        figures: how many charts it shows.
        run: the id of its run, where it made one that is proven.

    """

    def __init__(self, notebook: nbformat.NotebookNode) -> None:
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
        self.notebook = notebook
        self.printed = "".join(each.text for each in outputs if each.get("name") == "stdout")
        self.figures = sum(PLOTLY in each.get("data", {}) for each in outputs)
        made = re.search(r"run (\S+): PROVEN", self.printed)
        self.run = made[1] if made else ""


@pytest.fixture(scope="session")
def execute_alone(tmp_path_factory) -> Callable[..., Executed]:
    """Execute a notebook that needs no server, in a home of its own."""
    folder = tmp_path_factory.mktemp("kernels")

    def execute(name: str, **parameters: object) -> Executed:
        file = NOTEBOOKS / f"{name}.ipynb"
        with pytest.MonkeyPatch.context() as environment:
            # A kernel begins in a folder that has nothing of the project: so it finds the checkout under test.
            environment.setenv("PYTHONPATH", str(CHECKOUT))
            if "STREAMPROOF_HOME" not in os.environ:
                environment.setenv("STREAMPROOF_HOME", str(folder))
            return Executed(papermill.execute_notebook(file, None, parameters, cwd=folder, progress_bar=False))

    return execute


@pytest.fixture(scope="session")
def execute(servers, execute_alone) -> Iterator[Callable[..., Executed]]:  # noqa: ARG001 - notebooks ask the servers
    before = {job.id for job in Cluster().list()}
    yield execute_alone
    # A notebook that fails in the middle leaves its job.
    for job in Cluster().list():
        if job.id not in before and job.state == "RUNNING" and re.search(r" run (notebook|lateness|kept)-", job.name):
            Cluster().cancel(job.id)


@pytest.fixture(scope="session")
def first_run(execute) -> Executed:
    return execute("01_first_run", ROWS=600)


@pytest.fixture(scope="session")
def checked(execute, first_run) -> Executed:
    return execute("02_validate_windows", RUN=first_run.run)


@pytest.fixture(scope="session")
def explored(execute, first_run) -> Executed:
    return execute("03_explore_ratings", RUN=first_run.run)


@pytest.fixture(scope="session")
def lateness(execute) -> Executed:
    return execute("04_time_and_lateness", ROWS=400, HOURS=2)


@pytest.fixture(scope="session")
def surges(execute_alone) -> Executed:
    return execute_alone("05_traffic_surges", ROWS=25_000, A_DAY=288_000)


@pytest.fixture(scope="session")
def bots(execute_alone) -> Executed:
    return execute_alone("06_clicks_and_bots", ROWS=30_000)


@pytest.fixture(scope="session")
def purchases(execute_alone) -> Executed:
    return execute_alone("07_purchases", ROWS=40_000)


@pytest.fixture(scope="session")
def by_place(execute_alone) -> Executed:
    return execute_alone("08_sales_by_place", ROWS=30_000)


@pytest.fixture(scope="session")
def kept(execute) -> Executed:
    return execute("09_lake_and_database", ROWS=6_000)


@pytest.fixture
def own_file(tmp_path) -> Path:
    """Write ratings without a header, one of which does not fit the contract."""
    file = make("ratings", 300, tmp_path, keys=20, categories=["own"]).files["own"]
    with file.open("a") as out:
        out.write("A1,,five,1700000000\n")
    return file
