"""The batch branch: answers from the lake, hour by hour, against the files' and the stream's."""

import csv
import io
import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from fractions import Fraction

import duckdb
import pytest
from typer.testing import CliRunner
from written_results import as_written

from streamproof.bench.full_topic import fill_topic, new_run
from streamproof.chain.ask_stages import kept_in
from streamproof.chain.batch_answers import rows_from_files
from streamproof.cli import app
from streamproof.core.errors import UsageError
from streamproof.core.kafka import TopicReader
from streamproof.core.question import load_question
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.core.topics import ensure_topics
from streamproof.sinks.kept import Kept
from streamproof.sinks.lake.batch import DONE, answer_from_lake, answers_table
from validation.answers import Wanted
from validation.live.lake_batch import lake_batches
from validation.stages import LAST, Stages
from validation.truth import compute_truth
from validation.verdict import validate

pytestmark = pytest.mark.xdist_group("lake")

QUESTION = load_question("rating_averages")
HOUR = 3_600_000


def store_half(lake):
    """Store the first half of what each partition has."""
    topic, reader = lake.contract.topics.rows, TopicReader(lake.contract.topics.rows, lake.run.created, KafkaSettings())
    parts = {}
    for message in (each for messages in reader.read() for each in messages):
        parts.setdefault(message.partition(), []).append(message)
    reader.close()
    halves = {part: messages[: len(messages) // 2] for part, messages in parts.items()}
    target = lake.target()
    records = target.encode([message for half in halves.values() for message in half])
    target.store(records, {}, {(topic, part): half[-1].offset() + 1 for part, half in halves.items()})


def answer(lake):
    """Return what is kept, and all answers."""
    with duckdb.connect() as db:
        kept = answer_from_lake(db, lake.catalogue, lake.run, QUESTION)
        return kept, set(db.execute("SELECT * EXCLUDE (run) FROM answers").fetchall())


def true_answers(lake):
    with rows_from_files(lake.run, [QUESTION], HomeSettings()) as db:
        compute_truth(db, lake.run, QUESTION, "answers")
        names = [name for name in db.table("answers").columns if name != "run"]
        return set(db.execute(f"SELECT {', '.join(names)} FROM answers").fetchall()), names


def test_hours_are_answered_as_they_close_and_kept_and_are_what_the_files_say(new_lake_run):
    lake = new_lake_run(4000, interval=Fraction(10_000))
    store_half(lake)
    first, early = answer(lake)
    assert first.done_to % HOUR == 0
    assert 0 < first.new == len(early)
    assert answer(lake) == ((0, first.done_to), early)
    lake.store()
    last, answers = answer(lake)
    assert last.done_to == LAST
    assert last.new == len(answers) - len(early)
    truth, _ = true_answers(lake)
    assert early < answers
    assert answers == truth
    table = lake.catalogue.load_table((lake.stream, answers_table(QUESTION)))
    assert table.scan().to_arrow().num_rows == len(truth)


def command(*arguments):
    return CliRunner().invoke(app, ["batch", *arguments], catch_exceptions=False)


def test_the_streams_answers_are_compared_and_stand_behind_the_lakes(new_lake_run, tmp_path):
    lake = new_lake_run(4000, interval=Fraction(10_000))
    store_half(lake)
    file = tmp_path / "kept.sqlite"
    Kept(kind="sqlite", file=file).note(lake.id)
    truth, names = true_answers(lake)
    kept, early = answer(lake)
    topic = QUESTION.topic(lake.contract)
    ensure_topics([topic], KafkaSettings())
    written = [dict(zip(names, each, strict=True)) for each in sorted(truth, key=str)]
    ends = {id(each): (each["window_end"] - datetime(1970, 1, 1)) // timedelta(milliseconds=1) for each in written}  # noqa: DTZ001
    of_lake = [each for each in written if ends[id(each)] <= kept.done_to]
    of_lake[0]["rating_count"] += 1
    written.remove(of_lake[1])
    lake.write(*(as_kafka_has_it(lake, each, ends[id(each)]) for each in written), topic=topic)

    done = command("rating_averages", "--run", lake.id, "--from", "both")
    assert done.exit_code == 1, done.stderr
    expected = f"{len(of_lake) - 2:,} right, 1 wrong, 1 missing, 0 extra"
    assert expected in " ".join(done.stderr.split())
    assert len(done.stdout.splitlines()) == len(truth) + 1
    assert len(early) == len(of_lake)

    found = lake_batches(lake.id, [QUESTION], HomeSettings())["rating_averages"]
    assert (found.done_to, found.answers, found.differing) == (kept.done_to, len(early), 2)
    assert [each.verdict for each in found.not_right] == ["wrong", "missing"]
    with closing(sqlite3.connect(file)) as db:
        assert db.execute(f"SELECT count(*) FROM {lake.stream}_rating_averages_batch").fetchall() == [(len(early),)]


def test_the_verdict_judges_what_the_batch_has_kept_up_to_where_it_goes(new_lake_run):
    lake = new_lake_run(4000, interval=Fraction(10_000))
    store_half(lake)
    Kept(kind="lake").note(lake.id)

    def judge():
        wanted, stages = Wanted(question="rating_averages"), Stages(targets=kept_in)
        return validate(lake.id, HomeSettings(), KafkaSettings(), wanted=wanted, stages=stages)

    assert judge().targets == {}
    _, early = answer(lake)
    ((name, target),) = judge().targets.items()
    assert name.endswith("/lake: batch")
    counts = target.questions["rating_averages"]
    assert (counts.right, counts.wrong, counts.missing, counts.extra) == (len(early), 0, 0, 0)

    table = lake.catalogue.load_table((lake.stream, answers_table(QUESTION)))
    done = table.current_snapshot().summary.additional_properties[DONE]
    table.overwrite(table.scan().to_arrow().slice(1), snapshot_properties={DONE: done})
    verdict = judge()
    (counts,) = verdict.targets[name].questions.values()
    assert (counts.right, counts.missing) == (len(early) - 1, 1)
    assert counts.not_right[0].rows
    assert f"{name}: rating_averages: 1 answers are missing" in verdict.reasons


ALL_DAYS = """-- How many rows came on each day, of how many runs?
-- stream = "{stream}"
-- run = "batch"
-- window = "tumbling 1d"
-- key = []
SELECT window_start, window_end, COUNT(*) AS n, COUNT(DISTINCT run) AS runs, COUNT(DISTINCT user_id) AS users
FROM windowed GROUP BY window_start, window_end
"""


def test_a_question_over_all_runs_counts_each_row_of_each_run_once(new_lake_run, tmp_path):
    lake = new_lake_run(2000)
    other = fill_topic(new_run(f"{lake.id}-b", 1000).model_copy(update={"contract": lake.contract}))
    topic, reader = lake.contract.topics.rows, TopicReader(lake.contract.topics.rows, lake.run.created, KafkaSettings())
    twice = [message.value() for messages in reader.read() for message in messages][:500]
    reader.close()
    lake.write(*twice, topic=topic)
    lake.store()
    file = tmp_path / "all_days.sql"
    file.write_text(ALL_DAYS.replace("{stream}", lake.stream))
    done = command(str(file), "--from", "lake")
    assert done.exit_code == 0, done.stderr
    assert f"the lake has 3,000 rows of these runs: {lake.id}, {other.run}" in done.stderr
    assert "more rows may come" not in done.stderr
    (day,) = csv.DictReader(io.StringIO(done.stdout))
    assert (day["n"], day["runs"]) == ("3000", "2")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "both"], "--from both needs --run"),
        (["A=a.csv", "--from", "lake"], "--from lake reads no files"),
        (["--from", "lake"], "the lake has no table nowhere.processed"),
    ],
)
def test_what_the_lake_cannot_be_asked_is_said(own_kafka, tmp_path, arguments, says):  # noqa: ARG001
    file = tmp_path / "all_days.sql"
    file.write_text(ALL_DAYS.replace("{stream}", "nowhere"))
    with pytest.raises(UsageError, match=says):
        command(str(file), *arguments)


def as_kafka_has_it(lake, answer, end):
    size = QUESTION.window.size
    own = {name: value for name, value in answer.items() if name not in {"window_start", "window_end", "run"}}
    own["rating_sum"], own["rating_min"], own["rating_max"] = (
        float(own[name]) for name in ("rating_sum", "rating_min", "rating_max")
    )
    value = as_written(lake.run, QUESTION, end - size, end, "job", **own)
    return json.dumps(value).encode() if isinstance(value, dict) else value
