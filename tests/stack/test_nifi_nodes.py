"""Two nodes of NiFi: every command knows both, and a home keeps the number it began with."""

import pytest

from streamproof.core.errors import UsageError
from streamproof.core.settings import KafkaSettings, NifiSettings
from streamproof.stack.kafka import keep_brokers
from streamproof.stack.nifi import keep_nodes
from streamproof.stack.servers import Stack

TWO = ["http://127.0.0.1:28080/nifi-api", "http://127.0.0.1:28090/nifi-api"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMPROOF_HOME", str(tmp_path))
    for name in ("STREAMPROOF_KAFKA_SERVERS", "NIFI_API_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_home_of_two_nodes_has_a_zookeeper_and_is_known_to_every_command(home):
    keep_nodes(home, 2)
    keep_brokers(home, 3)
    keep_nodes(home, 2)
    assert (NifiSettings().endpoints, len(KafkaSettings().brokers)) == (TWO, 3)
    assert Stack.from_environment().parts[4:8] == ("zookeeper", "nifi-1", "nifi-2", "jobmanager")


@pytest.mark.parametrize(("count", "began", "words"), [(2, "nifi/conf", "one node"), (1, "nifi/nifi-1", "two nodes")])
def test_a_home_keeps_the_number_of_nodes_that_it_began_with(home, count, began, words):
    (home / began).mkdir(parents=True)
    with pytest.raises(UsageError, match=f"began with {words}"):
        keep_nodes(home, count)


def test_neither_none_nor_three_nodes_are_started(home, monkeypatch):
    with pytest.raises(UsageError, match="--nifi-nodes 3: `up` starts one NiFi or two"):
        keep_nodes(home, 3)
    monkeypatch.setenv("NIFI_API_ENDPOINT", ",".join([*TWO, TWO[0]]))
    with pytest.raises(UsageError, match=r"NIFI_API_ENDPOINT=.* one NiFi or two"):
        Stack.from_environment().status()
