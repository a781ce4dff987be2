"""Files that are read side by side, however many: only the ones read last hold a descriptor.

A run may have thousands of files, of which each waits for its next row; a system lets a process open a thousand.
"""

import io
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from streamproof.core.errors import StreamproofError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_OPEN = 100
"""Descriptors at once, of all files together."""

_BUFFER, _SMALL_BUFFER = 1 << 18, 1 << 14  # of one of a few files, and of one of many

_opened: "OrderedDict[_File, int]" = OrderedDict()
_lock = threading.Lock()  # whoever reads must keep others from closing the descriptor


def open_to_read(path: Path) -> IO[bytes]:
    """Open a file as ``path.open("rb")`` does; its reads raise StreamproofError where it was replaced meanwhile."""
    file = _File(path)
    return cast("IO[bytes]", io.BufferedReader(file, _BUFFER if len(_opened) < MOST_OPEN else _SMALL_BUFFER))


class _File(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0
        self._identity: tuple[int, int] | None = None
        with _lock:
            self._open()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with _lock:
            size = os.fstat(self._open()).st_size
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: size}[whence]
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        with _lock:
            count = os.preadv(self._open(), [buffer], self._at)
        self._at += count
        return count

    def close(self) -> None:
        with _lock:
            descriptor = _opened.pop(self, None)
        if descriptor is not None:
            os.close(descriptor)
        super().close()

    def _open(self) -> int:
        """Return the file's descriptor, which is now the one that was used last."""
        descriptor = _opened.pop(self, None)
        if descriptor is None:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            about = os.fstat(descriptor)
            self._identity = self._identity or (about.st_dev, about.st_ino)
            if self._identity != (about.st_dev, about.st_ino):
                os.close(descriptor)
                raise StreamproofError(f"{self._path}: another file took its place while it was read")
            if len(_opened) >= MOST_OPEN:
                os.close(_opened.popitem(last=False)[1])
        _opened[self] = descriptor
        return descriptor
