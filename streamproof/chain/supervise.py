"""``python -m streamproof.supervise``, which `up` leaves running: servers are started again, and their jobs go on."""

import sys
import threading

from streamproof.chain.end_marks import Restarts, mark_ends_again
from streamproof.core.errors import StreamproofError
from streamproof.stack.servers import Stack
from streamproof.stack.supervisor import Supervisor, say, set_by_sigterm

_LOOK = 3.0  # seconds


def _close_windows(stop: threading.Event) -> None:
    """Mark the ends of runs again whose jobs Flink has restarted, whatever it was that made it do so."""
    known: Restarts = {}
    while not stop.wait(_LOOK):
        try:
            for run in mark_ends_again(known):
                say(f"Flink restarted the job of the run {run}: its end is marked again")
        except StreamproofError:
            continue  # JobManager or Kafka is away: their part's own lines tell
        except Exception as error:  # else windows would stay open, and nobody would know why
            say(f"the ends of runs could not be marked again, which is tried once more: {error!r}")


if __name__ == "__main__":
    ended = set_by_sigterm()
    threading.Thread(target=_close_windows, args=(ended,), daemon=True).start()
    resubmit = [sys.executable, "-m", "streamproof", "resubmit"]
    Supervisor(Stack.from_environment(), {"jobmanager": resubmit}).run(ended)
