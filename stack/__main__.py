"""``python -m stack``: the servers' commands, and the maintainer's ``lock``."""

from stack.cli import app
from stack.lock import lock
from streams.command import run_app

if __name__ == "__main__":
    app.command()(lock)
    run_app(app)
