"""The drills' own stream on the shared servers, deployed once."""

from collections.abc import Iterator

import pytest

from streamproof.core.settings import HomeSettings
from streamproof.drills.drill import DrilledChain, drilled_chain
from streamproof.stack.servers import Stack


@pytest.fixture(scope="module")
def drilled(servers) -> Iterator[DrilledChain]:
    assert servers.home == HomeSettings()  # a drill never strikes another stack
    with drilled_chain(Stack.from_environment()) as chain:
        yield chain
