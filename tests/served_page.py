"""The dashboard command, run as a process for as long as a test needs it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from free_ports import free_ports
from waiting import PATIENCE


@contextmanager
def served_page(*options: str, environment: dict[str, str] | None = None) -> Iterator[str]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "streamproof", "dashboard", "--port", str(port), *options]
    with subprocess.Popen(command, env=os.environ | (environment or {}), stderr=subprocess.PIPE, text=True) as process:
        try:
            address, deadline = f"http://127.0.0.1:{port}/", time.monotonic() + PATIENCE
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    if httpx.get(address, trust_env=False).is_success:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE)
            assert "Traceback" not in said, said
