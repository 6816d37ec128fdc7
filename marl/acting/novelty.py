"""A bonus for what was seldom seen, so that rewards are found where random play hardly ever meets one.

Tang et al., "#Exploration: A Study of Count-Based Exploration for Deep Reinforcement Learning" (2017): observations are
hashed, and a step to one whose hash came n times is worth ``scale / sqrt(n)``. Categories and pixels are hashed as they
are, measured numbers by the sides of random planes on which they lie (the paper's SimHash, with planes that need not
pass through the mean).
"""

import numpy as np
import numpy.typing as npt
import torch

from marl.data.layout import leaves
from marl.data.spaces import Spaces, values_of
from marl.data.trajectory import Trajectory

PLANES = 32  # bits of a hash
REACH = 2.0  # how far from the mean planes lie, in deviations
TABLE_BITS = 20  # of the number of cells; hashes that share one share their count
MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads what differs in the lowest bits


class Novelty:
    """Counts what one worker has seen."""

    def __init__(self, spaces: Spaces, scale: float, seed: np.random.SeedSequence) -> None:
        """``scale``: what a step to something new is worth, beside rewards as they are learned from."""
        self._parts, self._scale = spaces.observations, scale
        rng = np.random.default_rng(seed)
        self._hashes = [
            _Planes(part.size, rng) if part.is_measured else _Words(part.size, rng) for part in leaves(self._parts)
        ]
        self._counts = np.zeros(1 << TABLE_BITS, np.uint32)

    def reset(self) -> None:
        """Forget everything."""
        self._counts[:] = 0

    def add(self, trajectory: Trajectory) -> None:
        """Add to each reward what the step led to is worth, in place; ends of episodes and resets are worth nothing."""
        cells = self._cells(trajectory)
        np.add.at(self._counts, cells, 1)
        bonus = torch.from_numpy((self._scale / np.sqrt(self._counts[cells])).astype(np.float32))
        counts = trajectory.valid & ~(trajectory.terminated | trajectory.truncated)
        trajectory.rewards.add_(bonus.view_as(counts) * counts)

    def _cells(self, trajectory: Trajectory) -> npt.NDArray[np.intp]:
        """Of the observations after the first [T B]."""
        mixed = np.zeros(trajectory.rewards.numel(), np.uint64)
        pairs = values_of(self._parts, trajectory.observations)
        for (_, seen), hashed in zip(pairs, self._hashes, strict=True):
            mixed = (mixed ^ (mixed >> np.uint64(31))) * MIX + hashed(seen[1:].flatten(0, 1).numpy())
        return ((mixed ^ (mixed >> np.uint64(31))) * MIX >> np.uint64(64 - TABLE_BITS)).astype(np.intp)


class _Planes:
    """Hashes of measured numbers, which are meant to be normalised."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self._directions = (rng.standard_normal((size, PLANES)) / np.sqrt(size)).astype(np.float32)
        self._offsets = rng.uniform(-REACH, REACH, PLANES).astype(np.float32)
        self._bits = np.uint64(1) << np.arange(PLANES, dtype=np.uint64)

    def __call__(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
        sides: npt.NDArray[np.uint64] = (rows @ self._directions > self._offsets).astype(np.uint64)
        return sides @ self._bits


class _Words:
    """Hashes of categories and pixels: sums of odd multiples."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self._factors = rng.integers(0, 1 << 63, size, np.uint64) * np.uint64(2) + np.uint64(1)

    def __call__(self, rows: npt.NDArray[np.int32] | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
        return (rows.astype(np.uint64) + np.uint64(1)) @ self._factors
