"""Scores in a real Kafka, while whoever computes them is killed again and again."""

import json
import random
import signal
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest
from typer.testing import CliRunner
from waiting import until

from streamproof.cli import app
from streamproof.core.errors import StreamproofError
from streamproof.core.kafka import TopicReader, topics_of
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.models import scorer as scorer_module
from streamproof.models.scorer import Scorer, read_digests
from validation.stages import AskedBy, Stages
from validation.verdict import validate


@contextmanager
def at_work():
    """Let scores and alerts be computed, as the supervisor does; kill it at the end."""
    process = subprocess.Popen([sys.executable, "-m", "streamproof.alerts"], stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def committed(topic, run):
    """Return all committed records of a topic."""
    if topic not in topics_of(run.kafka):
        return []
    with closing(TopicReader(topic, run.run.created, run.kafka)) as reader:
        return [json.loads(message.value()) for messages in reader.read() for message in messages]


def scores_of(run, model):
    found = committed(model.topic(run.contract), run)
    assert all((each["job"], each["question"]) == (run.label, model.label) for each in found)
    return [(each["window_end"], each["item"], each["score"], each["alert"]) for each in found]


def judged(run):
    asked = [AskedBy(run.label, question, of_run=True) for question in run.record.questions]
    return validate(run.run.run, HomeSettings(), KafkaSettings(), stages=Stages(jobs=lambda _: asked), wait=0)


@pytest.mark.long
def test_after_any_kill_there_are_the_scores_of_the_batch_each_once_and_the_same_state(scored_run):
    run, chance = scored_run, random.Random(3)
    ends = sorted(run.answers)
    models = run.question.models
    run.write_rows()
    parts = [ends[n : n + 600] for n in range(0, len(ends), 600)]
    for part in parts:
        with at_work():
            run.write_answers(part)
            chosen, due = chance.choice(models), run.iso(chance.choice(part))
            until(lambda: any(end >= due for end, *_ in scores_of(run, chosen)), look=0.05)  # noqa: B023
    with at_work() as process:
        run.end_job()
        until(lambda: process.poll() is not None)
        assert process.returncode == 0
    for model in models:
        assert sorted(scores_of(run, model)) == run.truth[model.name]  # bit for bit
        written = read_digests(run.label, model, run.contract, run.run.created, run.kafka)
        assert written == run.digests[model.name] != []
    verdict = judged(run)
    assert verdict.proven, verdict.reasons
    for name in ("unusual", "rare"):
        judged_model = verdict.questions[name]
        assert (judged_model.right, judged_model.alerts.behind) == (len(run.truth[name]), 0)
        assert judged_model.alerts.right > 0
    done = CliRunner().invoke(app, ["model", "digests", "unusual", run.run.run])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "1 digests, all the same")


def test_a_second_scorer_fences_the_first_which_then_writes_nothing(scored_run):
    run = scored_run
    (unusual, _) = run.question.models
    about = {"since": run.run.created, "kafka": run.kafka}
    ends = sorted(run.answers)[:20]
    with closing(Scorer(run.label, unusual, run.contract, **about)) as first:
        run.write_answers(ends[:10])
        until(lambda: first.step(0.2) or first.is_at_end())
        with closing(Scorer(run.label, unusual, run.contract, **about)) as second:
            run.write_answers(ends[10:])
            with pytest.raises(StreamproofError, match="the scores of unusual"):
                until(lambda: first.step(0.2))
            until(lambda: second.step(0.2) or second.is_at_end())
    assert sorted(scores_of(run, unusual)) == run.truth["unusual"][: sum(len(run.answers[end]) for end in ends)]


class Dying:
    """A producer whose process ends at its n-th commit, before Kafka hears of it."""

    def __init__(self, producer, commits):
        self._producer, self._commits = producer, commits

    def __getattr__(self, name):
        return getattr(self._producer, name)

    def commit_transaction(self, *timeout):
        self._commits -= 1
        if not self._commits:
            self._producer.flush()
            raise KeyboardInterrupt
        self._producer.commit_transaction(*timeout)


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.long)], ids=["seasonal", "forest"])
def test_a_scorer_that_ends_within_a_transaction_leaves_nothing_of_it(scored_run, monkeypatch, number):
    run, model = scored_run, scored_run.question.models[number]
    monkeypatch.setattr(scorer_module, "_MOST", 40)
    ends = sorted(run.answers)
    done = 0
    for commits, windows in ((3, 40), (1, 20), (2, 60)):
        run.write_answers(ends[done : done + windows])
        done += windows
        scorer = Scorer(run.label, model, run.contract, since=run.run.created, kafka=run.kafka)
        scorer._producer = Dying(scorer._producer, commits)
        with pytest.raises(KeyboardInterrupt):
            until(lambda: scorer.step(0.2))  # noqa: B023
        scorer.close()
    with closing(Scorer(run.label, model, run.contract, since=run.run.created, kafka=run.kafka)) as scorer:
        until(lambda: scorer.step(0.2) or scorer.is_at_end())
    assert sorted(scores_of(run, model)) == run.truth[model.name][: sum(len(run.answers[end]) for end in ends[:done])]


def test_a_missing_or_other_score_is_told(scored_run):
    run = scored_run
    run.write_rows()
    run.write_answers(sorted(run.answers))
    run.end_job()
    verdict = judged(run)  # nobody has computed any
    assert not verdict.proven
    assert verdict.questions["unusual"].missing == len(run.truth["unusual"])
    assert "unusual: after 5,000 answers the model's state is not that of the batch" in verdict.reasons
