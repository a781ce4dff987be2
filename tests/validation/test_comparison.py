"""Each window that is changed, removed, added or doubled is named, with what it should be."""

import pytest

MEASURED = ("count", "sum", "stddev", "histogram", "distinct")
"""Of the fixture's job."""


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
    assert (shown.verdict, shown.key, shown.window_start) == ("wrong", changed["product_id"], changed["window_start"])
    short = name.removeprefix("rating_")
    assert float(shown.expected[short]) == true
    found = shown.found[short]
    assert (found if found is None else float(found)) == value


def test_a_jobs_own_choice_of_measures_is_compared(measured):
    measured.write()
    verdict = measured.validate()
    assert verdict.proven, (verdict.reasons, verdict.not_right[:2])
    assert verdict.measures == MEASURED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rating_stddev", 0.25),
        ("rating_stddev", None),
        ("rating_histogram", {"5.0": 1}),
        ("rating_histogram", {"five": 1}),
        ("rating_histogram", None),
        ("user_id_distinct", 2),
        ("user_id_distinct", None),
    ],
)
def test_a_changed_measure_is_wrong(measured, name, value):
    changed = measured.windows[7]
    assert changed[name] != value
    changed[name] = value
    measured.write()
    verdict = measured.validate()
    assert (verdict.windows.wrong, verdict.windows.missing, verdict.windows.extra) == (1, 0, 0)
    assert verdict.not_right[0].key == changed["product_id"]


def test_a_window_that_lacks_a_measure_of_its_job_is_missing(measured):
    del measured.windows[0]["rating_stddev"]
    measured.write()
    verdict = measured.validate()
    assert not verdict.proven
    assert {verdict.windows.missing, verdict.windows.right} == {1, len(measured.windows) - 1}


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
    assert [(w.verdict, w.key, w.window_start, w.found) for w in verdict.not_right] == [
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
