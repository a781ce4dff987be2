"""How long tests that generate their cases go on: ``STREAMPROOF_HUNT`` times as long as at each change."""

import os


def cases(at_each_change: int) -> int:
    """Return how many cases to generate."""
    return at_each_change * int(os.environ.get("STREAMPROOF_HUNT", "1"))
