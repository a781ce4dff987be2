"""The one error that ends a command with a message instead of a traceback."""


class StreamproofError(Exception):
    """Raised when a command cannot go on; the text says what was wrong, where, and what to try.

    The command line prints the text and ends with ``exit_code``: 2 for wrong use, 1 for a failure.
    """

    exit_code = 1


class UsageError(StreamproofError):
    """Raised when what the user wrote (option, file, contract, setting) cannot be used."""

    exit_code = 2
