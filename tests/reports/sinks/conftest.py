from pathlib import Path

import pytest

from marl.reports.sinks.sink import Facts


@pytest.fixture
def notes() -> list[str]:
    """What sinks have told the user."""
    return []


@pytest.fixture
def facts(tmp_path: Path, notes: list[str]) -> Facts:
    """A run whose folder is the test's own."""
    return Facts(
        folder=tmp_path,
        environment="CartPole-v1",
        algorithm="a3c",
        exchange="weights",
        seed=1,
        settings={"seed": 1, "algorithm": {"name": "a3c"}},
        note=notes.append,
    )
