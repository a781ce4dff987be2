"""What windows can say of their rows: the measures, and the columns in which a job writes them."""

from typing import Literal, get_args

from streamproof.core.contract import Contract
from streamproof.core.errors import UsageError

Measure = Literal["count", "sum", "avg", "min", "max", "stddev", "histogram", "distinct"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
"""All there are, in the order in which they are written.

``stddev`` is the population's standard deviation (divided by the number of rows, 0 for one row), ``histogram`` how
often each value of the measured field occurs, ``distinct`` how many different values the contract's ``actor`` has;
the others are those of SQL.
"""

USUAL: tuple[Measure, ...] = ("count", "sum", "avg", "min", "max")
"""What is written where nothing is chosen."""

WindowKind = Literal["sliding", "cumulative"]
"""Sliding: a window as long as the size begins at each multiple of the slide. Cumulative: at each multiple of the size
windows begin that end one slide later, two, three, and at last a whole size later."""


def parse_measures(text: str) -> tuple[Measure, ...]:
    """Read a list like ``count,avg,stddev``; ``count`` is always among the result.

    Raises:
        UsageError: there is no such measure.

    """
    names = {name.strip() for name in text.split(",")} | {"count"}
    if unknown := names - set(MEASURES):
        raise UsageError(f"there is no measure {min(unknown)!r}: name some of {', '.join(MEASURES)}")
    return tuple(measure for measure in MEASURES if measure in names)


def column(contract: Contract, measure: Measure) -> str:
    """Return the column of a measure, like ``rating_count``; of ``distinct`` it is named after the actor.

    Raises:
        UsageError: the contract names no actor, so there is nothing to tell apart.

    """
    if measure != "distinct":
        return f"{contract.measure}_{measure}"
    if contract.actor is None:
        raise UsageError(
            f"the measure distinct counts different actors, and the contract of {contract.name} names none: "
            'add actor = "FIELD", a text field (docs/contract.md)'
        )
    return f"{contract.actor}_distinct"
