"""A cluster of one parent and one child, and the loop that serves them."""

from collections.abc import Iterator

import pytest

from marl.links.websocket.loop import IOLoop
from marl.trust.identity import Identity, identity_from_keys
from marl.trust.keys import KeyRing, create_keys


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return create_keys(tmp_path_factory.mktemp("keys") / "cluster.key")[0]


@pytest.fixture(scope="session")
def other_ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return create_keys(tmp_path_factory.mktemp("keys") / "other.key")[0]


@pytest.fixture(scope="session")
def parent(ring: KeyRing) -> Identity:
    return identity_from_keys(ring, "parent", "desk-1")


@pytest.fixture(scope="session")
def child(ring: KeyRing) -> Identity:
    return identity_from_keys(ring, "child", "box-5050")


@pytest.fixture
def io() -> Iterator[IOLoop]:
    with IOLoop() as loop:
        yield loop
    assert loop.loop.is_closed()
