"""What Kafka holds of a question stands in PostgreSQL, each result once, whatever becomes of sink and server."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

pytestmark = pytest.mark.usefixtures("own_servers")


def test_results_are_stored_once_with_their_types(new_job, query):
    job = new_job()
    job.write([job.result(n) for n in range(1000)])
    job.write([job.result(n) for n in range(1000, 1200)], commit=False)
    assert job.store() == 1000
    assert job.store() == 0
    job.write([job.result(n) for n in range(1000, 1500)])
    assert job.store() == 500
    view = f"{job.stream}_sales"
    assert query(f"SELECT count(*), count(DISTINCT (window_start, item)) FROM {view}") == [(1500, 1500)]
    assert query(f"SELECT * FROM {view} WHERE sales = 107") == [
        ("r1", datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC), datetime(2023, 11, 14, 22, 13, 22, tzinfo=UTC), "0007X",
         Decimal("26.75"), 107, datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC), 107.1, True),
    ]  # fmt: skip
