import pytest

from marl.processes.bootstrap import start_forkserver


@pytest.fixture(scope="session", autouse=True)
def _forkserver() -> None:
    """One for all tests: a process that loads torch by itself takes seconds."""
    start_forkserver()
