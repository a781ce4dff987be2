"""What `up` is told of a home's servers by its options: settings in ``HOME/servers.env``, for every command."""

from collections.abc import Callable, Sequence
from pathlib import Path

from streamproof.core.errors import UsageError
from streamproof.core.settings import SERVERS_FILE
from streamproof.core.whole_file import write_whole


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
