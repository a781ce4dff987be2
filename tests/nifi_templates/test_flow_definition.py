"""The flow's definition file, the processors' folder, and what makes a deployment differ from another."""

import ast
import base64
import json
import re
import socket
import types

import pytest
from checkout import CHECKOUT

from nifi_templates.definition import FLOW_FILE, PARAMETERS, build_definition, stream_definition, stream_parameters
from nifi_templates.extensions import PROCESSORS, REQUIREMENTS, install_extensions
from nifi_templates.processors.python_process import acknowledge_at_once, carry_bytes_fast
from streamproof.core.contract import load_contract
from streamproof.core.settings import KafkaSettings, MqttSettings


def test_the_file_is_what_the_code_builds():
    assert json.loads(FLOW_FILE.read_text(encoding="utf-8")) == build_definition()


def test_every_parameter_that_the_flow_names_has_a_value_from_contract_or_settings():
    named = set(re.findall(r"#\{([^}]+)\}", FLOW_FILE.read_text(encoding="utf-8")))
    assert named == set(PARAMETERS) == set(stream_parameters(load_contract("ratings"), MqttSettings(), KafkaSettings()))


def test_a_stream_gets_a_group_and_a_parameter_context_of_its_own():
    values = stream_parameters(load_contract("ratings"), MqttSettings(), KafkaSettings())
    made = stream_definition(build_definition(), "ratings", values)
    (context,) = made["parameterContexts"].values()
    assert made["flowContents"]["name"] == "ratings"
    assert made["flowContents"]["parameterContextName"] == context["name"] == "streamproof ratings"
    assert {p["name"]: p["value"] or "" for p in context["parameters"]} == values


def test_installing_the_extensions_twice_changes_nothing(tmp_path):
    install_extensions(tmp_path / "x")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "x").rglob("*.py")}
    (tmp_path / "x" / "streamproof" / "old.py").touch()
    install_extensions(tmp_path / "x")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "x").rglob("*.py")} == before
    assert (tmp_path / "x" / "NAR-INF" / "bundled-dependencies" / "paho" / "mqtt" / "client.py") in before


def test_the_processors_packages_are_those_of_the_whole_lock():
    def named(file):
        lines = file.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line and not line.lstrip().startswith("#")]

    text = "\n".join(named(CHECKOUT / "requirements.lock"))
    packages = re.split(r"\n(?=\S)", "\n".join(named(REQUIREMENTS)))
    assert len(packages) == 4
    assert all(package in text for package in packages)


def test_the_processors_name_the_same_versions_as_their_lock():
    named = {
        element.value
        for path in PROCESSORS.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "dependencies"
        for element in node.value.elts
    }
    assert named == set(re.findall(r"^\S+==\S+", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE))


def test_py4js_coding_of_bytes_is_replaced_only_where_it_gives_the_same():
    def encode(data):
        return base64.b64encode(data).decode()

    same = types.SimpleNamespace(encode_bytearray=encode, decode_bytearray=lambda text: bytes(base64.b64decode(text)))
    other = types.SimpleNamespace(
        encode_bytearray=encode, decode_bytearray=lambda text: bytearray(base64.b64decode(text))
    )
    kept = other.decode_bytearray
    assert carry_bytes_fast(same)
    assert same.encode_bytearray is not encode
    for data in (b"", b"\n", bytes(range(256)) * 1000):
        assert same.encode_bytearray(data) == same.encode_bytearray(bytearray(data)) == encode(data)
        assert same.decode_bytearray(encode(data)) == data
    assert not carry_bytes_fast(other)
    assert other.decode_bytearray is kept
    assert not carry_bytes_fast(types.SimpleNamespace())


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="acknowledging at once is Linux's alone")
def test_what_is_read_is_acknowledged_at_once_although_this_side_has_just_sent():
    class Connection:
        def __init__(self):
            self.socket = self.stream = None

    acknowledge_at_once(Connection)
    connection = Connection()
    assert connection.stream is None
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        other, _ = server.accept()
        with other, client.makefile("rb") as stream:
            connection.socket, connection.stream = client, stream
            for _ in range(3):  # a dialogue, in which TCP begins to wait with its acknowledgements
                client.sendall(b"ask\n")
                assert other.recv(10) == b"ask\n"
                other.sendall(b"answer\n")
                assert connection.stream.readline() == b"answer\n"
            client.sendall(b"ask\n")
            assert not client.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
            assert connection.stream is stream
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
