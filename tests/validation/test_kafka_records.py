"""Reading beside jobs that write: transactions that are open, broken off, or committed meanwhile."""

import pytest
from confluent_kafka import Consumer
from waiting import until

import streamproof.core.kafka
from streamproof.core.contract import Topics
from streamproof.core.topics import ensure_topics
from validation.jobs import Wanted
from validation.live.reader import Reader


def test_windows_of_a_transaction_that_was_not_committed_do_not_count(pipeline):
    pipeline.write(windows_too=False)
    pipeline.begin_transaction([pipeline.windows[0] | {"rating_count": 99}]).abort_transaction(20)
    pipeline.write_windows()
    assert pipeline.validate().proven


def test_windows_behind_an_open_transaction_are_missing_and_verdict_and_page_say_where_they_are(pipeline):
    run = pipeline.run
    run.contract = run.contract.model_copy(
        update={"topics": run.contract.topics.model_copy(update={"windows": f"hidden-{run.run}"})}
    )
    ensure_topics(run.contract, pipeline.kafka)
    pipeline.write(windows_too=False)
    transaction = pipeline.begin_transaction(pipeline.windows, partition=1)
    verdict = pipeline.validate(wanted=Wanted.parse(None, "30s", "5s"))
    assert verdict.windows.missing == len(pipeline.windows)
    (said,) = [reason for reason in verdict.reasons if "cannot be read yet" in reason]
    assert f"{len(pipeline.windows)} in hidden-{run.run}/1: they lie behind a transaction" in said
    page = Reader(run.run, pipeline.home, pipeline.kafka)
    page.start()
    try:
        assert until(lambda: page.picture.hidden) == said
    finally:
        page.stop()
    transaction.commit_transaction(20)
    verdict = pipeline.validate(wait=20)
    assert verdict.proven, verdict.reasons


def test_windows_that_are_committed_while_the_reading_begins_are_read(pipeline):
    contract = pipeline.run.contract
    topics = Topics(rows=f"{pipeline.run.run}.r", dead_letters=f"{pipeline.run.run}.d", windows=f"{pipeline.run.run}.w")
    pipeline.run.contract = contract.model_copy(update={"topics": topics})
    ensure_topics(pipeline.run.contract, pipeline.kafka)
    pipeline.write(windows_too=False)
    written: list[str] = []

    class JobWritesNow(Consumer):
        """Kafka has no window when it is asked for the first one's offset; they are there when it has answered."""

        def offsets_for_times(self, places, *args, **kwargs):
            answer = super().offsets_for_times(places, *args, **kwargs)
            if places[0].topic == topics.windows and not written:
                written.append(places[0].topic)
                pipeline.write_windows()
                while sum(self.get_watermark_offsets(place)[1] for place in places) < len(pipeline.windows):
                    pass
            return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamproof.core.kafka, "Consumer", JobWritesNow)
        assert pipeline.validate(wait=5).reasons == []
    assert written
