"""A stored file as bytes of UTF-8: unpacked, its encoding changed, without a byte order mark; or what it is instead.

How a file is packed is told by its first bytes, whatever its name: gzip, bzip2, Zstandard, and a zip with one file.
"""

import bz2
import codecs
import gzip
import io
import zipfile
from pathlib import Path
from typing import IO, Any, cast

from streamproof.core.errors import UsageError

_BUFFER = 1 << 18
_HEAD = 512
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before the mark of UTF-16, with which it begins
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer and not the file itself: fetch that with `git lfs pull`",
    b"PAR1": "a Parquet file: write it as CSV first",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive: unpack it first",
    b"Rar!\x1a\x07": "a RAR archive: unpack it first",
    b"\xfd7zXZ\x00": "packed by xz: unpack it first (gz, bz2, zst and a zip with one file are read as they are)",
    b"%PDF-": "a PDF document",
    b"SQLite format 3\x00": "an SQLite database: write its table as CSV first",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel or Word document: save it as CSV",
}
READ_ERRORS = (OSError, EOFError, zipfile.BadZipFile, gzip.zlib.error)  # type: ignore[attr-defined]
"""Raised by reading when the packed data is damaged or breaks off."""


def open_stored(raw: IO[bytes], path: Path, encoding: str) -> IO[bytes]:
    """Return the text of a file, as UTF-8; what cannot be decoded becomes a byte that is none.

    Args:
        raw: the file, open at its beginning.
        path: names it in errors.
        encoding: the encoding of a file without a byte order mark.

    Raises:
        UsageError: it is no such file; the text says what it is.

    """
    plain = io.BufferedReader(cast("Any", _unpacked(raw, path)), _BUFFER)
    head = plain.peek(_HEAD)[:_HEAD]
    _refuse_others(head, path)
    for mark, marked in _MARKS.items():
        if head.startswith(mark):
            plain.read(len(mark))
            encoding = marked
            break
    else:
        if _is_utf8(encoding) and _lacks_its_mark(head):
            raise UsageError(
                f'{path}: looks like UTF-16 without its mark: set csv.encoding = "utf-16-le" or "utf-16-be"'
            )
    return plain if _is_utf8(encoding) else io.BufferedReader(_Recoded(plain, encoding), _BUFFER)


def _unpacked(raw: IO[bytes], path: Path) -> IO[bytes]:
    head = raw.read(_HEAD)
    raw.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return cast("IO[bytes]", bz2.BZ2File(raw))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"))
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _only_file(raw, path)
    if path.suffix in {".gz", ".bz2", ".zst", ".zip"} and head:
        raise UsageError(f"{path}: is named {path.suffix}, but its content is not")
    return raw


def _only_file(raw: IO[bytes], path: Path) -> IO[bytes]:
    try:
        archive = zipfile.ZipFile(raw)
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if "[Content_Types].xml" in names:
            raise UsageError(f"{path}: is a spreadsheet or an Office document: save it as CSV")
        if len(names) != 1:
            raise UsageError(f"{path}: is a zip archive with {len(names)} files: unpack the one that you want")
        return archive.open(names[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{path}: is a zip archive that cannot be read: {error}") from error


def _refuse_others(head: bytes, path: Path) -> None:
    for beginning, what in _OTHERS.items():
        if head.startswith(beginning):
            raise UsageError(f"{path}: is {what}")
    if head[257:262] == b"ustar":
        raise UsageError(f"{path}: is a tar archive: unpack it first")
    if head.removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise UsageError(f"{path}: is an HTML page, perhaps one that says why the download failed")


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _lacks_its_mark(head: bytes) -> bool:
    even, odd = head[:16:2], head[1:16:2]
    return len(odd) > 4 and any(  # noqa: PLR2004 - a few letters
        not zeros.strip(b"\x00") and b"\x00" not in letters for zeros, letters in ((even, odd), (odd, even))
    )


class _Recoded(io.RawIOBase):
    """The bytes of ``source`` as UTF-8."""

    def __init__(self, source: IO[bytes], encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)(_INVALID)
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:  # noqa: ANN401 - any writable buffer
        while not self._ready:
            data = self._source.read(_BUFFER)
            self._ready = self._decoder.decode(data, final=not data).encode(errors=_INVALID)
            if not data:
                break
        size = min(len(into), len(self._ready))
        into[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def close(self) -> None:
        self._source.close()
        super().close()


_INVALID = "streamproof.invalid"


def _keep_invalid(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    if isinstance(error, UnicodeEncodeError):
        return b"\xff", error.end
    raise error


codecs.register_error(_INVALID, _keep_invalid)
