"""The ``streamproof`` command, also as ``python -m streamproof``."""

import os
import sys
import sysconfig
from pathlib import Path


def main() -> None:
    """Run the command line; Ctrl-C is quiet even while its parts are being imported."""
    try:
        ignore_pythonpath()
        from streamproof.core.unused_extras import leave_out_extras

        leave_out_extras()
        from streamproof.cli import app
        from streamproof.core.command import run_app
    except KeyboardInterrupt:
        sys.exit(130)
    run_app(app)


def ignore_pythonpath() -> None:
    """Import nothing, here and in what this process starts, from folders that only PYTHONPATH names.

    They are for programs of the user's own, and a module there could bear the name of one that is needed here. The
    folder of this very package stays.
    """
    entries = os.environ.pop("PYTHONPATH", "")
    if not entries:
        return
    named = {Path(entry).resolve(): entry for entry in entries.split(os.pathsep)}
    own = {Path(__file__).resolve().parents[1], *(Path(path).resolve() for path in sysconfig.get_paths().values())}
    sys.path = [entry for entry in sys.path if Path(entry).resolve() not in named.keys() - own]
    if kept := [entry for folder, entry in named.items() if folder in own]:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)


if __name__ == "__main__":
    main()
