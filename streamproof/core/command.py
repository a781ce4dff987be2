"""How every command of the project starts and ends: exit codes, messages on standard error, Ctrl-C."""

import os
import signal
import sys
import threading

import typer
from rich.console import Console

from streamproof.core.errors import StreamproofError

console = Console(stderr=True, highlight=False, emoji=False)
"""For people: progress and messages, on standard error. What programs read goes to standard output."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""


def new_app(about: str) -> typer.Typer:
    """Return a command line whose errors are this project's own."""
    return typer.Typer(help=about, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def run_app(app: typer.Typer) -> None:
    """Run a command line; a ``StreamproofError`` becomes its message and its exit code.

    So does an error of a file that nobody expected: a folder that cannot be written, or a full disk.
    """
    try:
        app()
    except StreamproofError as error:
        _tell(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of standard output (head, less) has seen enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        from streamproof.core.disk import explain, is_of_a_file

        if not is_of_a_file(error):
            raise
        _tell(explain(error))
        sys.exit(StreamproofError.exit_code)
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(INTERRUPTED)


def set_by(*signals: signal.Signals) -> threading.Event:
    """Return an event that any of these signals sets, in place of what it does otherwise."""
    stop = threading.Event()
    for number in signals:
        signal.signal(number, lambda *_: stop.set())
    return stop


def wait_for(stop: threading.Event) -> None:
    """Wait until a signal has set the event.

    Python handles a signal in the main thread, and the kernel may give it to another. The main thread then sleeps on,
    so it wakes by itself once a second.
    """
    while not stop.wait(1):
        pass


def _tell(text: str) -> None:
    console.print("[red]error:[/]", end=" ")
    console.print(text, markup=False, soft_wrap=True)
