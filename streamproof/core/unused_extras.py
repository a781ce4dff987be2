"""What libraries would load only because it is installed, and nothing here uses."""

import sys


def leave_out_extras() -> None:
    """Keep libraries from loading what they have no use for here and take only as it happens to be installed.

    paho resolves no SRV records, and httpx's own command is not called: a good part of what each of them loads.
    """
    sys.modules |= dict.fromkeys(("dns.resolver", "httpx._main"))  # type: ignore[arg-type]  # None: it cannot be imported
