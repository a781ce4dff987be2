"""Each window that is changed, removed, added or doubled is named, with what it should be."""

from datetime import UTC, datetime

import pytest


def iso(milliseconds):
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rating_count", 99),
        ("rating_sum", 3.1),
        ("rating_min", 0.5),
        ("rating_max", 5.5),
        ("rating_avg", None),
        ("rating_sum", None),
    ],
)
def test_a_changed_window_is_wrong_and_shown_with_both_values(pipeline, name, value):
    changed, true = pipeline.windows[7], pipeline.windows[7][name]
    changed[name] = value
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert (verdict.windows.wrong, verdict.windows.missing, verdict.windows.extra) == (1, 0, 0)
    assert verdict.reasons == ["1 windows are wrong"]
    (shown,) = verdict.not_right
    key = {"category": "Books", "product_id": changed["product_id"]}
    assert (shown.verdict, shown.key, shown.window_start) == ("wrong", key, changed["window_start"])
    assert float(shown.expected[name]) == true
    found = shown.found[name]
    assert (found if found is None else float(found)) == value


def test_an_answer_that_lacks_a_column_is_wrong(pipeline):
    del pipeline.windows[0]["rating_min"]
    pipeline.write()
    verdict = pipeline.validate()
    assert (verdict.windows.wrong, verdict.windows.right) == (1, len(pipeline.windows) - 1)


def test_the_rows_behind_a_difference_are_shown(pipeline):
    changed = pipeline.windows[7]
    changed["rating_count"] = 99
    pipeline.write()
    (shown,) = pipeline.validate().not_right
    in_window = [
        row
        for row in pipeline.rows
        if row["seq"] > 0
        and row["product_id"] == changed["product_id"]
        and changed["window_start"] <= iso(row["event_time"]) < changed["window_end"]
    ]
    assert [(row.line, row.seq, row.fields["product_id"]) for row in shown.rows] == [
        (row["seq"], row["seq"], row["product_id"]) for row in in_window[:5]
    ]


def test_cumulative_windows_are_another_shape(pipeline):
    for window in pipeline.windows:
        window["window_kind"] = "cumulative"
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert verdict.kind == "cumulative"
    assert verdict.windows.extra > 0


@pytest.mark.parametrize(("error", "wrong"), [(9e-13, 0), (2e-12, 1)])
def test_an_average_may_differ_by_a_millionth_of_a_millionth(pipeline, error, wrong):
    pipeline.windows[3]["rating_avg"] += error
    pipeline.write()
    assert pipeline.validate().windows.wrong == wrong


def test_a_removed_window_is_missing(pipeline):
    removed = pipeline.windows.pop(5)
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert (verdict.windows.missing, verdict.windows.wrong, verdict.windows.extra) == (1, 0, 0)
    assert [(w.verdict, w.key["product_id"], w.window_start, w.found) for w in verdict.not_right] == [
        ("missing", removed["product_id"], removed["window_start"], None)
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"product_id": "143502"},
        {"category": "Toys"},
        {"window_end": "2024-01-01T00:01:00Z"},
        {"window_start": "soon"},
    ],
)
def test_an_added_window_is_extra(pipeline, change):
    pipeline.windows.append(pipeline.windows[0] | change)
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert (verdict.windows.extra, verdict.windows.wrong, verdict.windows.missing) == (1, 0, 0)
    assert [w.verdict for w in verdict.not_right] == ["extra"]


def test_a_window_written_twice_is_extra(pipeline):
    pipeline.windows.append(pipeline.windows[0])
    pipeline.write()
    verdict = pipeline.validate()
    assert not verdict.proven
    assert verdict.windows.extra == 1
    assert [w.verdict for w in verdict.not_right] == ["doubled"]
