"""A target: where a sink keeps records, together with how far it has read the topics that they come from."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from confluent_kafka import Message

from streamproof.core.errors import StreamproofError

Place = tuple[str, int]
"""A topic and the number of one of its partitions."""

Places = Mapping[Place, int]
"""For partitions of topics, the offset behind the last record that was read."""

Block = TypeVar("Block")
"""What a target makes of a batch of records before it stores them."""


class TargetAwayError(StreamproofError):
    """Raised when a target does not answer, or has no room: what was to be stored is tried again."""


class FencedError(StreamproofError):
    """Raised when another sink has written to the target meanwhile: nothing is stored, and this one must end."""


class Target(Protocol[Block]):
    """Keeps records, and in the same transaction how far they were read: each record is kept exactly once.

    ``encode`` is called in another thread than the other methods, while these store the batch before. Each method
    raises ``StreamproofError`` where it cannot go on; ``TargetAwayError`` says that it can later.
    """

    @property
    def name(self) -> str:
        """What people call it; no secret is in it."""

    def places(self) -> Places:
        """Return how far was read what the target holds; a partition of which it holds nothing is not there.

        A transaction that an earlier sink has left open is over when this returns.
        """

    def encode(self, records: Sequence[Message]) -> Block:
        """Make ready what is to be stored; the records of a partition come in their order."""

    def store(self, block: Block, begins: Places, ends: Places) -> None:
        """Store a batch and the offsets behind it; all of it, or nothing.

        Args:
            block: the batch, as ``encode`` has made it.
            begins: what the target must hold of these partitions; one of which it holds nothing is not there.
            ends: what it is to hold of them.

        Raises:
            FencedError: the target holds other offsets than ``begins``.
            TargetAwayError: it does not answer; ``places`` tells whether the batch was stored.

        """

    def close(self) -> None:
        """Leave the target."""
