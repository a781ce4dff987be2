"""Who may do what with Kafka's topics: rights that are given as topics are made, where the brokers ask who comes."""

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from streamproof.core.errors import StreamproofError
from streamproof.core.settings import KafkaSettings

_TIMEOUT_S = 20
_NOT_OURS_TO_GIVE = {KafkaError.SECURITY_DISABLED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
"""The brokers ask nobody, or whoever runs them gives the rights."""

EVERY = "*"
"""Stands for every name."""


class Right(NamedTuple):
    """What a principal may do with a topic, a consumer group or a transactional id.

    Attributes:
        kind: ``topic``, ``group`` or ``transactional_id``.
        name: its name, or where ``is_prefix`` what its name begins with.
        operations: Kafka's own words, like ``read``.

    """

    kind: str
    name: str
    operations: tuple[str, ...]
    is_prefix: bool = False


def allow(kafka: KafkaSettings, principal: str, rights: Iterable[Right]) -> None:
    """Give a principal rights; nothing happens where Kafka is asked without a certificate, or has others to give them.

    Raises:
        StreamproofError: Kafka cannot be reached.

    """
    if kafka.tls.cert is None:
        return
    bindings = [
        AclBinding(
            ResourceType[right.kind.upper()],
            right.name,
            ResourcePatternType.PREFIXED if right.is_prefix else ResourcePatternType.LITERAL,
            f"User:{principal}",
            "*",
            AclOperation[operation.upper()],
            AclPermissionType.ALLOW,
        )
        for right in rights
        for operation in right.operations
    ]
    admin = AdminClient(kafka.client)
    for given in admin.create_acls(bindings, request_timeout=_TIMEOUT_S).values():
        try:
            given.result()
        except KafkaException as error:
            if error.args[0].code() not in _NOT_OURS_TO_GIVE:
                raise StreamproofError(
                    f"Kafka at {kafka.servers}: the rights of {principal} cannot be given: {error.args[0].str()}"
                ) from error
