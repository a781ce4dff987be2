"""Each row that is lost, doubled, a dead letter or made up is counted and named by its sequence number."""

import pytest

from streamproof.core.errors import StreamproofError
from streamproof.core.run import RowCounts, source_of

START = 1_704_067_203_750


def test_removed_rows_are_lost_and_their_seq_named(pipeline):
    pipeline.rows = [r for r in pipeline.rows if r["seq"] not in (17, 100, 101, 102)]
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert verdict.rows.lost == 4
    assert verdict.reasons == ["Books: 4 rows are lost: seq 17, 100 to 102"]


def test_a_doubled_row_is_counted_and_no_fault(pipeline):
    pipeline.rows += [pipeline.rows[20]] * 2
    pipeline.write()
    verdict = pipeline.validate()
    assert verdict.rows.doubled == 2
    assert verdict.proven, verdict.reasons


def test_a_row_in_the_dead_letters_instead_of_kafka_is_named(pipeline):
    (dead,) = (r for r in pipeline.rows if r["seq"] == 33)
    pipeline.rows.remove(dead)
    letter = {"reason": "r", "stage": "schema", "mqtt_topic": "ratings/Books", "payload": "{}"}
    pipeline.dead_letters = [letter | {"run": dead["run"], "category": "Books", "seq": 33}, letter | {"run": None}]
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert (verdict.rows.dead_letters, verdict.rows.lost, verdict.rows.kafka) == (1, 0, 249)
    assert verdict.reasons == ["Books: 1 rows went to the dead letters instead of Kafka"]


def test_a_row_that_was_never_sent_is_named(pipeline):
    pipeline.rows.append(pipeline.rows[0] | {"seq": 251})
    pipeline.write()
    assert pipeline.validate().reasons == ["Books: 1 rows in Kafka have a seq that was never sent"]


def test_copies_that_differ_in_the_low_watermark_alone_are_copies(pipeline):
    pipeline.rows += [row | {"low_watermark": row["low_watermark"] - 1} for row in pipeline.rows[:5]]
    pipeline.write()
    verdict = pipeline.validate()
    assert (verdict.rows.doubled, verdict.categories["Books"].differing) == (5, 0)
    assert verdict.proven, verdict.reasons


@pytest.mark.parametrize("field", [{"event_time": START - 1}, {"product_id": "other"}, {"rating": 1.5}])
def test_copies_that_differ_otherwise_are_of_two_runs_and_not_called_delivered(pipeline, field):
    pipeline.rows += [row | field for row in pipeline.rows[:2]] + [pipeline.rows[9]]
    pipeline.write()
    verdict = pipeline.validate()
    assert (verdict.proven, verdict.rows.doubled, verdict.categories["Books"].differing) == (False, 3, 2)
    assert f"two runs bear the id {pipeline.run.run}" in verdict.reasons[0]
    done = pipeline.command("audit")
    assert done.exit_code == 1
    assert "Books: 2 rows are in Kafka with different contents: two runs bear the id" in done.stdout
    assert "TWO RUNS BEAR THIS ID" in done.stdout
    assert "NO ROW IS LOST" not in done.stdout


def test_a_category_of_which_no_row_fits_is_named_unless_it_is_asked_for(pipeline, tmp_path):
    (tmp_path / "bad.csv").write_text("user_id,product_id,rating,timestamp\nu,p,much,1\n")
    pipeline.run.sources["Bad"] = source_of(tmp_path / "bad.csv")
    pipeline.run.rows["Bad"] = RowCounts(rejected=1)
    pipeline.write()
    (reason,) = pipeline.validate().reasons
    assert reason.startswith("Bad: no row of its file fits the contract")
    pipeline.run.allow_empty = True
    pipeline.run.save(pipeline.home)
    assert pipeline.validate().proven


def test_a_file_that_has_moved_is_taken_from_its_new_place(pipeline, tmp_path):
    pipeline.write()
    moved = pipeline.run.sources["Books"].file.rename(tmp_path / "moved.csv")
    with pytest.raises(StreamproofError, match=r"Books\.csv"):
        pipeline.validate()
    assert pipeline.command("validate", f"Books={moved}", "--wait", "0").exit_code == 0
    (tmp_path / "other.csv").write_text("u,p,1.0,1\n")
    with pytest.raises(StreamproofError, match="has changed"):
        pipeline.validate(files={"Books": tmp_path / "other.csv"})
