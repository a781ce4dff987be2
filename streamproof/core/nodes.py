"""NiFi's nodes, and which of them do not accept connections."""

from urllib.parse import urlsplit

from streamproof.core.brokers import accepts
from streamproof.core.settings import NifiSettings


def missing_nodes(nifi: NifiSettings) -> str:
    """Return which of several nodes are missing, as an error says it in brackets; nothing where none is."""
    if len(nifi.endpoints) == 1:
        return ""
    missing = [endpoint for endpoint in nifi.endpoints if not accepts(urlsplit(endpoint).netloc, 443)]
    return f" (no node of NiFi listens at {' and '.join(missing)})" if missing else ""
