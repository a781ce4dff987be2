"""Sliding windows with bytewax, as its manual writes them: a Kafka source, a folded window, a Kafka sink.

What it does differently from the project's job:

- Each key has a clock of its own, moved by that key's rows. By default it goes on with the machine's clock between two
  of them, so that rows which are read slower than they once came are late: at 100 rows a second and category 240 of
  21,012 windows were wrong in one try, at 1,000 a quarter, and other ones each time. Here the machine's clock stands
  still (``now_getter``, as the manual allows), and the windows are those of the batch, because a key's rows lie in
  Kafka in the order of their event times. Rows that are sent again behind others would be dropped as late, and copies
  counted twice.
- The end of the topic closes the last windows; a stream without an end would close none behind a key's last row.
- One process with one worker, and so one core: Python's threads exclude one another. No recovery store, so nothing is
  kept over a crash; windows at least once.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, SlidingWindower, fold_window
from bytewax.run import cli_main

from streamproof.bench.side_by_side.question import NOTHING, Progress, StreamQuestion, Values, add

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


def windows(question: StreamQuestion, progress: Progress) -> Dataflow:
    """Return the dataflow from the rows topic to the windows topic."""

    def read(message: KafkaSourceMessage[bytes, bytes]) -> Row | None:
        progress.begin()
        row: Row = json.loads(message.value)
        if not question.is_wanted(row):
            return None
        progress.rows += 1
        return row

    def write(window: tuple[str, tuple[int, Values]]) -> KafkaSinkMessage[bytes, bytes]:
        key, (number, values) = window
        category, own = key.split("/")
        progress.windows += 1
        value = question.window(category, own, number * question.slide, values)
        return KafkaSinkMessage(own.encode(), value.encode())

    clock = EventClock(
        ts_getter=lambda row: EPOCH + timedelta(milliseconds=row["event_time"]),
        wait_for_system_duration=timedelta(0),
        now_getter=lambda: EPOCH,
        to_system_utc=lambda _: None,
    )
    length, offset = (timedelta(milliseconds=each) for each in (question.size, question.slide))
    flow = Dataflow("windows")
    messages = op.input("messages", flow, KafkaSource([question.servers], [question.rows], tail=False))
    rows = op.filter_map("rows", messages, read)
    keyed = op.key_on("key", rows, lambda row: f"{row['category']}/{row[question.key]}")
    found = fold_window(
        "windows",
        keyed,
        clock,
        SlidingWindower(length, offset, align_to=EPOCH),
        builder=lambda: NOTHING,
        folder=lambda values, row: add(values, row[question.measure]),
        merger=lambda values, _: values,  # sliding windows never merge
    )
    op.output("written", op.map("write", found.down, write), KafkaSink([question.servers], question.windows))
    return flow


if __name__ == "__main__":
    done = Progress()
    cli_main(windows(StreamQuestion.from_arguments(), done), workers_per_process=1)
    done.end()
    done.answer()
