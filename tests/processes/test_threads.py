"""How many threads torch computes with."""

import threading
from collections.abc import Iterator

import pytest
import torch

from marl.processes.threads import one_thread


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_meanwhile_and_as_before_afterwards() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_threads_that_start_meanwhile_compute_with_one() -> None:
    """A parent merges in a thread for each child."""
    seen: list[int] = []

    def compute() -> None:
        torch.ones(2).sum()
        seen.append(torch.get_num_threads())

    with one_thread():
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
    assert seen == [1]
