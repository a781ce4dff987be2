"""``python -m streamproof.sinks NAME``: stores all runs as they come; it ends with whoever has started it."""

import os
import sys
import threading

from streamproof.core.command import console
from streamproof.core.errors import StreamproofError
from streamproof.sinks.kept import Kept
from streamproof.sinks.store import store

_LOOK_S = 1.0


def end_with(starter: int, stop: threading.Event) -> None:
    """Set ``stop`` once another process than ``starter`` is this one's parent."""
    while os.getppid() == starter and not stop.wait(_LOOK_S):
        pass
    stop.set()


if __name__ == "__main__":
    ended = threading.Event()
    threading.Thread(target=end_with, args=(os.getppid(), ended), daemon=True).start()
    try:
        store(Kept(kind=sys.argv[1]), None, ended)  # type: ignore[arg-type]
    except StreamproofError as error:
        console.print(f"{sys.argv[1]}: {error}", markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
