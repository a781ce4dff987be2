"""How commands end at a signal."""

import subprocess
import sys

SIGNALLED = """
import signal, threading, time
from streamproof.core.command import set_by, wait_for
stop = set_by(signal.SIGINT)
other = threading.Thread(target=time.sleep, args=(60,), daemon=True)
other.start()
threading.Timer(0.5, signal.pthread_kill, (other.ident, signal.SIGINT)).start()
wait_for(stop)
"""


def test_a_signal_that_another_thread_gets_ends_a_command_that_only_waits():
    subprocess.run([sys.executable, "-c", SIGNALLED], check=True, timeout=30)
