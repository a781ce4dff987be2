"""The servers on this machine, without Docker: install, start, wait until healthy, stop."""
