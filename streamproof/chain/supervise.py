"""``python -m streamproof.chain.supervise``: servers are started again, their jobs go on, and end with their runs.

`up` leaves it running, and so does `submit --run` where nobody does that work yet, as on a cluster of one's own. Then
it ends with the last job that follows a run.
"""

import subprocess
import sys
import threading

from flink_jobs.records import followers
from streamproof.chain.ended_runs import EndedRuns
from streamproof.chain.failing_jobs import give_up_failing_jobs
from streamproof.stack.servers import PARTS, Stack
from streamproof.stack.supervisor import Supervisor, say, set_by_sigterm

_LOOK = 3.0  # seconds
_RESUBMIT = (sys.executable, "-m", "streamproof", "resubmit")
"""A process of its own: PyFlink and its JVM are not to stay in this one."""


def look_after_jobs(stack: Stack, stop: threading.Event) -> None:
    """Every few seconds until ``stop`` is set, which this does when neither a server nor a job needs it any more."""
    runs = EndedRuns()
    while not stop.wait(_LOOK):
        try:
            for line in (*runs.look(), *give_up_failing_jobs()):
                say(line)
            if runs.are_lost:
                subprocess.run(_RESUBMIT, stdin=subprocess.DEVNULL, check=False)
            if not followers() and not any(stack.processes.record(part) for part in PARTS):
                stop.set()
        except Exception as error:  # else windows would stay open, and nobody would know why
            say(f"the jobs of ended runs could not be looked after, which is tried once more: {error!r}")


if __name__ == "__main__":
    ended, servers = set_by_sigterm(), Stack.from_environment()
    threading.Thread(target=look_after_jobs, args=(servers, ended), daemon=True).start()
    Supervisor(servers, {"jobmanager": _RESUBMIT}).run(ended)
