"""The life of real servers: up, up again, killed, up with their data, down. Mosquitto and Kafka stand for all."""

import threading
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from waiting import PATIENCE

from streamproof.core.errors import StreamproofError
from streamproof.core.settings import FlinkSettings, HomeSettings, KafkaSettings, MqttSettings, NifiSettings
from streamproof.stack import servers as stack_servers
from streamproof.stack.servers import Stack
from streamproof.stack.settings import StackSettings

CHEAP = ("mosquitto", "kafka")


def pids(stack):
    return {status.name: status.pid for status in stack.status() if status.pid}


def kill(stack, name):
    process = stack.processes.find(name)
    process.kill()
    process.wait(PATIENCE)


def subscriber(name, received=None, wanted=0):
    """Connect with a session that outlives the connection; return the client and an event for ``wanted`` messages."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
    subscribed, complete = threading.Event(), threading.Event()

    def on_message(_client, _data, message):
        received.append(message.payload)
        if len(received) >= wanted:
            complete.set()

    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 3600
    client.connect("127.0.0.1", MqttSettings().port, clean_start=False, properties=session)
    client.subscribe("numbers", qos=1)
    client.loop_start()
    assert subscribed.wait(PATIENCE)
    return client, complete


def publish(count):
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect("127.0.0.1", MqttSettings().port)
    client.loop_start()
    for sent in [client.publish("numbers", str(number), qos=1) for number in range(count)]:
        sent.wait_for_publish(PATIENCE)
    client.disconnect()
    client.loop_stop()


def test_a_second_up_changes_nothing_and_down_ends_all(own_stack):
    own_stack.up(parts=CHEAP)
    first = pids(own_stack)
    assert set(first) == set(CHEAP)
    Stack.from_environment().up(parts=CHEAP)
    assert pids(own_stack) == first
    assert [s.healthy for s in own_stack.status() if s.name in CHEAP] == [True, True]
    own_stack.down()
    assert pids(own_stack) == {}


@pytest.mark.long
def test_after_a_crash_of_all_up_brings_kafka_back_with_its_data(own_stack):
    own_stack.up(parts=("kafka",))
    servers = {"bootstrap.servers": KafkaSettings().servers}
    admin = AdminClient(servers)
    admin.create_topics([NewTopic("kept", 2)])["kept"].result(PATIENCE)
    producer = Producer(servers | {"acks": "all"})
    producer.produce("kept", b"value", timestamp=1_000)  # a time of 1970: retention must not go by it
    assert producer.flush(PATIENCE) == 0
    kill(own_stack, "kafka")
    assert [s.pid for s in own_stack.status() if s.name == "kafka"] == [None]
    own_stack.up(parts=("kafka",))
    assert [s.restarts for s in own_stack.status() if s.name == "kafka"] == [1]
    consumer = Consumer(servers | {"group.id": uuid4().hex, "auto.offset.reset": "earliest"})
    consumer.subscribe(["kept"])
    message = consumer.poll(PATIENCE)
    assert message is not None
    assert message.value() == b"value"
    assert message.timestamp()[1] > 1_000
    consumer.close()


def test_mosquitto_keeps_every_queued_message_over_a_restart(own_stack):
    own_stack.up(parts=("mosquitto",))
    client, _ = subscriber("keeps", [])
    client.disconnect()
    client.loop_stop()
    publish(5_000)  # far above the 1,000 that Mosquitto would queue by itself
    own_stack.down(parts=("mosquitto",))
    own_stack.up(parts=("mosquitto",))
    received = []
    client, complete = subscriber("keeps", received, 5_000)
    assert complete.wait(PATIENCE)
    client.disconnect()
    client.loop_stop()
    assert received == [str(number).encode() for number in range(5_000)]


def test_what_up_started_is_stopped_when_it_is_interrupted(own_stack, monkeypatch):
    own_stack.up(parts=("kafka",))
    before = pids(own_stack)

    def interrupted(_part):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stack_servers, "_is_healthy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            own_stack.up(parts=CHEAP)
    assert pids(own_stack) == before


def test_a_part_that_ends_while_it_starts_is_told_with_the_end_of_its_log(own_environment, tmp_path):
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(
        '#!/bin/sh\ncase "$*" in *StorageTool*) exit 0;; esac\necho no disk left\n'
        'for n in $(seq 40); do echo "	at org.example.Frame$n"; done; echo "	... 5 more"\nexit 3\n'
    )
    java.chmod(0o755)
    stack = Stack(
        home=HomeSettings(),
        mqtt=MqttSettings(),
        kafka=KafkaSettings(),
        nifi=NifiSettings(),
        flink=FlinkSettings(),
        settings=StackSettings(java_home=tmp_path / "java"),
    )
    with pytest.raises(StreamproofError, match=r"kafka ended while it started;[^$]*no disk left"):
        stack.up(parts=CHEAP)
    assert pids(stack) == {}
    assert "no disk left" in (own_environment / "logs" / "kafka.log").read_text()


def test_a_part_that_stays_unhealthy_is_told_and_stopped(own_environment, tmp_path):
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text('#!/bin/sh\ncase "$*" in *StorageTool*) exit 0;; esac\nexec sleep 600\n')
    java.chmod(0o755)
    stack = Stack(
        home=HomeSettings(),
        mqtt=MqttSettings(),
        kafka=KafkaSettings(),
        nifi=NifiSettings(),
        flink=FlinkSettings(),
        settings=StackSettings(java_home=tmp_path / "java", start_timeout=1),
    )
    with pytest.raises(StreamproofError, match="kafka is not healthy after 1 s"):
        stack.up(parts=("kafka",))
    assert pids(stack) == {}
    assert not list((own_environment / "stack").iterdir())
