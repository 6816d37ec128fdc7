"""Two clusters that know nothing of each other."""

from pathlib import Path

import pytest

from marl.trust.identity import Identity, identity_from_keys
from marl.trust.keys import KeyRing, create_keys
from marl.trust.nodes import NodeBook
from tests.trust.company import Company


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return create_keys(tmp_path / "cluster.key")[0]


@pytest.fixture
def other_ring(tmp_path: Path) -> KeyRing:
    return create_keys(tmp_path / "other.key")[0]


@pytest.fixture
def parent(ring: KeyRing) -> Identity:
    return identity_from_keys(ring, "parent", "desk-1")


@pytest.fixture
def child(ring: KeyRing) -> Identity:
    return identity_from_keys(ring, "child", "box-5050")


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


@pytest.fixture
def book(tmp_path: Path) -> NodeBook:
    return NodeBook(tmp_path / "nodes")
