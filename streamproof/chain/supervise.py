"""``python -m streamproof.chain.supervise``: servers are started again, jobs end with their runs, alerts are computed.

Sinks that are wanted beside the servers are kept running, too.
`up` leaves it running, and so does `submit --run` where nobody does that work yet, as on a cluster of one's own. Then
it ends with the last job that follows a run, once its alerts are written.
"""

import signal
import subprocess
import sys
import threading

from flink_jobs.records import followers
from streamproof.alerts.open_jobs import open_jobs
from streamproof.chain.ended_runs import EndedRuns
from streamproof.chain.failing_jobs import give_up_failing_jobs
from streamproof.core.command import set_by
from streamproof.stack.live_sinks import live_sinks
from streamproof.stack.servers import Stack
from streamproof.stack.supervisor import Supervisor, say

_LOOK = 3.0  # seconds
_RESUBMIT = (sys.executable, "-m", "streamproof", "resubmit")
"""A process of its own: PyFlink and its JVM are not to stay in this one."""

_ALERTER = (sys.executable, "-m", "streamproof.alerts")
"""A process of its own: it ends with this one, and when it has nothing to do."""


_SINK = (sys.executable, "-m", "streamproof.sinks")
"""Likewise; it never has nothing to do."""


class AlerterProcess:
    """The process that computes alerts: it runs while there is anything to compute."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self) -> bool:
        """Start it where there is work and none runs; return whether there is work."""
        if not open_jobs():
            return False
        if self._process is None or (code := self._process.poll()) is not None:
            if self._process and code:
                say(f"the alerter ended by itself (exit code {code}): starting it again")
            self._process = subprocess.Popen(_ALERTER, stdin=subprocess.DEVNULL)
        return True

    def end(self) -> None:
        """End it, whatever it is at: what it has not written, the next one writes."""
        if self._process:
            self._process.kill()
            self._process.wait()


class SinkProcesses:
    """The sinks that store all runs as they come, a process each."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def keep(self) -> None:
        """Start those that are wanted and do not run."""
        for name in live_sinks():
            process = self._processes.get(name)
            if process is None or (code := process.poll()) is not None:
                if process:
                    say(f"the sink {name} ended by itself (exit code {code}): starting it again")
                self._processes[name] = subprocess.Popen((*_SINK, name), stdin=subprocess.DEVNULL)

    def end(self) -> None:
        """End them, whatever they are at: what they have not stored, the next ones store."""
        for process in self._processes.values():
            process.kill()
            process.wait()


def look_after_jobs(stack: Stack, alerter: AlerterProcess, sinks: SinkProcesses, stop: threading.Event) -> None:
    """Every few seconds until ``stop`` is set, which this does when neither a server nor a job needs it any more."""
    runs = EndedRuns()
    while not stop.wait(_LOOK):
        try:
            for line in (*runs.look(), *give_up_failing_jobs()):
                say(line)
            if runs.are_lost:
                subprocess.run(_RESUBMIT, stdin=subprocess.DEVNULL, check=False)
            has_work = alerter.keep()
            sinks.keep()
            if not has_work and not followers() and not any(stack.processes.record(part) for part in stack.all_parts):
                stop.set()
        except Exception as error:  # else windows would stay open, and nobody would know why
            say(f"the jobs of ended runs could not be looked after, which is tried once more: {error!r}")


if __name__ == "__main__":
    ended, servers, alerts, kept = set_by(signal.SIGTERM), Stack.from_environment(), AlerterProcess(), SinkProcesses()
    threading.Thread(target=look_after_jobs, args=(servers, alerts, kept, ended), daemon=True).start()
    Supervisor(servers, {"jobmanager": _RESUBMIT}).run(ended)
    alerts.end()
    kept.end()
