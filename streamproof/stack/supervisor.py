"""The supervisor: starts again what has ended by itself, and gives up what keeps ending."""

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from streamproof.core.command import console, wait_for
from streamproof.core.errors import StreamproofError
from streamproof.stack.servers import Stack

_LOOK = 0.25
_LONGEST_PAUSE = 30.0
_STABLE = 2.0
"""Seconds of health after which a part counts as one that works; its next end is the first one again."""

ATTEMPTS = 5
"""How often in a row a part is started again without having worked."""


class Supervisor:
    """Looks after the parts that run: one that ends without having been stopped is started again.

    At once the first time, then after 1, 2, 4 and 8 seconds. One that ends six times in a row without having worked in
    between is given up; ``up`` starts it once more.

    Args:
        stack: the parts.
        afterwards: commands to run when a part works again, by its name; one that fails is tried again.

    """

    def __init__(self, stack: Stack, afterwards: Mapping[str, Sequence[str]] = MappingProxyType({})) -> None:
        self._stack = stack
        self._afterwards = afterwards

    def run(self, stop: threading.Event) -> None:
        """Look after the parts until ``stop`` is set."""
        for name in self._stack.all_parts:
            threading.Thread(target=self._look_after, args=(name, stop), name=name, daemon=True).start()
        wait_for(stop)

    def _look_after(self, name: str, stop: threading.Event) -> None:
        ends, works_since = 0, 0.0
        while not stop.wait(_LOOK):
            if not self._stack.processes.has_ended(name) or self._stack.is_given_up(name):
                continue
            if works_since and time.monotonic() >= works_since + _STABLE:
                ends = 0
            ends, works_since = ends + 1, 0.0
            why = self._stack.processes.why_ended(name)
            if ends > ATTEMPTS:
                self._stack.processes.give_up(name)
                say(f"{name} ended {ends} times in a row and is given up ({why}); {self._stack.last_words(name)}")
                ends = 0
                continue
            say(f"{name} ended by itself ({why}): starting it again")
            if stop.wait(min(2.0 ** (ends - 2), _LONGEST_PAUSE) if ends > 1 else 0):
                return
            try:
                is_started = self._stack.start_again(name)
            except (StreamproofError, OSError) as error:
                say(f"{name} cannot be started: {error}")
                continue
            if not is_started:  # somebody else has stopped it, or started it
                ends = 0
            elif self._wait_until_healthy(name, stop):
                works_since = time.monotonic()
                self._run_afterwards(name, stop)

    def _wait_until_healthy(self, name: str, stop: threading.Event) -> bool:
        began = time.monotonic()
        while not stop.wait(_LOOK):
            if self._stack.processes.find(name) is None:
                return False
            if self._stack.is_healthy(name):
                say(f"{name} works again after {time.monotonic() - began:.0f} s")
                return True
        return False

    def _run_afterwards(self, name: str, stop: threading.Event) -> None:
        pause = 1.0
        while command := self._afterwards.get(name):
            if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode == 0:
                return
            say(f"{name} is back, but `{' '.join(command)}` failed: trying again")
            if stop.wait(pause) or self._stack.processes.has_ended(name):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)


def say(text: str) -> None:
    """Write a line with its time into the supervisor's log."""
    console.print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", markup=False, soft_wrap=True)
