"""Questions that the batch answers from files alone, also those that are never asked of Flink."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from flink_jobs.submission import JobOptions, submit
from streamproof.chain.found import say_what_was_found
from streamproof.cli import app
from streamproof.core.contract import load_contract
from streamproof.core.errors import UsageError
from streamproof.core.question import load_question, parse_question
from streamproof.core.run import RowCounts, Run, source_of
from streamproof.core.settings import HomeSettings
from streamproof.generator.declaration import load_generator
from streamproof.generator.make import make

ROWS = 60_000


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    """Return the manifest of a run of made clicks, as a replay of them would have written it; and their truth."""
    folder = tmp_path_factory.mktemp("clicks")
    made = make("clicks", ROWS, folder)
    run = Run(
        run="clicks",
        contract=load_contract("clicks"),
        clock="virtual",
        pace="file",
        speed=1,
        batch_rows=1,
        batch_ms=1,
        sources={category: source_of(file) for category, file in made.files.items()},
        rows={category: RowCounts(sent=ROWS) for category in made.files},
        created=datetime.now(UTC),
    )
    home = HomeSettings(home=folder / "home")
    run.save(home)
    return run, home, made.truth


def batch(clicks, monkeypatch, *arguments):
    _, home, _ = clicks
    monkeypatch.setenv("STREAMPROOF_HOME", str(home.home))
    done = CliRunner().invoke(app, ["batch", *arguments, "--run", "clicks", "--format", "json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_batch_question_is_answered_from_the_files_of_a_run(clicks, monkeypatch):
    run, _, _ = clicks
    (answer,) = batch(clicks, monkeypatch, "visitors_of_the_run")
    lines = next(iter(run.sources.values())).file.read_text().splitlines()[1:]
    users = [line.split(",")[7] for line in lines]
    days = {(line.split(",")[7], line[:10]) for line in lines}
    again = {user for user, _ in days if sum(user == other for other, _ in days) > 1} if len(days) < 100 else None
    assert answer["visitors"] == len(set(users))
    assert answer["actions"] == ROWS
    assert answer["came_again"] == len(days) - len(set(users)) or again is None
    assert answer["window_start"] == f"{lines[0][:10]}T{lines[0][11:19]}.000Z"


def test_only_the_brands_that_are_put_in_unsold_need_marketing(clicks, monkeypatch):
    answers = batch(clicks, monkeypatch, "brands_for_marketing")
    assert {answer["brand"] for answer in answers} == {"nimbus", "oriel"}


def test_a_stream_question_is_answered_from_the_files_as_well_by_the_key_and_the_window(clicks, monkeypatch):
    answers = batch(clicks, monkeypatch, "top_categories_of_the_day")
    order = [(answer["place"], answer["window_start"]) for answer in answers]
    assert order == sorted(order)
    assert len({answer["weekday"] for answer in answers}) == 3


def test_files_that_belong_to_no_run_are_answered_by_their_own_time(clicks, monkeypatch):
    run, _, _ = clicks
    files = [f"{category}={source.file}" for category, source in run.sources.items()]
    done = CliRunner().invoke(app, ["batch", "unsold_brands", *files, "--format", "json"])
    assert done.exit_code == 0, done.output
    answers = json.loads(done.stdout)
    assert len(answers) > 0
    assert answers == batch(clicks, monkeypatch, "unsold_brands")


def test_without_files_and_without_a_run_it_is_said_what_to_name():
    done = CliRunner().invoke(app, ["batch", "unsold_brands"])
    assert isinstance(done.exception, UsageError)
    assert "name the files, CATEGORY=FILE, or a run, --run RUN" in str(done.exception)


def test_flink_is_not_asked_a_batch_question_and_what_to_type_is_said():
    with pytest.raises(UsageError, match=r"streamproof batch visitors_of_the_run --run RUN"):
        submit([load_question("visitors_of_the_run")], JobOptions(run="r"))


def test_a_batch_question_is_checked_by_duckdb_alone():
    done = CliRunner().invoke(app, ["question", "check", "categories_by_weekday"])
    assert done.exit_code == 0, done.output
    assert "DuckDB takes it; windows whole run" in done.stdout


def test_only_a_batch_question_may_ask_of_the_whole_run():
    text = '-- How many?\n-- stream = "clicks"\n-- window = "whole run"\n-- key = []\nSELECT 1'
    with pytest.raises(UsageError, match='add run = "batch"'):
        parse_question("all", text, "all.sql")


def test_every_bot_and_flood_that_is_put_in_is_found_and_nobody_else(clicks):
    run, home, truth = clicks
    found = list(say_what_was_found(run, load_generator("clicks"), truth, home))
    said = {line.split(":")[0].strip(): line for line in found}
    put_in = [line.split(",")[0] for line in truth.read_text().splitlines()]
    for kind in ("bot", "flood", "left_in_cart"):
        assert said[kind] == f"    {kind}: {put_in.count(kind):,} of {put_in.count(kind):,} found"
        assert put_in.count(kind) > 5
    words = said["bots"].split()
    assert int(words[1]) >= 0.97 * int(words[4])  # a visitor of two sessions at once does much as well
