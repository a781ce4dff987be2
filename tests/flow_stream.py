"""A stream of its own for a test of the flow: its contract, a publisher, and the records that came out."""

import json
import uuid

from confluent_kafka import Consumer, TopicPartition
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from nifi_templates import deployment
from streamproof.core.contract import load_contract, parse_contract

CATEGORY = "Books"


class Stream:
    """Deployed when a test wants it; ``close`` takes away the flow and its session with the broker."""

    def __init__(self, servers):
        self.servers = servers
        data = load_contract("ratings").model_dump(exclude_none=True, exclude={"topics"})
        self.contract = parse_contract(data | {"name": f"t{uuid.uuid4().hex[:10]}"}, "test")
        self.name = self.contract.name
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.told = []
        self.client.on_message = lambda _c, _d, message: self.told.append((message.topic, json.loads(message.payload)))
        self.client.connect(servers.mqtt.host, servers.mqtt.port)
        self.client.loop_start()
        self.client.subscribe(f"{self.name}/+/confirmed/+", qos=1)

    def deploy(self, kafka=None, **options):
        s = self.servers
        return deployment.deploy(self.contract, mqtt=s.mqtt, kafka=kafka or s.kafka, nifi=s.nifi, **options)

    def status(self):
        return deployment.status(self.name, nifi=self.servers.nifi)

    def remove(self, **options):
        return deployment.remove(self.name, nifi=self.servers.nifi, **options)

    def publish(self, *payloads, category=CATEGORY):
        for payload in payloads:
            sent = self.client.publish(f"{self.name}/{category}", payload, qos=1)
        sent.wait_for_publish(30)

    def row(self, seq, /, **changes):
        row = {"run": "r", "category": CATEGORY, "seq": seq, "event_time": seq, "low_watermark": 0}
        row |= {"user_id": "u", "product_id": f"{seq % 5:010d}", "rating": 4.5, "timestamp": 1000}
        return json.dumps({k: v for k, v in (row | changes).items() if v is not ...}, separators=(",", ":"))

    def records(self, topic):
        """Return (partition, key, value) of all records of a topic, in order within each partition."""
        consumer = Consumer({"bootstrap.servers": self.servers.kafka.servers, "group.id": "none"})
        try:
            partitions = [TopicPartition(topic, p, 0) for p in consumer.list_topics(topic, 10).topics[topic].partitions]
            left = sum(consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions)
            consumer.assign(partitions)
            found = []
            while len(found) < left:
                message = consumer.poll(10)
                assert message is not None
                assert message.error() is None
                found.append((message.partition(), message.key(), json.loads(message.value())))
            return found
        finally:
            consumer.close()

    def rows(self):
        return self.records(self.contract.topics.rows)

    def letters(self):
        return [value for _, _, value in self.records(self.contract.topics.dead_letters)]

    def close(self):
        self.remove(force=True)
        self.client.disconnect()
        self.client.loop_stop()
        # A clean start ends the session that the flow left with the broker.
        last = Client(CallbackAPIVersion.VERSION2, f"streamproof-nifi-{self.name}", protocol=MQTTProtocolVersion.MQTTv5)
        last.connect(self.servers.mqtt.host, self.servers.mqtt.port, clean_start=True)
        last.disconnect()
