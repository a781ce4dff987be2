"""Whom alerts are told: any service that apprise knows by its URL, or a file with a line of JSON for each event."""

import logging
import os
import threading
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from streamproof.core.errors import UsageError
from validation.alert_events import AlertEvent

_TYPES = {"firing": "failure", "repeated": "warning", "resolved": "success"}
"""What apprise calls them; its services choose a colour or a sign by it."""


class Receiver(Protocol):
    """Somebody who is told of alerts."""

    @property
    def name(self) -> str:
        """What names it in the outbox and on the terminal; without its secrets."""
        ...

    def tell(self, event: AlertEvent) -> str | None:
        """Tell of an event; return why it was not taken, or None where it was."""
        ...


def receiver_at(url: str) -> Receiver:
    """Return the receiver at an apprise URL, a ``file://`` URL or a path.

    Raises:
        UsageError: apprise knows no such service, or its URL lacks something.

    """
    if "://" not in url or url.startswith("file://"):
        return File(Path(unquote(urlsplit(url).path) if "://" in url else url).absolute())
    import apprise  # slow to import, and a file needs it not

    service: Any = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if service is None:
        kind = url.partition("://")[0]
        raise UsageError(
            f"--to {kind}://…: apprise knows no such service, or its URL lacks something "
            "(https://appriseit.com lists all); a file is named by its path"
        )
    return Service(service, f"{service.url(privacy=True).partition('?')[0]} #{sha256(url.encode()).hexdigest()[:6]}")


@dataclass(frozen=True)
class File:
    """A file: each event is a line of JSON, which is on the disk when it counts as told."""

    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def tell(self, event: AlertEvent) -> str | None:
        """Append a line."""
        try:
            with self.path.open("ab+") as file:
                if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                    file.write(b"\n")  # behind a line that a killed process left unfinished
                file.write(event.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            return error.strerror or str(error)
        return None


class Service:
    """A service of apprise's.

    Args:
        service: apprise's own object.
        name: without secrets.

    """

    def __init__(self, service: Any, name: str) -> None:  # noqa: ANN401 - apprise's classes have no common base to name
        self._service, self._name = service, name

    @property
    def name(self) -> str:
        """Its URL without secrets."""
        return self._name

    def tell(self, event: AlertEvent) -> str | None:
        """Send a message."""
        title, body = message(event)
        with _Listening() as said:
            taken = self._service.notify(title=title, body=body, notify_type=_TYPES.get(event.state, "info"))
        return None if taken else (said.words or "it was not taken")


def message(event: AlertEvent) -> tuple[str, str]:
    """Return what a person is told of an event: title and text. The alert's id stands in both."""
    key = ", ".join(str(value) for value in event.key.values())
    state = f"{event.state} ({event.number})" if event.number else event.state
    title = f"{state}: {event.question_name} {key}".rstrip() + f" [{event.id}]"
    lines = [
        event.title,
        *(f"{name}: {value}" for name, value in (event.key | event.values).items() if value is not None),
        f"window: {event.window_start:%Y-%m-%dT%H:%M:%SZ} to {event.window_end:%Y-%m-%dT%H:%M:%SZ}",
        f"since: {event.begin:%Y-%m-%dT%H:%M:%SZ}",
        f"run: {event.run}",
        f"alert: {event.id}",
    ]
    return title, "\n".join(lines)


class _Listening(logging.Handler):
    """Hears what apprise logs in this thread: it tells in no other way why something was not taken."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread, self.words = threading.get_ident(), ""

    def __enter__(self) -> "_Listening":
        log = logging.getLogger("apprise")
        log.propagate = False
        log.addHandler(self)
        return self

    def __exit__(self, *exception: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last words."""
        if record.thread == self._thread:
            self.words = record.getMessage()
