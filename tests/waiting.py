"""Waiting for something to become so: as long as a slow machine may need, and no longer than it takes."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

PATIENCE = 240.0
"""Seconds. Only a test that fails ever waits for so long."""

Result = TypeVar("Result")


def until(reached: Callable[[], Result], seconds: float = PATIENCE, look: float = 0.2) -> Result:
    """Wait for a result that is true (or different from 0), and return it; ``tenacity.RetryError`` if none comes."""
    waiting = Retrying(
        retry=retry_if_result(lambda result: not result), wait=wait_fixed(look), stop=stop_after_delay(seconds)
    )
    return waiting(reached)


def eventually(check: Callable[[], Result], seconds: float = PATIENCE, look: float = 0.2) -> Result:
    """Call a check until it raises nothing, and return its result; else raise its last error."""
    waiting = Retrying(wait=wait_fixed(look), stop=stop_after_delay(seconds), reraise=True)
    return waiting(check)
