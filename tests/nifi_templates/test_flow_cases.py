"""`streamproof flow test` on real servers: the project's own cases pass, and a case that is wrong fails clearly."""

import json
import threading
from contextlib import contextmanager

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from typer.testing import CliRunner

from nifi_templates import deployment
from nifi_templates.cli import FLOW_TESTS, app
from nifi_templates.definition import build_definition
from streamproof.core.contract import load_contract
from streamproof.core.errors import UsageError

GOOD = '{user_id = "A1", product_id = "0000143502", rating = 4.5, timestamp = 0}'
BAD = '{user_id = "A1", product_id = "0000143502", rating = "4.5", timestamp = 0}'


@pytest.fixture(scope="module", autouse=True)
def _deployed(servers):  # noqa: ARG001 - they must run
    deployment.deploy(load_contract("ratings"))


def invoke(*arguments):
    done = CliRunner().invoke(app, ["test", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def flow_test(*arguments):
    done = invoke("ratings", "--wait", "5min", "--json", *arguments)
    return done.exit_code, json.loads(done.stdout)


@contextmanager
def traffic(servers):
    """Publish other rows, good and bad ones, to the same stream."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect(servers.mqtt.host, servers.mqtt.port)
    client.loop_start()
    row = '{"run":"r","category":"Other","seq":1,"event_time":1,"low_watermark":0,'
    row += '"user_id":"u","product_id":"p","rating":4.5,"timestamp":0}'
    stop = threading.Event()

    def publish():
        while not stop.wait(0.05):
            client.publish("ratings/Other", f'{row}\n{{"other":1}}\n{{broken', qos=1)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        client.disconnect()
        client.loop_stop()


def test_the_flow_does_what_the_projects_own_cases_say_beside_other_traffic(servers):
    with traffic(servers):
        code, found = flow_test()
    assert [problem for case in found["cases"] for problem in case["problems"]] == []
    assert (code, found["passed"]) == (0, True)
    assert len(found["cases"]) == len(list((FLOW_TESTS / "ratings").glob("*.toml")))


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        (
            "record = [{seq = 1, rating = 4}]\ndead_letter = [{seq = 2}]",
            "expected record 1 did not come: seq = 1, rating = 4\n  instead there came: seq = 1, rating = 4.5",
        ),
        ("dead_letter = [{}]", 'unexpected record: run = "{run}", category = "{category}", seq = 1,'),
        ("record = [{}]", "unexpected dead letter: reason = "),
        ("record = [{}, {}]\ndead_letter = [{}]", "expected record 2 did not come: (any)"),
        ('record = [{}]\ndead_letter = [{reason = "[/user_id]"}]', "expected dead letter 1 did not come: reason = "),
        ('record = [{seq = 1, kafka_key = "143"}]\ndead_letter = [{}]', 'came: seq = 1, kafka_key = "0000143502"'),
        ("record = [{every_partition = true}]\ndead_letter = [{}]", "expected record 4 did not come: partition = 3"),
        ("record = [{}]\ndead_letter = [{}]\nconfirmed = [[1, 3]]", "the edge was not told that Kafka has seq 3"),
        (
            "record = [{}]\ndead_letter = [{}]\nconfirmed = [[1, 1]]",
            "unexpected: the edge was told that Kafka has",
        ),
    ],
)
def test_a_case_fails_when_something_else_comes_than_what_it_says(tmp_path, expected, problem):
    (tmp_path / "a.toml").write_text(f"message = [{{rows = [{GOOD}, {BAD}]}}]\n[expect]\n{expected}\n")
    code, found = flow_test(tmp_path)
    assert (code, found["passed"]) == (1, False)
    assert problem in "\n".join(found["cases"][0]["problems"])
    assert (found["cases"][0]["records"], found["cases"][0]["dead_letters"]) == (1, 1)


def test_a_flow_that_does_not_bring_the_messages_through_in_time_fails_the_case_and_ends_the_test():
    code, found = flow_test("--wait", "1ms")
    assert code == 1
    assert [case["problems"][0] for case in found["cases"]] == [
        "the flow did not bring the messages through within 0.001 s"
    ]


def test_a_stream_that_is_not_deployed_is_wrong_use(tmp_path):
    text = '{name}\npartition_by = "k"\nevent_time = "t"\n[fields]\n'
    text += 'k = {type = "text"}\nn = {type = "integer"}\nt = {type = "time", unit = "s"}\n'
    (tmp_path / "other.toml").write_text(text.replace("{name}", 'name = "nowhere"'))
    (tmp_path / "case.toml").write_text('[[message]]\npayload = ""\n[expect]\n')
    with pytest.raises(UsageError, match="no cases for nowhere come with the project"):
        invoke(tmp_path / "other.toml")
    with pytest.raises(UsageError, match="the flow of nowhere is not deployed"):
        invoke(tmp_path / "other.toml", tmp_path / "case.toml")


def test_a_flow_that_is_older_than_its_definition_is_tested_and_said_to_be_so(tmp_path, monkeypatch):
    (tmp_path / "flow.json").write_text(json.dumps(build_definition() | {"latest": True}), encoding="utf-8")
    case = FLOW_TESTS / "ratings" / "empty-message.toml"
    assert "older" not in invoke("ratings", case).stderr
    monkeypatch.setattr(deployment, "FLOW_FILE", tmp_path / "flow.json")
    done = invoke("ratings", case)
    assert "what is deployed is older" in done.stderr
    assert "passed" in done.stderr


FORMATS = """
name = "formats"
partition_by = "id"
[fields]
id = {type = "text"}
precise = {type = "decimal", scale = 18}
price = {type = "decimal", scale = 9, optional = true}
brand = {type = "text", optional = true}
motion = {type = "boolean"}
seen = {type = "time", format = "iso", optional = true}
"""
FORMATS_CASE = """
[[message]]
rows = [
    {id = "a", precise = "99999999999999.00000000000000001", price = 123456.12345, brand = "", motion = true, seen = 1},
    {id = "b", precise = 1.5, price = 1, brand = "b", motion = true, seen = 1},
    {id = "c", precise = "1", price = "1", brand = "b", motion = true, seen = 1},
    {id = "d", precise = "1", price = 1, brand = "b", motion = "true", seen = 1},
]
[[message]]
payload = '''
{"run":"{run}","category":"{category}","seq":5,"event_time":5,"low_watermark":0,"id":"e","precise":"-0.000000000000000001","price":null,"brand":null,"motion":false,"seen":null}
{"run":"{run}","category":"{category}","seq":6,"event_time":6,"low_watermark":0,"id":null,"precise":"1","price":1,"brand":"b","motion":true,"seen":1}
{"run":"{run}","category":"{category}","seq":7,"event_time":7,"low_watermark":0,"id":"g","precise":"1","price":1,"brand":"b","motion":null,"seen":1}
'''
[expect]
confirmed = [[1, 7]]
record = [
    {seq = 1, precise = "99999999999999.00000000000000001", price = 123456.12345, motion = true},
    {seq = 5, precise = "-0.000000000000000001", motion = false},
]
dead_letter = [
    {seq = 2, reason = "/precise"}, {seq = 3, reason = "/price"}, {seq = 4, reason = "/motion"},
    {seq = 6, reason = "/id"}, {seq = 7, reason = "/motion"},
]
"""


def test_precise_decimals_booleans_and_nothing_come_through_as_they_were_sent(tmp_path):
    (tmp_path / "formats.toml").write_text(FORMATS)
    (tmp_path / "case.toml").write_text(FORMATS_CASE)
    deployment.deploy(load_contract(str(tmp_path / "formats.toml")))
    try:
        done = invoke(tmp_path / "formats.toml", tmp_path / "case.toml", "--wait", "2min", "--json")
        [case] = json.loads(done.stdout)["cases"]
        assert case["problems"] == []
    finally:
        deployment.remove("formats", force=True)
