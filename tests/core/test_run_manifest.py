"""A run's manifest, and those of several edges that are one run together."""

import pytest

from streamproof.core.contract import load_contract
from streamproof.core.errors import UsageError
from streamproof.core.run import Run, load_run, manifest_path, new_run_id
from streamproof.core.settings import HomeSettings


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    home = HomeSettings(home=tmp_path)
    run = Run.model_validate(
        {
            "run": new_run_id(), "contract": load_contract("ratings"), "clock": "virtual", "pace": "interval",
            "interval": "1000/3", "start": 3750, "batch_rows": 500, "batch_ms": 100, "created": "2026-01-01T00:00:00Z",
            "sources": {"Books": {"file": "/books.csv", "sha256": "00", "size": 1}}, "rows": {"Books": {"sent": 3}},
        }
    )  # fmt: skip
    run.save(home)
    assert load_run(run.run, home) == run
    assert run.interval is not None
    assert run.interval * 3 == 1000


def of_edge(edge, category, **said):
    return Run.model_validate(
        {
            "run": "R", "contract": load_contract("ratings"), "clock": "virtual", "pace": "interval", "interval": 1,
            "start": 0, "batch_rows": 1, "batch_ms": 0, "created": "2026-01-01T00:00:00Z", "edges": ("a", "b"),
            "edge": edge, "sources": {category: {"file": "/x.csv", "sha256": "00", "size": 1}},
            "rows": {category: {"sent": 3}}, "joined": True, "members": "m", "state": "finished", **said,
        }
    )  # fmt: skip


def test_the_manifests_of_several_edges_are_one_run(tmp_path):
    home = HomeSettings(home=tmp_path)
    of_edge("b", "B", state="finished", end=8).save(home)
    assert (load_run("R", home).state, load_run("R", home).absent) == ("running", ("a",))
    of_edge("a", "A", state="stopped").save(home)
    run = load_run("R", home)
    assert (list(run.sources), list(run.rows), run.state, run.end, run.absent) == (
        ["A", "B"],
        ["A", "B"],
        "stopped",
        8,
        (),
    )
    assert load_run("R", home, "a").edge == "a"
    of_edge("a", "A").save(home)
    assert load_run("R", home).state == "finished"
    of_edge("a", "A", expelled=True).save(home)
    assert load_run("R", home).state == "stopped"  # it has not all rows of its files


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (of_edge("a", "A", members="n"), "of different runs of one id"),
        (of_edge("a", "B"), "both have a category 'B'"),
    ],
)
def test_manifests_that_are_not_of_one_run_are_refused(tmp_path, other, text):
    home = HomeSettings(home=tmp_path)
    of_edge("b", "B").save(home)
    other.save(home)
    with pytest.raises(UsageError, match=text):
        load_run("R", home)


def test_an_unknown_run_is_refused_with_the_newest_ones(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match=r"there is no run 'yours' in .*; the newest: mine"):
        load_run("yours", HomeSettings(home=tmp_path))


def test_a_damaged_manifest_is_refused_with_its_path(tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "manifest.json").write_text('{"run": ')
    with pytest.raises(UsageError, match=r"mine/manifest.json: damaged"):
        load_run("mine", HomeSettings(home=tmp_path))


@pytest.mark.parametrize("run", ["", "../x", "a/b", "a b", "x" * 65, ".."])
def test_an_id_that_could_leave_the_folder_of_runs_is_refused(run, tmp_path):
    with pytest.raises(UsageError, match="cannot be a run's id"):
        manifest_path(run, HomeSettings(home=tmp_path))
