"""The ``streamproof`` command, also as ``python -m streamproof``."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C is quiet even while its parts are being imported."""
    try:
        from streamproof.cli import app
        from streamproof.core.command import run_app
    except KeyboardInterrupt:
        sys.exit(130)
    run_app(app)


if __name__ == "__main__":
    main()
