"""A disk that is full, or a folder that cannot be written: what the system says of it, and what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamproof.core.settings import HomeSettings

_FULL = {errno.ENOSPC, errno.EDQUOT}
_OF_A_DISK = _FULL | {errno.EROFS, errno.EIO, errno.EFBIG, errno.EMFILE, errno.ENFILE}


def is_of_a_file(error: OSError) -> bool:
    """Tell whether an error is of a file or its disk; else it is of a connection, or of a program."""
    return error.filename is not None or error.errno in _OF_A_DISK


def explain(error: OSError) -> str:
    """Return which file could not be used, why, what to do about it, and the error's notes."""
    home = HomeSettings().home.absolute()
    files = [Path(str(name)).absolute() for name in (error.filename, error.filename2) if name is not None]
    text = f"{' to '.join(map(str, files))}: {error.strerror}" if files else f"{error.strerror}"
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        text += ": allow more of them (`ulimit -n 4096`)"
    elif error.errno in _FULL:
        text += f": make room {'there' if files else f'in {home}'}, or choose another folder with STREAMPROOF_HOME"
    elif any(file.is_relative_to(home) for file in files):
        text += f": choose a folder that can be written with STREAMPROOF_HOME (now {home})"
    return "; ".join([text, *getattr(error, "__notes__", [])])


@contextmanager
def duckdb_in(folder: Path) -> Iterator[None]:
    """Let a database that cannot write into ``folder`` fail as a file does.

    Raises:
        OSError: there is no room, or the folder cannot be written.

    """
    import duckdb

    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
        raise OSError(number, str(error).partition("\n")[0], str(folder)) from error
