"""The lake's answers in a database: beside the stream's, what differs between the two, and one view of both."""

import threading
from contextlib import closing
from types import SimpleNamespace

import duckdb
import pyarrow as pa
import pytest

from streamproof.core.batch import columns_of
from streamproof.core.errors import UsageError
from streamproof.core.sql_quoting import quoted
from streamproof.sinks.kept import LIVE, Kept
from streamproof.sinks.lake_answers import store_answers
from streamproof.sinks.tables import Catalogue, answers_table
from validation.stages import LAST

pytestmark = pytest.mark.usefixtures("own_servers")

SECOND_WINDOW = 1_700_000_002_000


class Both:
    """A database with the answers of a job, and those of the lake to the same question of the same run."""

    def __init__(self, job, kept):
        self.job, self.kept, self.view = job, kept, f"{job.stream}_sales"

    def open(self):
        catalogue = Catalogue(None)
        catalogue.topics()
        return closing(self.kept.open(LIVE, catalogue))

    def store_stream(self, results):
        self.job.write(results)
        with self.open() as target:
            self.job.sink(target).run(threading.Event(), lambda: True)

    def store_lake(self, results, done_to=LAST):
        columns = columns_of(self.job.question, self.job.contract)
        run = SimpleNamespace(run=self.job.run, contract=self.job.contract)
        with duckdb.connect() as db:
            own = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
            rows = pa.Table.from_pylist(results)  # noqa: F841 (found by its name)
            db.execute(f"CREATE TABLE answers ({own})")
            db.execute(f"INSERT INTO answers SELECT {', '.join(map(quoted, columns))} FROM rows")
            store_answers(db, run, self.job.question, done_to, self.kept)

    def ask(self, sql):
        with closing(self.kept.open(LIVE, Catalogue(None))) as target, target.transaction():
            return target.execute(sql.replace("VIEW", self.view))

    def counts(self):
        views = (f"(SELECT count(*) FROM VIEW{end})" for end in ("", "_batch", "_both", "_difference"))
        return self.ask(f"SELECT {', '.join(views)}")[0]


@pytest.fixture(params=["postgres", "sqlite"])
def both(request, tmp_path, new_job):
    return Both(new_job(), Kept(kind=request.param, file=tmp_path / "kept" if request.param == "sqlite" else None))


def test_one_view_serves_both_and_another_has_what_differs_and_asked_again_they_are_the_same(both):
    job = both.job
    of_lake = [job.result(n) for n in range(300)]
    of_lake[20] |= {"item": None, "turnover": None}
    of_stream = [dict(each) for each in of_lake]
    of_stream[7]["sales"] += 1
    of_stream[8]["turnover"] = None
    of_stream[9]["mean"] += 1e-13
    of_stream[10]["mean"] += 1e-11
    of_stream[11]["is_often"] = False
    of_stream[12]["last_sold"] += ".001"
    of_stream[13]["last_sold"] += ".000"
    of_stream[30]["item"] = "extra"
    of_stream[250]["sales"] += 1
    both.store_stream(of_stream)
    assert both.counts() == (300, 0, 300, 0)
    differing = [f"0{n:03}X" for n in (7, 8, 10, 11, 12)]
    expected = sorted([*((each, who) for each in differing for who in ("lake", job.label)), ("0030X", "lake"),
                       ("extra", job.label)])  # fmt: skip
    for _ in range(2):
        both.store_lake(of_lake[:200], SECOND_WINDOW)
        assert both.counts() == (300, 200, 300, 12)
        assert sorted(both.ask("SELECT item, job FROM VIEW_difference")) == expected
        assert both.ask("SELECT sales FROM VIEW_both WHERE item = '0007X' AND job = 'lake'") == [(7,), (107,)]
        assert both.ask("SELECT count(*) FROM VIEW_both WHERE job <> 'lake' AND sales < 200") == [(0,)]
    both.store_lake(of_lake)
    assert both.counts() == (300, 300, 300, 14)
    both.store_lake(of_stream)
    assert both.counts() == (300, 300, 300, 0)
    with both.open() as target:
        table = answers_table(job.question, job.contract)
        assert {row[0] for some in target.read(table, ["item"], job.run, job.label) for row in some} == {job.label}


def test_answers_that_the_stream_was_not_asked_for_differ_from_nothing(both):
    both.store_lake([both.job.result(n) for n in range(10)])
    assert both.counts() == (0, 10, 10, 0)


def test_a_value_that_does_not_fit_is_named_and_the_answers_of_before_stay(new_job, tmp_path):
    both = Both(new_job(), Kept(kind="sqlite", file=tmp_path / "kept"))
    both.store_lake([both.job.result(n) for n in range(10)])
    with pytest.raises(UsageError, match=r"does not fit a column of SQLite .* an answer of the lake"):
        both.store_lake([both.job.result(n, turnover="1234567890123456.78") for n in range(3)])
    assert both.counts() == (0, 10, 10, 0)
