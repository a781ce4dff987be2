"""Topics as they are made in Kafka."""

from uuid import uuid4

from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, ResourceType

from streamproof.core.topics import ensure_topics


def test_records_bear_the_time_of_their_arrival_whatever_the_brokers_default(servers):
    names = [f"arrival-{uuid4().hex}.{part}" for part in ("rows", "dead-letter", "averages")]
    assert sorted(ensure_topics(names, servers.kafka)) == sorted(names)
    assert ensure_topics(names, servers.kafka) == []
    admin = AdminClient({"bootstrap.servers": servers.kafka.servers})
    for answer in admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names]).values():
        entry = answer.result(20)["message.timestamp.type"]
        assert entry.value == "LogAppendTime"
        assert ConfigSource(entry.source) is ConfigSource.DYNAMIC_TOPIC_CONFIG
