"""The streams of the project on the real chain: made rows, all questions of a stream in one job, and the truth."""

from fractions import Fraction

import pytest

from flink_jobs.submission import JobOptions, submit
from nifi_templates.deployment import deploy
from streamproof.chain.found import say_what_was_found
from streamproof.core.question import load_question
from streamproof.generator.declaration import load_generator
from streamproof.generator.make import make

pytestmark = pytest.mark.long

ROWS = 200_000


def answer(chain, name, files):
    """Replay files of a stream by their own time, with all its questions in one job; return run and verdict."""
    stream = load_generator(name)
    deploy(stream.contract)
    run = chain.new_run(name)
    questions = [load_question(each) for each in stream.generator.demo.questions]
    job = submit(questions, JobOptions(run=run, contract=stream.contract)).job
    chain.jobs.append(job)
    manifest = chain.replay(run, files, stream.contract, speed=Fraction(1))
    verdict = chain.assert_proven(run, job)
    assert sorted(verdict.questions) == sorted(question.name for question in questions)
    return manifest, verdict


@pytest.mark.parametrize("name", ["traffic", "clicks", "purchases"])
def test_made_rows_are_proven_and_all_that_was_put_in_on_purpose_is_found(chain, name):
    made = make(name, ROWS, chain.folder)
    manifest, verdict = answer(chain, name, made.files)
    assert verdict.rows.sent == ROWS
    said = list(say_what_was_found(manifest, load_generator(name), made.truth, chain.servers.home))
    kinds = [line for line in said if line.startswith("    ")]
    assert kinds
    for line in kinds:
        _, _, counts = line.partition(": ")
        found, _, put_in = counts.removesuffix(" found").partition(" of ")
        assert found == put_in != "0", line


def test_the_log_that_rees46_publishes_is_proven_as_it_is(chain, shared_data):
    _, verdict = answer(chain, "clicks", {"REES46": shared_data / "rees46_2019-Oct_sample.csv"})
    assert verdict.rows.sent == 5019
    assert all(each.right > 0 for name, each in verdict.questions.items() if name != "unsold_brands")
