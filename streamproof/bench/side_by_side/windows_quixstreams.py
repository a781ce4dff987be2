"""Sliding windows with Quix Streams, as its manual writes them: a hopping window with several aggregations.

What it does differently from the project's job:

- Only a later row of the same key closes a window, so each key's last windows (six of 30 s / 5 s) stay open for ever:
  they are missing. Closing by partition does not help: that goes by rows alone as well, not by marks without a key,
  and must be given a bound on how far the keys' event times lie apart, behind which rows are dropped as late.
- Rows that are sent again behind others of their key would be dropped as late, and copies counted twice.
- It groups by the message's key; here one key belongs to one category. Otherwise ``group_by`` would
  write every row into a further topic.
- One process, and so one core: it scales by more processes. State in RocksDB with a changelog topic, windows at least
  once, both by default.
"""

import tempfile
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Count, First, Max, Min, Sum

from streamproof.bench.side_by_side.question import Progress, StreamQuestion

_QUIET_SECONDS = 5.0
Row = dict[str, Any]


def main() -> None:
    """Write the windows until nothing more comes; the waiting does not count."""
    question, progress = StreamQuestion.from_arguments(), Progress()

    def is_wanted(row: Row) -> bool:
        progress.begin()
        progress.end()
        wanted = question.is_wanted(row)
        progress.rows += wanted
        return wanted

    def event_time(row: Row, *_: object) -> int:
        return int(row["event_time"])

    def write(found: Row, key: str, *_: object) -> bytes:
        progress.windows += 1
        values = found["count"], found["sum"], found["min"], found["max"]
        window = question.window(found["category"], key, found["start"], values).encode()
        progress.end()
        return window

    with tempfile.TemporaryDirectory() as state:
        app = Application(
            question.servers,
            consumer_group=question.job,
            auto_offset_reset="earliest",
            state_dir=state,
            loglevel="ERROR",
        )
        messages = app.topic(question.rows, key_deserializer="str", timestamp_extractor=event_time)
        windows = app.topic(question.windows, key_serializer="str", value_serializer="bytes")
        rows = app.dataframe(messages).filter(is_wanted)
        found = rows.hopping_window(question.size, question.slide).agg(
            category=First("category"),
            count=Count(),
            sum=Sum(question.measure),
            min=Min(question.measure),
            max=Max(question.measure),
        )
        found.final().apply(write, metadata=True).to_topic(windows)
        app.run(timeout=_QUIET_SECONDS)
    progress.answer()


if __name__ == "__main__":
    main()
