"""The Python process that NiFi runs a processor in: end it with NiFi, and let its bytes come fast and cheap."""

import os
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

import pybase64

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


def carry_bytes_fast(protocol: ModuleType) -> bool:
    """Let py4j, for which bytes are text, code them by pybase64; its own decoding is a Python loop over each byte.

    Args:
        protocol: the module ``py4j.protocol``. It stays as it is when its own coding gives something else.

    Returns:
        Whether it is in place.

    """
    decode, encode = partial(pybase64.b64decode, validate=True), pybase64.b64encode_as_string
    sample = bytes(range(256)) * 3 + b"\n"
    encoded = encode(sample)
    try:
        decoded = protocol.decode_bytearray(encoded)
        same = protocol.encode_bytearray(sample) == encoded and type(decoded) is bytes and decoded == decode(encoded)
    except (AttributeError, TypeError, ValueError):
        return False
    if same:
        protocol.decode_bytearray, protocol.encode_bytearray = decode, encode  # type: ignore[attr-defined]
    return same


def acknowledge_at_once(connection: type) -> None:
    """Let TCP acknowledge what NiFi sends while it is read, instead of up to 40 ms later.

    NiFi's side writes an answer in pieces of 8 kB, and by Nagle's algorithm (RFC 896) holds back the last one until the
    others are acknowledged: each FlowFile of more than that would wait for it.

    Args:
        connection: the class ``py4j.java_gateway.GatewayConnection``.

    """
    if not hasattr(socket, "TCP_QUICKACK"):  # it is Linux's alone
        return

    def stream(self: Any) -> object:
        with suppress(OSError, AttributeError):  # it is closed, or not yet open
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # good until this side sends again
        return vars(self)["stream"]

    connection.stream = property(stream, lambda self, value: vars(self).update(stream=value))  # type: ignore[attr-defined]
