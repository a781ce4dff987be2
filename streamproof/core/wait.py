"""Waiting for something that comes about elsewhere, at a server or in another process."""

from collections.abc import Callable

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed


def wait_until(condition: Callable[[], object], seconds: float, every: float = 0.2) -> bool:
    """Ask at once and then ``every`` so many seconds whether a condition holds; False where it does not in time."""
    asking = Retrying(
        stop=stop_after_delay(seconds), wait=wait_fixed(every), retry=retry_if_result(lambda holds: not holds)
    )
    try:
        asking(condition)
    except RetryError:
        return False
    return True
