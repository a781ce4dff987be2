"""Generated product ratings, in the shape of Amazon's "ratings only" files: no header; user, product, rating, time."""

import csv
import random
from pathlib import Path

PRODUCTS = 200
_FIRST_SECOND = 1_388_534_400  # 2014-01-01T00:00:00Z
_SECONDS = 365 * 86_400


def write_sample(file: Path, rows: int, seed: str, products: int = PRODUCTS) -> None:
    """Write ``rows`` ratings of so many products; the same arguments give the same file.

    Few products get most of the ratings, and product ids are ISBN-like: ten characters with leading zeros, some
    ending in X, so that whoever reads them as numbers is found out.
    """
    chance = random.Random(seed)  # noqa: S311 (sample data, not secrets)
    ids = [f"{chance.randrange(10**8):09d}{chance.choice('0123456789X')}" for _ in range(products)]
    popularity = [1 / rank for rank in range(1, products + 1)]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        for product in chance.choices(ids, popularity, k=rows):
            rating = chance.choices((1.0, 2.0, 3.0, 4.0, 5.0), (8, 5, 9, 20, 58))[0]
            writer.writerow(
                (
                    f"A{chance.randrange(36**8):013d}",
                    product,
                    rating,
                    _FIRST_SECOND + chance.randrange(_SECONDS),
                )
            )
