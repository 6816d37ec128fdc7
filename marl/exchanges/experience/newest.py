"""The learner's newest weights for all children: each version is read once and hashed once."""

import threading
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from marl.data.node.trajectory_queue import Published
from marl.wire.arrays import digest_of
from marl.wire.message import Array


class Weights(NamedTuple):
    """What children receive."""

    version: int
    arrays: dict[str, Array]  # "weights" [N], and "normalizer" where there is one
    digest: bytes

    def flat(self) -> Tensor:
        """The weights alone [N]."""
        weights = self.arrays["weights"]
        assert isinstance(weights, Tensor)
        return weights


class Newest:
    """Serves many conversations: one of them reads a version, the others get the same object."""

    def __init__(self, published: Published, num_weights: int, statistics: Callable[[], Tensor | None]) -> None:
        """``statistics``: returns a copy of the normaliser's, to be sent with the weights; None if there are none."""
        self._published, self._num_weights, self._statistics = published, num_weights, statistics
        self._reading = threading.Lock()  # guards _latest
        self._latest: Weights | None = None

    @property
    def num_bytes(self) -> int:
        """Length of the weights."""
        return 4 * self._num_weights

    def version(self) -> int:
        """The version that ``read`` would give."""
        return self._published.version()

    def read(self) -> Weights:
        """The newest weights. Do not change them: others use the same object."""
        with self._reading:
            if self._latest is None or self._latest.version != self._published.version():
                weights = torch.empty(self._num_weights)
                version = self._published.read(weights)
                statistics = self._statistics()
                arrays: dict[str, Array] = {} if statistics is None else {"normalizer": statistics}
                arrays["weights"] = weights
                self._latest = Weights(version, arrays, digest_of(arrays))
            return self._latest
