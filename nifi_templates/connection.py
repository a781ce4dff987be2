"""The connection to NiFi, by the names that nipyapi knows, and NiFi's refusals as this project's errors."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import nipyapi
import urllib3.exceptions
from nipyapi.nifi.rest import ApiException

from streamproof.core.errors import StreamproofError
from streamproof.core.nodes import missing_nodes
from streamproof.core.settings import NifiSettings


@contextmanager
def nifi_connection(nifi: NifiSettings) -> Iterator[None]:
    """Let nipyapi speak with a NiFi: show it the certificate that is set, or log in where a user name is set.

    Raises:
        StreamproofError: NiFi cannot be reached, does not let us in, or refuses what is asked. It names those of
            several nodes that are missing, and so does every other error that is raised meanwhile.

    """
    try:
        with _refusals_as_errors(nifi):
            yield
    except StreamproofError as error:
        if missing := missing_nodes(nifi):
            raise StreamproofError(f"{error}{missing}") from error
        raise


@contextmanager
def _refusals_as_errors(nifi: NifiSettings) -> Iterator[None]:
    where = f"NiFi at {nifi.api_endpoint}"
    try:
        _connect(nifi)
        yield
    except ApiException as error:
        if error.status in (401, 403):
            raise StreamproofError(
                f"{where} does not let us in: {error.body or error.reason} (STREAMPROOF_TLS_CERT, or NIFI_USERNAME and "
                "NIFI_PASSWORD, say who asks)"
            ) from error
        raise StreamproofError(f"{where} refuses: {error.body or error.reason}") from error
    except (urllib3.exceptions.HTTPError, ConnectionError) as error:
        raise StreamproofError(
            f"{where} cannot be reached: start it (`streamproof up`), or set NIFI_API_ENDPOINT to one that runs; "
            f"STREAMPROOF_TLS_CA names the authority of its certificate ({_cause(error)})"
        ) from error
    except ValueError as error:  # what nipyapi makes of some refusals
        raise StreamproofError(f"{where} refuses: {error}") from error


def _cause(error: Exception) -> str:
    """Return what lies under the layers of an HTTP client's error: ``[Errno 111] Connection refused``."""
    return str(getattr(error, "reason", error)).rpartition(": ")[2]


def _connect(nifi: NifiSettings) -> None:
    """Connect to the first node that is there and belongs to the cluster, or to the last one."""
    *others, last = nifi.endpoints
    for endpoint in others:
        with suppress(ApiException, urllib3.exceptions.HTTPError, ConnectionError, ValueError):
            _connect_to(endpoint, nifi)
            if nipyapi.nifi.FlowApi().get_cluster_summary().cluster_summary.connected_to_cluster:
                return
    _connect_to(last, nifi)


def _connect_to(endpoint: str, nifi: NifiSettings) -> None:
    if nifi.username:
        os.environ |= {
            "NIFI_API_ENDPOINT": endpoint,
            "NIFI_USERNAME": nifi.username,
            "NIFI_PASSWORD": nifi.password.get_secret_value(),
        } | ({"TLS_CA_CERT_PATH": str(nifi.tls.ca)} if nifi.tls.ca else {})
        nipyapi.profiles.switch("env")
    else:
        nipyapi.config.nifi_config.ssl_context = nifi.tls.context()
        nipyapi.config.nifi_config.host = endpoint.rstrip("/")
        nipyapi.security.reset_service_connections()
    nipyapi.nifi.FlowApi().get_flow_config()
