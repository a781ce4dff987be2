"""Settings: a value that cannot be used is refused with its variable, and with what was expected."""

import os
import subprocess
import sys

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from flink_jobs.client import ClientSettings
from streamproof.core.errors import UsageError
from streamproof.core.settings import FlinkSettings, KafkaSettings, MqttSettings, Settings
from streamproof.stack.settings import StackSettings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("settings", "setting", "expected"),
    [
        (MqttSettings, "STREAMPROOF_MQTT_PORT=mqtt", "a whole number"),
        (MqttSettings, "STREAMPROOF_MQTT_PORT=70000", "a whole number, 65535 or less"),
        (KafkaSettings, "STREAMPROOF_KAFKA_PARTITIONS=four", "a whole number"),
        (KafkaSettings, "STREAMPROOF_KAFKA_REPLICATION=0", "a whole number, 1 or more"),
        (FlinkSettings, "STREAMPROOF_FLINK_JOBMANAGER=8081", "host:port, like 127.0.0.1:8081"),
        (StackSettings, "STREAMPROOF_STACK_KAFKA_HEAP=1.5", "a whole number"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_its_variable(monkeypatch, settings, setting, expected):
    monkeypatch.setenv(*setting.split("="))
    with pytest.raises(UsageError) as raised:
        settings()
    assert str(raised.value) == f"{setting}: expected {expected}"


def test_each_value_that_cannot_be_used_has_a_line(tmp_path):
    (tmp_path / ".env").write_text("STREAMPROOF_KAFKA_PARTITIONS=four\nSTREAMPROOF_KAFKA_REPLICATION=0\n")
    with pytest.raises(UsageError, match=r"^\S+_PARTITIONS=four: .*\n\S+_REPLICATION=0: .*$"):
        KafkaSettings()


def test_a_secret_that_cannot_be_used_is_not_printed():
    class Secrets(Settings):
        model_config = SettingsConfigDict(env_prefix="SECRETS_")
        password: SecretStr

    with pytest.raises(UsageError) as raised:
        Secrets(password=["hunter2"])
    assert str(raised.value).startswith("SECRETS_PASSWORD=…: expected ")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xff\xfeS\x00", ".env: is no UTF-8 text"),
        (b"A=1\n\n# why\nSTREAMPROOF_MQTT_PORT: 1883\n", ".env, line 4: expected NAME=value"),
        (b'A="1\n', ".env, line 1: expected NAME=value"),
    ],
)
def test_an_environment_file_in_which_a_setting_could_get_lost_is_refused(tmp_path, content, text):
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(UsageError) as raised:
        MqttSettings()
    assert text in str(raised.value)


def test_a_byte_order_mark_before_the_first_name_is_no_part_of_it(tmp_path, monkeypatch):
    monkeypatch.delenv("STREAMPROOF_MQTT_PORT", raising=False)
    (tmp_path / ".env").write_text("\ufeffSTREAMPROOF_MQTT_PORT=1883\n")
    assert MqttSettings().port == 1883


def test_all_settings_of_the_project_tell_of_a_wrong_value_in_the_same_way():
    assert issubclass(ClientSettings, Settings)
    own = [each for each in BaseSettings.__subclasses__() if not each.__module__.startswith("pydantic")]
    assert own == [Settings]


def test_a_command_ends_with_code_2_and_without_a_traceback():
    command = [sys.executable, "-m", "streamproof", "down"]
    environment = os.environ | {"STREAMPROOF_MQTT_PORT": "a:b:"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: STREAMPROOF_MQTT_PORT=a:b:: expected a whole number\n"
