"""The TOML files that users write: an error names the file, the key and what was expected there."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from streamproof.core.duration import parse_whole_milliseconds
from streamproof.core.errors import UsageError


class StrictModel(BaseModel):
    """A part of such a file: a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Content = TypeVar("Content", bound=StrictModel)


def written(parse: Callable[[str], object]) -> BeforeValidator:
    """Return how a value is read that stands in the file as text; what ``parse`` refuses is an error of its key."""

    def read(text: object) -> object:
        try:
            return parse(str(text))
        except UsageError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(read)


Milliseconds = Annotated[int, written(parse_whole_milliseconds)]
"""A duration, written like ``30s``."""


def read_toml(path: Path) -> dict[str, object]:
    """Read a file.

    Raises:
        UsageError: it cannot be read, or is no TOML.

    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as TOML: {error}") from error


def check_content(
    model: type[Content], data: Mapping[str, object], source: str, *, manual: str, implied: tuple[str, ...] = ()
) -> Content:
    """Make a file's content an object of ``model``.

    Args:
        model: what the file must be.
        data: the content.
        source: names the file in errors.
        manual: the page that explains every key.
        implied: a key whose absence is no error of its own.

    Raises:
        UsageError: the content is wrong; the text has a line for each key, and counts a list's items from 1.

    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = []
        for e in error.errors():
            if e["loc"] == implied and e["type"] == "missing":
                continue
            key = (
                ".".join(str(part + 1 if isinstance(part, int) else part) for part in e["loc"])
                or model.__name__.lower()
            )
            text = e["msg"].removeprefix("Value error, ")
            if e["type"] == "extra_forbidden":
                text = f"there is no such key ({manual} has them all)"
            lines.append(f"{source}: {key}: {text}")
        raise UsageError("\n".join(lines)) from error
