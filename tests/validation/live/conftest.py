"""A run, and a database into which its results are written."""

from datetime import UTC, datetime
from fractions import Fraction

import duckdb
import pytest
from written_results import Written

from streamproof.core.contract import load_contract
from streamproof.core.question import load_question
from streamproof.core.run import Run
from streamproof.core.window import Window
from validation.kafka_records import _TABLES


@pytest.fixture
def db():
    with duckdb.connect() as db:
        db.execute(_TABLES)
        yield db


@pytest.fixture
def results_of(db):
    """Make the table of a question's results."""
    return lambda run, question, number=0: Written(db, run, question, number)


@pytest.fixture
def any_run():
    return Run(
        run="r", contract=load_contract("ratings"), clock="virtual", pace="interval", interval=Fraction(1000), start=0,
        batch_rows=1, batch_ms=1, sources={}, rows={}, created=datetime(2024, 1, 1, tzinfo=UTC),
    )  # fmt: skip


@pytest.fixture
def averages():
    return load_question("rating_averages").with_window(Window(4000, 2000))
