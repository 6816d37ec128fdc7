"""What the workers of one machine share, by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marl.data.layout import Leaf, Tree
from marl.data.normalizer import num_columns
from marl.data.ring import Ring
from marl.data.shared import SharedBlock

NUM_VECTORS = 2  # of optimizer state: the most that any optimizer keeps
RING_ROWS = 16_384
STEPS, UPDATES, SKIPPED, OUTSIDE = range(4)  # columns of "counters"
MAX_METRICS, MAX_NAME = 32, 48  # metrics of a worker, letters of each name
MAX_OUTSIDE = 512  # bytes of the words about an observation outside its space
ACTING, STEPPING, LEARNING, FIRST_UPDATE, BUSY = range(5)  # columns of "seconds"; BUSY only with clock.virtual


def node_memory(
    *,
    num_weights: int,
    num_parameters: int,
    observation_size: int,
    workers: int,
    more: Mapping[str, Tree] | None = None,
) -> SharedBlock:
    """One block for a node of ``workers`` workers. Row 0 of the statistics has those from before this run, or
    those that the parent sent.

    Args:
        more: what this run needs besides, such as a replay.
    """
    return SharedBlock(
        {
            "weights": Leaf((num_weights,), torch.float32),
            "optimizer": Leaf((NUM_VECTORS, num_parameters), torch.float32),
            "optimizer_steps": Leaf((1,), torch.float32),
            "observations": Leaf((1 + workers, num_columns(observation_size)), torch.float64),
            "rewards": Leaf((1 + workers, num_columns(1)), torch.float64),
            "stop": Leaf((1,), torch.uint8),
            "version": Leaf((1,), torch.int64),
            "base_steps": Leaf((1,), torch.int64),
            "began": Leaf((1,), torch.float64),  # time.monotonic() at second 0 of training, over all resumes
            # From here on each worker writes its own row, a cache line apart.
            "counters": Leaf((workers, 8), torch.int64),
            "seconds": Leaf((workers, 8), torch.float64),
            "metrics": Leaf((workers, MAX_METRICS), torch.float64),
            "metric_names": Leaf((workers, MAX_METRICS, MAX_NAME), torch.uint8),
            "first_outside": Leaf((workers, MAX_OUTSIDE), torch.uint8),
            "ring_count": Leaf((workers, 8), torch.int64),
            "ring_rows": Leaf((workers, RING_ROWS, 2), torch.float64),
            **(more or {}),
        }
    )


def array(block: SharedBlock, name: str) -> npt.NDArray[Any]:
    """A tensor of the block as numpy sees it."""
    return block[name].numpy()


def ring(block: SharedBlock, worker: int) -> Ring:
    """Worker's ring of (return, length) rows."""
    rows: npt.NDArray[np.float64] = block["ring_rows"][worker].numpy()
    return Ring(rows, block["ring_count"][worker].numpy())


def finished_episodes(block: SharedBlock) -> npt.NDArray[np.int64]:
    """How many episodes each worker has finished [M]."""
    counts: npt.NDArray[np.int64] = block["ring_count"][:, 0].numpy().copy()
    return counts
