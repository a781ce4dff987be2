"""Files that others read while they are written anew."""

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file; a reader sees the old one or the new one, never a half.

    Raises:
        OSError: it cannot be written; the old one stays.

    """
    half = path.with_name(f"{path.name}.half")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        error.filename = str(path)  # where the disk is full, the system names none
        raise
