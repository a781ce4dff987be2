"""Servers of several processes: their parts' names, and how many of them a home has.

What `up` is told of that by its options are settings in ``HOME/servers.env``, for every command.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from streamproof.core.errors import UsageError
from streamproof.core.settings import SERVERS_FILE
from streamproof.core.whole_file import write_whole


def part_names(server: str, count: int) -> tuple[str, ...]:
    """Return the parts that are a server's processes: its own name, or with a number where there are several."""
    return (server,) if count == 1 else tuple(f"{server}-{number}" for number in range(1, count + 1))


def refuse_other_number(alone: Path, count: int, began_with: tuple[str, str], what: str, instead: str) -> None:
    """Refuse to start a server with more or fewer processes than it began with.

    Args:
        alone: what there is in the server's folder when it began with one process; of several each has a folder.
        count: how many are to be started.
        began_with: one of them and several, in words.
        what: the server, with its home, in words.
        instead: what is lost with the server's folder, and what to do then.

    Raises:
        UsageError: it began with another number.

    """
    folder = alone.parent
    several = folder / part_names(folder.name, 2)[0]
    if (alone if count > 1 else several).exists():
        raise UsageError(
            f"{what} began with {began_with[count == 1]}, which cannot be changed: use another STREAMPROOF_HOME, or "
            f"remove {folder}, {instead}"
        )


def keep_servers(
    home: Path, setting: str, servers: Sequence[str], named: Callable[[], Sequence[str]], option: str
) -> None:
    """Have every command find these servers.

    Args:
        home: whose servers they are.
        setting: names them.
        servers: their addresses.
        named: returns which servers the settings name now.
        option: how `up` was told, for the error.

    Raises:
        UsageError: the environment or ``.env`` names others.

    """
    file = home / SERVERS_FILE
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    others = [line for line in before.splitlines() if not line.startswith(f"{setting}=")]
    home.mkdir(parents=True, exist_ok=True)
    write_whole(file, "".join(f"{line}\n" for line in (*others, f"{setting}={','.join(servers)}")))
    if list(now := named()) != list(servers):
        write_whole(file, before)
        raise UsageError(f"{option}, and {setting} names {len(now)}: name {len(servers)} there, or leave it out")
