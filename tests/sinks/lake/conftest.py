"""A Kafka of its own, runs that lie in it as the chain leaves them, and a lake that nobody else writes to."""

import itertools
import threading

import pytest
from confluent_kafka import Producer
from dying_in_the_lake import run_dying
from own_servers import own_servers

from streamproof.bench.full_topic import fill_topic, new_run
from streamproof.core.settings import HomeSettings, KafkaSettings
from streamproof.sinks.lake.catalogue import LakeSettings, open_catalogue
from streamproof.sinks.lake.check import check_lake
from streamproof.sinks.lake.copies import Copy
from streamproof.sinks.lake.tables import TABLES, find_table
from streamproof.sinks.lake.target import LakeTarget
from streamproof.sinks.sink import Limits, Sink

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def own_kafka():
    """Start a Kafka; the environment says where it is, and where the home is."""
    with own_servers() as stack:
        yield stack


class LakeRun:
    """A run whose rows lie in Kafka, all of them, and the lake in which they are kept."""

    def __init__(self, rows, **pace):
        self.run = fill_topic(new_run(f"lake-{next(_numbers)}", rows, **pace))
        self.id, self.contract, self.stream = self.run.run, self.run.contract, self.run.contract.name

    @property
    def catalogue(self):
        return open_catalogue(LakeSettings(), HomeSettings())

    def target(self):
        return LakeTarget("the lake", self.catalogue, self.contract, KafkaSettings())

    def sink(self, rows=1000, seconds=0.2):
        topics = [self.contract.topics.rows, self.contract.topics.dead_letters]
        return Sink(self.target(), lambda: topics, KafkaSettings(), limits=Limits(rows, seconds))

    def store(self, **limits):
        """Store all that Kafka has; return how many records that were."""
        return self.sink(**limits).run(threading.Event(), lambda: True)

    def copies(self):
        return [Copy(find_table(self.catalogue, self.stream, name)) for name in TABLES]

    def check(self, at=None):
        return check_lake(self.id, HomeSettings(), self.catalogue, "the lake", at)

    def write(self, *values, topic=None):
        """Write records as they are."""
        producer = Producer({"bootstrap.servers": KafkaSettings().servers})
        for value in values:
            producer.produce(topic or self.contract.topics.rows, value)
        producer.flush()

    def sink_that_dies(self, at=0):
        """Store in a process that kills itself at the so-many-th thing it does in the lake; return its exit code."""
        return run_dying(["sink", "lake", "--run", self.id, "--rows", "1000", "--every", "300ms"], at)


@pytest.fixture
def new_lake_run(own_kafka):  # noqa: ARG001
    return LakeRun
