"""What a job has committed to a topic, as it stands in Kafka."""

import json
from uuid import uuid4

from confluent_kafka import Consumer
from waiting import PATIENCE


def results_of(chain, topic, job):
    """Return the values of a job's committed results, as they stand in Kafka."""
    consumer = Consumer({"bootstrap.servers": chain.servers.kafka.servers, "group.id": f"test-{uuid4()}",
                         "isolation.level": "read_committed", "auto.offset.reset": "earliest",
                         "enable.partition.eof": True})  # fmt: skip
    consumer.subscribe([topic])
    found, ended = [], set()
    partitions = len(consumer.list_topics(topic).topics[topic].partitions)
    while len(ended) < partitions:
        message = consumer.poll(PATIENCE)
        if message.error():
            ended.add(message.partition())
        elif job in message.value().decode():
            found.append(json.loads(message.value()))
    consumer.close()
    return found
