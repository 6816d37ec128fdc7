"""What tests of exchanges share."""

from collections.abc import Iterator

import pytest

from tests.exchanges.nodes import Clock
from tests.exchanges.shards import Fleet


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleets() -> Iterator[list[Fleet]]:
    """Those that a test adds are ended with it."""
    made: list[Fleet] = []
    yield made
    for each in made:
        each.close()
