"""A model's declaration, as a question's header has it: what is scored, and how (docs/models.md)."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from streamproof.core.alert_rule import AlertRule, short_form
from streamproof.core.toml_file import StrictModel

SCORE = "score"
"""The column that a model adds to each answer."""

STATE = "state"
"""The end of the topic that holds a model's state, ``STREAM.MODEL.state``."""

_Column = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _Rule(StrictModel):
    alert: Annotated[AlertRule | None, BeforeValidator(short_form)] = None


class SeasonalZScore(_Rule):
    """By how many standard deviations a value lies above what it was before, in the same hour of the week.

    Attributes:
        value: the column that is scored.
        after: how many values must have been seen before one is scored.
        least_deviation: what a smaller standard deviation is taken for, so that a constant has scores, too.
        alert: a rule over the answer's columns and ``score``.

    """

    kind: Literal["seasonal-z-score"]
    value: _Column
    after: Annotated[int, Field(ge=1)] = 3
    least_deviation: Annotated[float, Field(gt=0)] = 1.0

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that are scored."""
        return (self.value,)


class HalfSpaceTrees(_Rule):
    """How rare values are among those of a while ago: 0 common, 1 never seen.

    Attributes:
        limits: the columns that are scored together, and between which bounds each is expected.
        seed: of the chance by which the trees are made.
        trees: how many.
        height: of each.
        window: how many answers are learned until they are what the next ones are compared with.
        alert: a rule over the answer's columns and ``score``.

    """

    kind: Literal["half-space-trees"]
    limits: Annotated[dict[_Column, tuple[float, float]], Field(min_length=1)]
    seed: int
    trees: Annotated[int, Field(ge=1, le=100)] = 10
    height: Annotated[int, Field(ge=1, le=12)] = 8
    window: Annotated[int, Field(ge=2)] = 250

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, (low, high) in self.limits.items():
            if not low < high:
                raise ValueError(f"limits: {name}: {low} is not below {high}")
        return self

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that are scored, in the order in which the trees take them."""
        return tuple(sorted(self.limits))


ModelRule = Annotated[SeasonalZScore | HalfSpaceTrees, Field(discriminator="kind")]
