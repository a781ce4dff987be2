"""``python -m flink_jobs``."""

from flink_jobs.cli import app
from streamproof.core.command import run_app

if __name__ == "__main__":
    run_app(app)
