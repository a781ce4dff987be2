"""``python -m edge_replayer``: the replayer alone."""

from streamproof.core.unused_extras import leave_out_extras

leave_out_extras()

from edge_replayer.cli import app  # noqa: E402
from streamproof.core.command import run_app  # noqa: E402

run_app(app)
