"""Chance that is the same on every machine: whole numbers made of Philox's raw 64-bit numbers.

Philox counts: the numbers of a block follow from the seed, what they are drawn for and the block's number alone. NumPy
keeps the raw numbers of a bit generator the same in all versions, which it does not promise of its distributions.
"""

from collections.abc import Iterable
from hashlib import sha256

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Raw = npt.NDArray[np.uint64]

_HALF = np.uint64(32)
_SMALL = 2**32
_ZIPF = 2**28


class Chance:
    """The random numbers of one file.

    Args:
        seed: the user's.
        category: the file's.

    """

    def __init__(self, seed: int, category: str) -> None:
        self._of = f"{seed}/{category}"

    def raw(self, what: str, block: int, size: int) -> Raw:
        """Return so many numbers for a block; more of them begin with the same ones."""
        key = int.from_bytes(sha256(f"{self._of}/{what}".encode()).digest()[:16])
        return np.random.Philox(key=key, counter=block << 64).random_raw(size)


def below(raw: Raw, limit: int | Integers) -> Integers:
    """Return whole numbers from 0 to below ``limit``, which may be another one for each, up to 2 to the power of 32."""
    if isinstance(limit, int) and limit > _SMALL:
        return (raw % np.uint64(limit)).astype(np.int64)
    return (((raw >> _HALF) * np.asarray(limit, np.uint64)) >> _HALF).astype(np.int64)


def cumulative(weights: Iterable[int]) -> Integers:
    """Return the sums of the first one, two, three … weights."""
    return np.cumsum(np.fromiter(weights, np.int64))


def zipf(rows: int, offset: int) -> Integers:
    """Return the same of the weights 1 / (rank + offset), in whole numbers."""
    return np.cumsum(_ZIPF // (np.arange(1, rows + 1, dtype=np.int64) + offset))


def choose(raw: Raw, sums: Integers) -> Integers:
    """Return places among weights, which are given by their sums."""
    return np.searchsorted(sums, below(raw, int(sums[-1])), side="right")
