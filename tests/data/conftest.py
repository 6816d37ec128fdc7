from collections.abc import Iterator

import pytest

from marl.processes.bootstrap import start_forkserver
from marl.processes.group import ProcessGroup


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    """Processes that end with their test."""
    start_forkserver()
    with ProcessGroup() as group:
        yield group
