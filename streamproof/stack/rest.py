"""The one HTTP client of the health checks."""

from functools import cache

import httpx

from streamproof.core.settings import TlsSettings


@cache
def rest_client(tls: TlsSettings) -> httpx.Client:
    """Return the client of an identity; made once, for making one costs more than a request.

    Proxies from the environment are left aside: everything it asks is on loopback.
    """
    return httpx.Client(timeout=5, trust_env=False, verify=tls.context() or True)
