"""``python -m nifi_templates``: this stage alone."""

from nifi_templates.cli import app
from streamproof.core.command import run_app

run_app(app)
