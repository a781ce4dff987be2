"""Run the ``streamproof`` command as ``python -m streamproof``."""

from streamproof.cli import main

main()
