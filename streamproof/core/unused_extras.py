"""Modules that libraries load where they are installed, and that no command here uses."""

import sys


def leave_out_extras() -> None:
    """Keep paho from loading the resolver of SRV records, and httpx its own command.

    Each is a good part of what its library loads. It is for processes of this project alone: whoever imports the
    project's packages may need both.
    """
    sys.modules |= dict.fromkeys(("dns.resolver", "httpx._main"))  # type: ignore[arg-type]  # None: it cannot be imported
