"""Three Kafka brokers: each is known by name, a missing one is named, and a home keeps the number it began with."""

import socket

import pytest
from confluent_kafka import Producer
from free_ports import free_ports
from own_servers import own_servers
from waiting import PATIENCE, until

from streamproof.chain.ask_servers import questions
from streamproof.core.brokers import kafka_at
from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.kafka import topics_of
from streamproof.core.settings import SERVERS_FILE, HomeSettings, KafkaSettings
from streamproof.core.topics import ensure_topics
from streamproof.stack.kafka import keep_brokers
from streamproof.stack.servers import Stack

THREE = "127.0.0.1:29092,127.0.0.1:29094,127.0.0.1:29096"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMPROOF_HOME", str(tmp_path))
    monkeypatch.delenv("STREAMPROOF_KAFKA_SERVERS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_home_of_three_brokers_is_known_to_every_command_and_each_topic_has_a_replica_on_each(home):
    keep_brokers(home, 3)
    keep_brokers(home, 3)
    assert (KafkaSettings().servers, KafkaSettings().replication) == (THREE, 3)
    assert Stack.from_environment().parts[:5] == ("mosquitto", "kafka-1", "kafka-2", "kafka-3", "nifi")


def test_the_settings_win_over_what_up_was_told_and_a_contradiction_is_refused(home, monkeypatch):
    monkeypatch.setenv("STREAMPROOF_KAFKA_SERVERS", "127.0.0.1:5")
    with pytest.raises(UsageError, match="--brokers 3, and STREAMPROOF_KAFKA_SERVERS names 1: name 3 there"):
        keep_brokers(home, 3)
    assert not (home / SERVERS_FILE).exists()


@pytest.mark.parametrize(("count", "began", "words"), [(3, "kafka/data", "one broker"), (1, "kafka/kafka-1", "three")])
def test_a_home_keeps_the_number_of_brokers_that_it_began_with(home, count, began, words):
    (home / began).mkdir(parents=True)
    with pytest.raises(UsageError, match=f"began with {words}"):
        keep_brokers(home, count)


def test_neither_two_brokers_nor_four_are_started(home, monkeypatch):
    with pytest.raises(UsageError, match="--brokers 2: `up` starts one broker or three"):
        keep_brokers(home, 2)
    monkeypatch.setenv("STREAMPROOF_KAFKA_SERVERS", "127.0.0.1:5,127.0.0.1:6")
    with pytest.raises(UsageError, match=r"STREAMPROOF_KAFKA_SERVERS=.* one broker or three"):
        Stack.from_environment().status()


def test_of_several_brokers_an_error_names_those_that_are_missing():
    with socket.create_server(("127.0.0.1", 0)) as there:
        here = f"127.0.0.1:{there.getsockname()[1]}"
        assert kafka_at(KafkaSettings(servers=f"{here},{here}")) == f"{here},{here}"
        assert kafka_at(KafkaSettings(servers=f"{here},127.0.0.1:1")).endswith("(no broker listens at 127.0.0.1:1)")


@pytest.fixture
def brokers():
    first, *_ = free_ports(6, in_a_row=True)
    servers = ",".join(f"127.0.0.1:{first + step}" for step in (0, 2, 4))
    more = {"STREAMPROOF_KAFKA_SERVERS": servers, "STREAMPROOF_STACK_KAFKA_CONTROLLER_PORT": first + 1}
    with own_servers(brokers=("kafka-1", "kafka-2", "kafka-3"), **more) as stack:
        yield stack


def kill(stack, name):
    stack.processes.stop(name, PATIENCE, 9)


def send(count):
    """Send records to each partition; return when all are acknowledged by a majority."""
    errors = []
    producer = Producer({"bootstrap.servers": KafkaSettings().servers, "acks": "all", "enable.idempotence": True})
    for number in range(4 * count):
        producer.produce(
            "numbers", str(number), partition=number % 4, on_delivery=lambda error, _: errors.append(error)
        )
    producer.flush(PATIENCE)
    return errors == 4 * count * [None]


@pytest.mark.long
def test_one_may_be_away_and_two_may_not_and_whoever_is_missing_is_named(brokers):
    kafka = KafkaSettings()
    ensure_topics(["numbers"], kafka)
    asked = questions()["Kafka"].works
    assert (asked(None).is_up, asked(None).figures) == (True, (("brokers", "3 of 3"),))

    kill(brokers, "kafka-2")
    assert send(100)
    assert (asked(None).is_up, asked(None).says) == (True, "kafka-2 has ended")
    missing = rf"no broker listens at {kafka.brokers[1]}"
    with pytest.raises(StreamproofError, match=rf"Kafka at .*{missing}.*topic more cannot be made"):
        until(lambda: ensure_topics(["more"], kafka))

    kill(brokers, "kafka-3")
    assert asked(None).is_up is False
    kill(brokers, "kafka-1")
    with pytest.raises(StreamproofError, match=rf"no broker listens at {' and '.join(kafka.brokers)}"):
        topics_of(kafka)

    brokers.up(parts=("kafka-1", "kafka-2"))
    assert send(100)
    brokers.up(parts=("kafka-3",))
    assert {part.name for part in brokers.status() if part.healthy} == {"kafka-1", "kafka-2", "kafka-3"}
    assert HomeSettings().home.joinpath("kafka", "cluster.id").exists()
