"""The verdict over a real Kafka: proven where all is there, and what else speaks against a run is named."""

import pytest

import validation.verdict
from streamproof.core.errors import StreamproofError
from validation.answers import Wanted


def test_a_run_whose_rows_and_windows_are_all_there_is_proven(pipeline):
    pipeline.write()
    verdict = pipeline.validate()
    assert verdict.proven, verdict.reasons
    assert verdict.rows.model_dump() == {
        "sent": 250, "resent": 0, "received": None, "kafka": 250, "doubled": 0, "dead_letters": 0, "read": None,
        "lost": 0, "under_way": 0,
    }  # fmt: skip
    assert verdict.windows.model_dump() == {
        "right": len(pipeline.windows), "wrong": 0, "missing": 0, "extra": 0, "late": None
    }  # fmt: skip


def test_a_manifest_that_disagrees_with_its_file_is_not_proven(pipeline):
    pipeline.run.rows["Books"].rejected = 3
    pipeline.write()
    assert pipeline.validate().reasons == ["Books: 3 records were rejected, but by the file it must be 0"]


def test_a_run_that_still_runs_is_not_proven(pipeline):
    pipeline.run.state = "running"
    pipeline.write()
    assert not pipeline.validate().proven


def test_a_file_that_changed_since_the_run_is_refused(pipeline):
    pipeline.write()
    with pipeline.run.sources["Books"].file.open("a") as file:
        file.write("u,1,1.0,1\n")
    with pytest.raises(StreamproofError, match="has changed since it was replayed"):
        pipeline.validate()


def test_without_any_windows_the_message_says_what_to_do(pipeline):
    pipeline.windows = []
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert verdict.rows.kafka == verdict.rows.sent  # the rows are audited all the same
    assert f"submit one that follows it (streamproof submit QUESTION --run {pipeline.run.run})" in verdict.reasons[-1]
    verdict = pipeline.validate(wanted=Wanted(question="rating_averages"))
    assert verdict.windows.missing > 0
    assert not verdict.proven


def test_the_newest_job_is_judged_unless_another_is_wanted(pipeline):
    older = pipeline.windows_of("older", 10_000, 10_000)
    older[0]["rating_count"] += 1
    newer, pipeline.windows = pipeline.windows, older
    pipeline.write()
    pipeline.windows = newer
    pipeline.write_windows()
    assert pipeline.validate().job == newer[0]["job"]
    for wanted in (Wanted(job="older"), Wanted(size=10_000, slide=10_000), Wanted.parse(None, "10s", None)):
        verdict = pipeline.validate(wanted=wanted)
        assert (verdict.job, verdict.windows.wrong, verdict.windows.right) == ("older", 1, len(older) - 1)
    verdict = pipeline.validate(wanted=Wanted(size=7_000, slide=7_000))
    assert not verdict.proven
    assert "no job has written such windows" in verdict.reasons[-1]
    assert "older: 10s / 10s" in verdict.reasons[-1]


def test_waiting_takes_in_what_comes_after_the_first_look(pipeline):
    late, pipeline.windows = pipeline.windows[100:], pipeline.windows[:100]
    pipeline.write()
    asked: list[float] = []

    class Watched(validation.verdict.RunRecords):
        def poll(self) -> bool:
            if not asked:
                pipeline.windows = late
                pipeline.write_windows()
            asked.append(1)
            return super().poll()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation.verdict, "RunRecords", Watched)
        assert pipeline.validate(wait=30).proven
    assert asked


@pytest.mark.parametrize("late", [4, lambda _: 4])
def test_late_rows_are_shown_and_do_not_speak_against_right_windows(pipeline, late):
    pipeline.write()
    verdict = pipeline.validate(late=late)
    assert (verdict.windows.late, verdict.proven) == (4, True)
