"""One process at a time: locks on files, held until their process lets go or ends, however it ends."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(lock: Path, before_waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let only one process at a time, and one thread of it, work in the folder of a lock file.

    Raises:
        OSError: the folder or the file cannot be written.

    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        if not lock_at_once(file.fileno()):
            before_waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lock_at_once(descriptor: int) -> bool:
    """Lock an open file; return False where another one holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
