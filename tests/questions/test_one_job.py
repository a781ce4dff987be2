"""Several questions in one job: what its plan shares, and what it must not share."""

import pytest
from shop_questions import SHOP, question

from flink_jobs.client import Session
from flink_jobs.planner import PLANNING, plan_job

NOWHERE = {"connector": "filesystem", "path": "file:///nowhere"}
SUMS = "SELECT window_start, window_end, {by}, {what} AS n FROM windowed GROUP BY window_start, window_end, {by}"


@pytest.mark.parametrize("shape", ["sliding 60s / 5s", "cumulative 60s / 5s"])
def test_questions_with_windows_of_one_shape_share_the_first_copies_and_each_counts_slices(shape):
    asked = [
        question("by_user", shape, ["user_id"], SUMS.format(by="user_id", what="COUNT(*)")),
        question("by_city", shape, ["city"], SUMS.format(by="city", what="COUNT(*)")),
        question("spent", shape, ["city"], SUMS.format(by="city", what="SUM(price)")),
    ]
    session = Session(PLANNING)
    plan_job(
        session,
        asked,
        SHOP,
        label="",
        run="",
        source=NOWHERE | {"format": "json"},
        sink=lambda _: NOWHERE,
    )
    plan = session._inserts.explain().split("== Optimized Execution Plan ==")[1]
    assert plan.count("ARRAY_DISTINCT(") == 1
    assert plan.count("LocalWindowAggregate(") == len(asked) + 1  # and that of the copies
    # A window function would copy each row into all of its windows.
    assert "WindowTableFunction(" not in plan
