"""A fixed piece of work, timed beside each run: costs of two hours, or of two machines, compare as multiples of it."""

import time

import duckdb
import msgspec
import pyarrow as pa

_ROWS = 200_000


def cost_of_fixed_work() -> float:
    """Do it, and return what it costs now: µs of CPU time for each of its rows.

    Each row is made and cut in Python, written as JSON and read again, and counted by DuckDB in one thread.
    """
    _work(1)  # the libraries load what they need when they first need it
    begin = time.process_time()
    _work(_ROWS)
    return (time.process_time() - begin) / _ROWS * 1e6


def _work(rows: int) -> None:
    lines = [f"{n % 5},{n % 997:05},{n * 7 % 50 / 10}" for n in range(rows)]
    cut = [dict(zip(("category", "key", "value"), line.split(","), strict=True)) for line in lines]
    read = msgspec.json.Decoder(dict[str, str]).decode_lines(msgspec.json.Encoder().encode_lines(cut))
    with duckdb.connect(config={"threads": 1}) as db:
        db.register("read", pa.Table.from_pylist(read))
        db.sql("SELECT category, key, count(*), sum(value::DECIMAL(9, 1)) FROM read GROUP BY ALL").fetchall()
