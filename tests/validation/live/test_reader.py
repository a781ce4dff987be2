"""The reading of a run in the background, on a Kafka into which a pipeline that is played writes."""

import pytest
from confluent_kafka import Producer
from waiting import until
from written_results import as_written

from streamproof.core.question import load_question, parse_question
from streamproof.core.topics import ensure_topics
from validation.live.reader import Reader
from validation.stages import AskedBy, Stages

AVERAGES = load_question("rating_averages")
ALL_ROWS = parse_question(
    "all_rows",
    "-- How many rows are there in an hour?\n-- stream = 'ratings'\n-- window = 'tumbling 1h'\n-- key = []\n"
    "SELECT run, window_start, window_end, COUNT(*) AS n FROM windowed GROUP BY run, window_start, window_end",
    "all_rows.sql",
)
HOUR, FIRST_HOUR = 3_600_000, 1_704_067_200_000


@pytest.mark.long
def test_a_question_that_nobody_knew_when_the_page_began_is_shown_once_it_is_asked(pipeline):
    job = pipeline.windows[0]["job"]
    by_jobs, at_work, asked = [AskedBy(job, AVERAGES, of_run=True)], {"later"}, []
    pipeline.write()
    stages = Stages(jobs=lambda _: list(by_jobs), is_working=lambda job: asked.append(job) or job in at_work)
    page = Reader(pipeline.run.run, pipeline.home, pipeline.kafka, stages)
    page.start()
    try:
        assert until(lambda: page.picture.is_quiet and page.picture.is_judging)
        assert page.picture.reasons == []
        assert page.picture.answers.right == len(pipeline.windows)
        topic = ALL_ROWS.topic(pipeline.run.contract)
        ensure_topics([topic], pipeline.kafka)
        by_jobs.insert(0, AskedBy("later", ALL_ROWS, of_run=True))
        assert until(lambda: asked.count("later") > 1)
        assert not page.picture.is_quiet  # as long as that job is at work, what it has not written is not missing
        assert page.picture.answers.missing == 0
        at_work.clear()
        assert until(lambda: "all_rows" in page.picture.questions and page.picture.is_quiet)
        assert page.picture.reasons == ["all_rows: 1 windows are missing"]
        producer = Producer({"bootstrap.servers": pipeline.kafka.servers})
        producer.produce(
            topic, as_written(pipeline.run, ALL_ROWS, FIRST_HOUR, FIRST_HOUR + HOUR, "later", n=len(pipeline.rows) - 2)
        )
        assert producer.flush(20) == 0
        assert until(lambda: page.picture.is_quiet and not page.picture.reasons)
        assert {name: each.counts.right for name, each in page.picture.questions.items()} == {
            "all_rows": 1,
            "rating_averages": len(pipeline.windows),
        }
    finally:
        page.stop()


def test_without_any_job_the_page_says_so_at_the_end(pipeline):
    pipeline.write(windows_too=False)
    page = Reader(pipeline.run.run, pipeline.home, pipeline.kafka)
    page.start()
    try:
        assert until(lambda: page.picture.is_quiet)
        assert any("submit one that follows it" in reason for reason in page.picture.reasons)
        assert not page.picture.is_judging
    finally:
        page.stop()
