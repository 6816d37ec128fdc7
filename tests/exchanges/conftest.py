"""Seconds for every test of an exchange."""

import pytest

from tests.exchanges.nodes import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
