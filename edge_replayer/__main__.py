"""``python -m edge_replayer``: the replayer alone."""

from edge_replayer.cli import app
from streamproof.core.command import run_app

run_app(app)
