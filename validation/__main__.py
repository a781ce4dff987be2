"""Run the validation alone: ``python -m validation``."""

from streamproof.core.command import run_app
from validation.cli import app

run_app(app)
