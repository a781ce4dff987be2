"""The two kinds of models: what they score, and that nobody can tell where they were interrupted."""

import json
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.anomaly import HalfSpaceTrees as Trees

from streamproof.core.errors import UsageError
from streamproof.core.model_rule import HalfSpaceTrees, SeasonalZScore
from streamproof.core.question import parse_question
from streamproof.models import scoring as scoring_module
from streamproof.models.scoring import Scoring, as_value, place_in_order

HOUR = 3_600_000
SEASONAL = SeasonalZScore(kind="seasonal-z-score", value="n", after=3, least_deviation=0.5)
FOREST = HalfSpaceTrees(
    kind="half-space-trees", limits={"n": (0, 50), "m": (-1, 1)}, seed=5, trees=3, height=4, window=20
)


def answers(count, seed=1):
    """Make answers of three keys over some weeks, in their order."""
    chance = random.Random(seed)
    return [
        ((chance.choice(("a", "b", None)),), n * HOUR // 3, [chance.randrange(40), chance.choice((0, 1, -1))])
        for n in range(count)
    ]


def test_the_seasonal_score_is_that_of_pandas():
    made = [(key[0], start, values[0]) for key, start, values in answers(6_000) if key[0]]
    scoring = Scoring(SEASONAL)
    scores = [scoring.score((key,), start, [value]) for key, start, value in made]
    table = pd.DataFrame(made, columns=["key", "start", "value"])
    moment = pd.to_datetime(table["start"], unit="ms", utc=True)
    table["hour"] = moment.dt.dayofweek * 24 + moment.dt.hour
    expected = None
    for group in (["key", "hour"], ["hour"]):
        grouped = table.groupby(group)["value"]
        before = {
            name: grouped.transform(lambda values, how=how: getattr(values.shift().expanding(), how)())
            for name, how in (("count", "count"), ("mean", "mean"))
        }
        deviation = grouped.transform(lambda values: values.shift().expanding().std(ddof=0)).clip(lower=0.5)
        own = ((table["value"] - before["mean"]) / deviation).where(before["count"] >= 3)
        expected = own if expected is None else expected.fillna(own)
    assert pd.Series(scores, dtype=float).isna().equals(expected.isna())
    assert np.allclose(pd.Series(scores, dtype=float), expected, rtol=1e-9, equal_nan=True)
    assert 3_000 < expected.notna().sum() < len(made)


def test_the_forest_s_score_is_that_of_river():
    scoring = Scoring(FOREST)
    trees = Trees(n_trees=3, height=4, window_size=20, limits={"n": (0, 50), "m": (-1, 1)}, seed=5)
    for number, (key, start, values) in enumerate(answers(500)):
        x = dict(zip(FOREST.values, map(float, values), strict=True))
        assert scoring.score(key, start, values) == (trees.score_one(x) if number >= 20 else None)
        trees.learn_one(x)


@pytest.mark.parametrize("rule", [SEASONAL, FOREST], ids=lambda rule: rule.kind)
@given(breaks=st.lists(st.integers(0, 400), max_size=6).map(sorted))
@settings(max_examples=30)
def test_a_model_that_is_restored_from_what_had_changed_goes_on_to_the_same_bytes(rule, breaks):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scoring_module, "DIGEST_ROWS", 50)
        made = [(key, start, values[: len(rule.values)]) for key, start, values in answers(400)]
        never = Scoring(rule)
        expected = [never.score(*answer) for answer in made]
        scores, digests, kept, scoring = [], [], {}, Scoring(rule)
        for first, last in zip([0, *breaks], [*breaks, len(made)], strict=True):
            scores += [scoring.score(*answer) for answer in made[first:last]]
            kept |= scoring.model.changes()
            digests += scoring.digests
            scoring = Scoring(rule, scoring.rows, json.loads(json.dumps(kept)))
    assert scores == expected
    assert digests == never.digests
    assert scoring.model.state().keys() == never.model.state().keys()


def test_an_answer_that_lacks_a_value_has_no_score_and_is_not_learned():
    scoring = Scoring(SEASONAL)
    for _ in range(5):
        scoring.score(("a",), 0, [1])
    assert scoring.score(("a",), 0, [None]) is None
    assert scoring.score(("a",), 0, [2]) == 2.0  # one above, with the least deviation of a half
    assert scoring.rows == 7


def test_values_in_json_are_ordered_as_duckdb_orders_them():
    texts = [b"null", b'"\xc3\xa9"', b'"a"', b'"B"', b'""']
    values = [as_value(raw, "VARCHAR") for raw in texts]
    assert sorted(values, key=lambda value: place_in_order((value,))) == ["", "B", "a", "é", None]
    assert as_value(b'"2024-01-01T00:00:00.5Z"', "TIMESTAMP") == as_value(b'"2024-01-01T00:00:00.500"', "TIMESTAMP")


TEXT = """-- How many?
-- stream = "ratings"
-- window = "tumbling 1h"
-- key = []
-- [models.{name}]
{model}
SELECT window_start, window_end, COUNT(*) AS times FROM windowed GROUP BY window_start, window_end
"""


@pytest.mark.parametrize(
    ("name", "model", "reason"),
    [
        ("unusual", 'kind = "magic"', "models.unusual: .*'seasonal-z-score', 'half-space-trees'"),
        ("unusual", 'kind = "seasonal-z-score"', "models.unusual.seasonal-z-score.value: Field required"),
        ("unusual", 'kind = "half-space-trees"\nseed = 1\nlimits = { times = [3, 3] }', "3.0 is not below 3.0"),
        ("unusual", 'kind = "seasonal-z-score"\nvalue = "times"\nseed = 1', "seed: there is no such key"),
        ("alerts", 'kind = "seasonal-z-score"\nvalue = "times"', "a topic of results cannot end in 'alerts'"),
        ("q", 'kind = "seasonal-z-score"\nvalue = "times"', "q is the question's own name"),
    ],
)
def test_a_declaration_that_is_wrong_is_refused_with_its_key(name, model, reason):
    text = TEXT.format(name=name, model="\n".join(f"-- {line}" for line in model.splitlines()))
    with pytest.raises(UsageError, match=reason):
        parse_question("q", text, "q.sql")
