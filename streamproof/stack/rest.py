"""The one HTTP client of the health checks."""

from functools import cache

import httpx


@cache
def rest_client() -> httpx.Client:
    """Return the client; made once, for making one costs more than a request.

    Proxies from the environment are left aside: everything it asks is on loopback.
    """
    return httpx.Client(timeout=5, trust_env=False)
