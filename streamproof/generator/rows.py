"""Rows on their way into the file: moments and codes, a NumPy array of each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from streamproof.generator.chance import Integers


@dataclass(frozen=True)
class Rows:
    """Some rows.

    Attributes:
        time: milliseconds since the epoch.
        codes: of all that is drawn.
        kind: the number of the kind of what was put in on purpose, or -1.
        case: which one of that kind, or -1.
        session: its number, or -1.
        state: its number, or -1.

    """

    time: Integers
    codes: dict[str, Integers]
    kind: Integers
    case: Integers
    session: Integers
    state: Integers

    @classmethod
    def plain(cls, time: Integers, codes: dict[str, Integers], kind: int = -1, case: int = -1) -> Self:
        """Return rows of no session, all of one kind."""
        nothing = np.full(len(time), -1)
        return cls(time, codes, np.full(len(time), kind), np.full(len(time), case), nothing, nothing)

    @classmethod
    def joined(cls, parts: Sequence["Rows"]) -> Self:
        """Return the rows of all parts, one part after the other."""
        first, *_ = parts
        codes = {name: np.concatenate([part.codes[name] for part in parts]) for name in first.codes}
        others = [each.name for each in fields(cls) if each.name != "codes"]
        return cls(codes=codes, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in others})

    def of(self, places: Integers | slice) -> Self:
        """Return some of them, in that order."""
        codes = {name: each[places] for name, each in self.codes.items()}
        others = [each.name for each in fields(self) if each.name != "codes"]
        return type(self)(codes=codes, **{name: getattr(self, name)[places] for name in others})

    def changed(self, inside: npt.NDArray[np.bool_], codes: dict[str, Integers], kind: int, case: int) -> Self:
        """Return them with other codes where they are inside, which are then of this kind."""
        new = {
            name: np.where(inside, codes[name], each) if name in codes else each for name, each in self.codes.items()
        }
        kinds, cases = np.where(inside, kind, self.kind), np.where(inside, case, self.case)
        return replace(self, codes=new, kind=kinds, case=cases)

    def in_order(self) -> Self:
        """Return them by time; those of one moment stay as they are."""
        return self.of(np.argsort(self.time, kind="stable"))

    def __len__(self) -> int:
        return len(self.time)
