"""Each row that is lost, doubled, a dead letter or made up is counted and named by its sequence number."""


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
