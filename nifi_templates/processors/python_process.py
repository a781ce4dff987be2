"""The Python process that NiFi runs a processor in: end it with NiFi, and make its bytes cheap to read."""

import base64
import os
import threading
import time
from collections.abc import Callable
from types import ModuleType

_LOOK_SECONDS = 0.2
_watching = threading.Lock()


def end_with_parent() -> None:
    """End this process soon after NiFi's: a killed NiFi leaves it behind, holding the MQTT session."""
    if _watching.acquire(blocking=False):
        threading.Thread(target=_watch, args=(os.getppid(),), name="end-with-parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


def read_bytes_fast(protocol: ModuleType) -> bool:
    """Replace py4j's decoding of bytes, a Python loop over each byte, by base64's; return whether it is in place.

    Args:
        protocol: the module ``py4j.protocol``. It stays as it is when its own decoding gives something else.

    """
    own: Callable[[str], object] | None = getattr(protocol, "decode_bytearray", None)
    if own is None:
        return False
    sample = bytes(range(256)) * 3 + b"\n"
    encoded = base64.standard_b64encode(sample).decode()
    try:
        same = own(encoded) == base64.standard_b64decode(encoded) == sample and type(own(encoded)) is bytes
    except (TypeError, ValueError):
        return False
    if same:
        protocol.decode_bytearray = base64.standard_b64decode  # type: ignore[attr-defined]
    return same
