"""The nodes of a NiFi cluster, and which of them is the primary one, whose source reads."""

import nipyapi

from nifi_templates.connection import nifi_connection
from streamproof.core.errors import StreamproofError
from streamproof.core.settings import NifiSettings

_PRIMARY = "Primary Node"


def primary_node(nifi: NifiSettings | None = None) -> int:
    """Return which of ``nifi.endpoints`` is the primary node; 0 where there is only one.

    Raises:
        StreamproofError: NiFi is away, or has none at the moment.

    """
    nifi = nifi or NifiSettings()
    if len(nifi.endpoints) == 1:
        return 0
    with nifi_connection(nifi):
        nodes = nipyapi.nifi.ControllerApi().get_cluster().cluster.nodes
    for node in nodes:
        if _PRIMARY in (node.roles or []):
            return next(place for place, each in enumerate(nifi.endpoints) if f":{node.api_port}/" in each)
    raise StreamproofError(f"NiFi at {nifi.api_endpoint} has no primary node at the moment: see `streamproof status`")


def nodes_away(nifi: NifiSettings) -> int:
    """Return how many nodes do not belong to the cluster at the moment, within ``nifi_connection``."""
    summary = nipyapi.nifi.FlowApi().get_cluster_summary().cluster_summary
    if not summary.clustered:
        return 0
    return int(max(len(nifi.endpoints), summary.total_node_count) - summary.connected_node_count)
