"""A secured stack: its certificates, and who may do what with its servers."""

import os
from collections.abc import Collection

from streamproof.core.command import console
from streamproof.core.errors import UsageError
from streamproof.core.kafka_rights import EVERY, Right, allow
from streamproof.core.settings import HomeSettings, KafkaSettings, NifiSettings
from streamproof.stack.authority import HEALTH, OBSERVER, OPERATOR, Authority, Edge


def named_edge(text: str) -> Edge:
    """Return the edge that ``NAME=STREAM/CATEGORY,…`` names.

    Raises:
        UsageError: it is not written so.

    """
    name, _, categories = text.partition("=")
    found = tuple(category.strip() for category in categories.split(",") if category.strip())
    if not name or not found:
        raise UsageError(f"--edge {text}: write NAME=STREAM/CATEGORY, like books=ratings/Books")
    return Edge(name.strip(), found)


def secure(edges: Collection[Edge]) -> None:
    """Make the certificates that are missing or end soon; this process, and what it starts, are the operator from now.

    Raises:
        UsageError: the authority cannot sign, or an edge cannot have that name or category.

    """
    authority = Authority(HomeSettings().home / "tls")
    if made := authority.renew(edges):
        console.print(f"new certificates in {authority.folder}: {', '.join(made)}", markup=False, soft_wrap=True)
    os.environ |= authority.environment(OPERATOR)
    lines = "".join(f"{name}={value}\n" for name, value in authority.environment(OPERATOR).items())
    console.print(
        f"the servers let in who shows a certificate; for the other commands write into .env:\n{lines}",
        markup=False,
        soft_wrap=True,
        end="",
    )


def give_rights() -> None:
    """Give the operator and the observer their rights in NiFi, and in Kafka the observer and the health check theirs.

    Raises:
        StreamproofError: a server does not answer, or refuses.

    """
    from nipyapi import security

    from nifi_templates.connection import nifi_connection

    looking_on = [Right("topic", EVERY, ("read", "describe")), Right("group", EVERY, ("describe",))]
    allow(KafkaSettings(), OBSERVER, looking_on)
    allow(KafkaSettings(), HEALTH, [Right("topic", EVERY, ("describe",))])  # a broker is healthy when all is in sync
    with nifi_connection(NifiSettings()):
        # NiFi gives the first administrator no right on a flow that it has not made yet.
        security.bootstrap_security_policies("nifi", user_identity=security.get_service_user(OPERATOR))
        looking = security.get_access_policy_for_resource("flow", "read", auto_create=True)
        security.add_user_to_access_policy(security.get_service_user(OBSERVER), looking, strict=False)
