"""How many threads torch computes with in this process."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread meanwhile, in this thread and in those that start meanwhile.

    Decompositions and sums of large tensors round otherwise with two threads than with one: what must have the
    same bits on every machine, such as the initial weights, is computed with one, whatever the user's program has set.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
