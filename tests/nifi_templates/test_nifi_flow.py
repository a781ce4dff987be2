"""The flow on real servers: its order, its deployment, and what else no case in nifi_templates/flow_tests can say."""

import json
import time
import uuid

import nipyapi
import pytest
from flow_stream import CATEGORY, Stream
from nipyapi import canvas
from waiting import eventually

from nifi_templates import deployment
from nifi_templates.case_file import find_cases
from nifi_templates.case_run import run_cases
from nifi_templates.cli import FLOW_TESTS
from nifi_templates.definition import build_definition
from streamproof.core.errors import StreamproofError
from streamproof.core.settings import NifiSettings


@pytest.fixture
def stream(servers):
    it = Stream(servers)
    yield it
    it.close()


@pytest.fixture(scope="module")
def deployed(servers):
    it = Stream(servers)
    it.deploy()
    yield it
    it.close()


def processor(name, stream_name):
    group = canvas.get_process_group(stream_name, greedy=False)
    return next(p for p in canvas.list_all_processors(group.id) if p.component.name == name)


def test_rows_come_through_in_order_with_their_keys(deployed):
    deployed.publish("\n".join(deployed.row(i, run="order") for i in range(1, 101)))
    deployed.publish(*(deployed.row(i, run="order") for i in range(101, 301)))

    def all_there():
        found = [(p, k, v) for p, k, v in deployed.rows() if v["run"] == "order"]
        assert {v["seq"] for _, _, v in found} == set(range(1, 301))
        return found

    found = eventually(all_there)
    assert all(key == v["product_id"].encode() == f"{v['seq'] % 5:010d}".encode() for _, key, v in found)
    for partition in {p for p, _, _ in found}:
        seqs = [v["seq"] for p, _, v in found if p == partition]
        assert seqs == sorted(seqs)
    assert list(found[0][2]) == list(deployed.contract.message_fields())


@pytest.mark.parametrize("seq", [0, -1])
def test_a_mark_is_in_every_partition_behind_the_rows_before_it(deployed, seq):
    run = f"mark{seq}"
    filler = {"user_id": "", "product_id": "", "rating": 0.0, "timestamp": 0}
    deployed.publish(*(deployed.row(i, run=run) for i in range(1, 21)), deployed.row(seq, run=run, **filler))

    def marks():
        found = [(p, v["seq"]) for p, _, v in deployed.rows() if v["run"] == run]
        assert len({p for p, s in found if s == seq}) == deployed.servers.kafka.partitions
        return found

    for partition in range(deployed.servers.kafka.partitions):
        assert [s for p, s in eventually(marks) if p == partition][-1] == seq


def test_a_dead_letter_says_when_its_message_came(deployed):
    run = uuid.uuid4().hex
    deployed.publish(deployed.row(1, run=run, rating="abc"), f'{{"run":"{run}","a":1,"a":2}}')

    def both():
        found = [letter for letter in deployed.letters() if letter["run"] == run]
        assert {letter["stage"] for letter in found} == {"message", "schema"}
        return found

    assert all(abs(letter["received_at"] / 1000 - time.time()) < 600 for letter in eventually(both))


def test_the_source_tells_how_often_rows_came_and_which_also_of_those_that_were_dead_letters(deployed):
    run = uuid.uuid4().hex
    rows = [deployed.row(i, run=run, **({"rating": "abc"} if i == 5 else {})) for i in range(1, 9)]
    filler = {"user_id": "", "product_id": "", "rating": 0.0, "timestamp": 0}
    deployed.publish("\n".join(rows), "\n".join(rows[2:5]), deployed.row(-1, run=run, **filler), rows[7][:-1])
    deployed.publish(*(deployed.row(i, run=run, category="a#") for i in (7, 9)))
    deployed.publish(deployed.row(1, run={"a": 1}), deployed.row(1, run="no run"), '{"seq":1}', "[1]")
    last = uuid.uuid4().hex
    deployed.publish(deployed.row(1, run=last))

    def ledger():
        found = deployment.received_rows(deployed.name, nifi=deployed.servers.nifi)
        assert last in found
        return found

    assert eventually(ledger)[run] == {CATEGORY: (11, [[1, 8]]), "a#": (2, [[7, 7], [9, 9]])}
    assert "no run" not in eventually(ledger)
    assert deployment.received_rows("never_deployed", nifi=deployed.servers.nifi) is None


def test_a_category_that_is_no_mqtt_topic_does_not_stop_the_confirmations_of_others(deployed):
    run = uuid.uuid4().hex
    for category in ("a#", "b/+", "", "\x01", "\uffff", "a/" * 300, "x" * 70_000, CATEGORY):
        deployed.publish(deployed.row(1, run=run, category=category))

    def told():
        assert f"{deployed.name}/{CATEGORY}/confirmed/{run}" in [topic for topic, _ in deployed.told]

    eventually(told)


def test_the_projects_cases_find_a_flow_that_lets_too_much_through(stream, monkeypatch, tmp_path):
    lax = build_definition()
    for it in lax["flowContents"]["processors"]:
        it["properties"] |= {"allow-extra-fields": "true"} if it["name"].startswith("check") else {}
    (tmp_path / "flow.json").write_text(json.dumps(lax), encoding="utf-8")
    monkeypatch.setattr(deployment, "FLOW_FILE", tmp_path / "flow.json")
    stream.deploy()
    case = find_cases([FLOW_TESTS / "ratings" / "rows-that-do-not-fit.toml"], stream.contract)
    (result,) = run_cases(stream.contract, case, wait=300, mqtt=stream.servers.mqtt, kafka=stream.servers.kafka)
    came, missing = result.problems
    assert came.startswith('unexpected record: run = "{run}", category = "{category}", seq = 8,')
    assert "extra = 1" in came
    assert missing == 'expected dead letter 7 did not come: reason = "[/extra]", stage = "schema", seq = 8'


def test_deploying_twice_gives_one_flow_and_starts_it_again(stream):
    assert stream.deploy().action == "created"
    assert deployment.received_rows(stream.name, nifi=stream.servers.nifi) == {}
    canvas.schedule_processor(processor("check rows", stream.name), False)
    assert not stream.status().running
    assert stream.deploy().action == "unchanged"
    assert stream.status().running
    groups = nipyapi.nifi.ProcessGroupsApi().get_process_groups(canvas.get_root_pg_id()).process_groups
    assert [g.component.name for g in groups].count(stream.name) == 1


def test_a_changed_definition_replaces_the_old_one_and_loses_nothing_that_is_queued(stream, monkeypatch, tmp_path):
    stream.deploy()
    canvas.schedule_processor(processor("publish rows", stream.name), False)
    stream.publish(*(stream.row(i) for i in range(1, 501)))

    def queued():
        assert stream.status().queued > 0

    eventually(queued)
    changed = build_definition()
    changed["flowContents"]["processors"][0]["properties"]["Batch Messages"] = "77"
    (tmp_path / "flow.json").write_text(json.dumps(changed), encoding="utf-8")
    monkeypatch.setattr(deployment, "FLOW_FILE", tmp_path / "flow.json")
    assert stream.deploy().action == "replaced"
    assert processor("consume MQTT", stream.name).component.config.properties["Batch Messages"] == "77"
    stream.publish(*(stream.row(i) for i in range(501, 601)))

    def all_there():
        assert {v["seq"] for _, _, v in stream.rows()} == set(range(1, 601))

    eventually(all_there)


def test_a_flow_that_nifi_does_not_let_go_at_once_is_removed_when_it_does(stream, monkeypatch):
    stream.deploy()
    refusals, delete = iter([ValueError("is running"), ValueError("is running")]), canvas.delete_process_group

    def delete_at_the_third_time(group):
        for refusal in refusals:
            raise refusal
        return delete(group)

    monkeypatch.setattr(canvas, "delete_process_group", delete_at_the_third_time)
    assert stream.remove().existed
    assert not stream.status().deployed


def test_what_is_published_while_the_flow_is_away_comes_through_after_the_next_deployment(stream):
    stream.deploy()
    assert stream.remove().existed
    assert not stream.status().deployed
    stream.publish(*(stream.row(i) for i in range(1, 51)))
    stream.deploy()

    def all_there():
        assert {v["seq"] for _, _, v in stream.rows()} == set(range(1, 51))

    eventually(all_there)


@pytest.mark.long
def test_queues_that_cannot_drain_because_kafka_is_away_are_kept_unless_forced(stream):
    stream.deploy(kafka=stream.servers.kafka.model_copy(update={"cluster_servers": "127.0.0.1:1"}))
    stream.publish(stream.row(1))

    def queued():
        assert stream.status().queued == 1
        assert any("Kafka at 127.0.0.1:1" in text for text in stream.status().bulletins)

    eventually(queued)
    with pytest.raises(StreamproofError, match=r"1 FlowFiles .* still queued"):
        stream.remove(drain_seconds=1)
    assert stream.status().queued == 1
    assert stream.remove(force=True).dropped == 1
    assert not stream.remove().existed


def test_a_nifi_that_is_away_is_named_with_what_to_try():
    with pytest.raises(
        StreamproofError, match=r"http://127.0.0.1:1/nifi-api cannot be reached.*NIFI_API_ENDPOINT.*refused\)$"
    ):
        deployment.status("ratings", nifi=NifiSettings(api_endpoint="http://127.0.0.1:1/nifi-api"))
