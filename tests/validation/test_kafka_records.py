"""Reading beside jobs that write: transactions that are open, broken off, or committed meanwhile."""

import re

import pytest
from confluent_kafka import Consumer
from waiting import until

import streamproof.core.kafka
from streamproof.core.contract import Topics
from streamproof.core.question import load_question
from streamproof.core.topics import ensure_topics
from validation.answers import Wanted
from validation.live.reader import Reader
from validation.stages import AskedBy, Stages

AVERAGES = load_question("rating_averages")


def test_windows_of_a_transaction_that_was_not_committed_do_not_count(pipeline):
    pipeline.write(windows_too=False)
    pipeline.begin_transaction([pipeline.windows[0] | {"rating_count": 99}]).abort_transaction(20)
    pipeline.write_windows()
    assert pipeline.validate().proven


def test_windows_behind_an_open_transaction_are_missing_and_verdict_and_page_say_where_they_are(pipeline):
    run = pipeline.run
    run.contract = run.contract.model_copy(update={"name": re.sub(r"\W", "_", f"hidden_{run.run}").lower()})
    topic = AVERAGES.topic(run.contract)
    ensure_topics([topic], pipeline.kafka)
    pipeline.write(windows_too=False)
    transaction = pipeline.begin_transaction(pipeline.windows, partition=1)
    verdict = pipeline.validate(wanted=Wanted(question="rating_averages"))
    assert verdict.windows.missing == len(pipeline.windows)
    (said,) = [reason for reason in verdict.reasons if "cannot be read yet" in reason]
    assert f"{len(pipeline.windows)} in {topic}/1: they lie behind a transaction" in said
    asked = AskedBy("job", AVERAGES, of_run=True)
    page = Reader(run.run, pipeline.home, pipeline.kafka, Stages(jobs=lambda _: [asked]))
    page.start()
    try:
        assert until(lambda: page.picture.hidden) == said
    finally:
        page.stop()
    transaction.commit_transaction(20)
    verdict = pipeline.validate(wanted=Wanted(question="rating_averages"), wait=20)
    assert verdict.proven, verdict.reasons


def test_windows_that_are_committed_while_the_reading_begins_are_read(pipeline):
    contract = pipeline.run.contract
    topics = Topics(rows=f"{pipeline.run.run}.r", dead_letters=f"{pipeline.run.run}.d")
    name = re.sub(r"\W", "_", f"now_{pipeline.run.run}").lower()
    pipeline.run.contract = contract.model_copy(update={"name": name, "topics": topics})
    windows = AVERAGES.topic(pipeline.run.contract)
    ensure_topics([topics.rows, topics.dead_letters, windows], pipeline.kafka)
    pipeline.write(windows_too=False)
    written: list[str] = []

    class JobWritesNow(Consumer):
        """Kafka has no window when it is asked for the first one's offset; they are there when it has answered."""

        def offsets_for_times(self, places, *args, **kwargs):
            answer = super().offsets_for_times(places, *args, **kwargs)
            if places[0].topic == windows and not written:
                written.append(places[0].topic)
                pipeline.write_windows()
                while sum(self.get_watermark_offsets(place)[1] for place in places) < len(pipeline.windows):
                    pass
            return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamproof.core.kafka, "Consumer", JobWritesNow)
        assert pipeline.validate(wanted=Wanted(question="rating_averages"), wait=5).reasons == []
    assert written
