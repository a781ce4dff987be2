"""What came out of the flow against what a case expects: matched one to one, and the differences in words."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Fields = Mapping[str, Any]
LONGEST = 300
"""Characters of a text that are shown."""


def differences(what: str, expected: Sequence[Fields], came: Sequence[Fields], *, part_of: str = "") -> list[str]:
    """Return a text for each expected thing that did not come, beside the nearest that did, and for all else that came.

    An expected thing fits what came when each of its fields does; of the field ``part_of``, a part is enough. As many
    as possible are matched, whatever the order.
    """

    def wrong(want: Fields, have: Fields) -> list[str]:
        return [n for n in want if n not in have or not _fits(want[n], have[n], part=n == part_of)]

    misfits = [[wrong(want, have) for have in came] for want in expected]
    taken_by = _match([[at for at, names in enumerate(row) if not names] for row in misfits])
    left = [at for at in range(len(came)) if at not in taken_by]
    texts = []
    for number in sorted(set(range(len(expected))) - set(taken_by.values())):
        row = misfits[number]
        # Near is what differs in few fields, and in fewer than all.
        near = min(
            (at for at in left if len(row[at]) < len(expected[number])), key=lambda at: len(row[at]), default=None
        )
        text = f"expected {what} {number + 1} did not come: {shown(expected[number])}"
        if near is not None:
            left.remove(near)
            has = {name: came[near].get(name) for name in expected[number]}
            text += f"\n  instead there came: {shown(has)}"
        texts.append(text)
    return texts + [f"unexpected {what}: {shown(came[at])}" for at in left]


def shown(fields: Fields) -> str:
    """Return fields as they would stand in a case file, in one line."""
    texts = (f"{name} = {json.dumps(value, ensure_ascii=False, default=str)}" for name, value in fields.items())
    return ", ".join(text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in texts) or "(any)"


def _fits(expected: object, came: object, *, part: bool) -> bool:
    if part:
        return str(expected) in str(came)
    # In Python True is 1.
    return expected == came and isinstance(expected, bool) == isinstance(came, bool)


def _match(choices: list[list[int]]) -> dict[int, int]:
    """Return which expected thing gets what came, for as many as possible (Kuhn's augmenting paths)."""
    taken_by: dict[int, int] = {}

    def place(number: int, seen: set[int]) -> bool:
        for at in choices[number]:
            if at not in seen:
                seen.add(at)
                if at not in taken_by or place(taken_by[at], seen):
                    taken_by[at] = number
                    return True
        return False

    for number in range(len(choices)):
        place(number, set())
    return taken_by
