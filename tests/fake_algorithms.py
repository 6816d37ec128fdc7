"""A network whose answer is known, and algorithms that learn nothing, by ``tests.fake_algorithms:name``."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from marl.algorithms.a3c import A3C
from marl.algorithms.base import Algorithm, Loss
from marl.data.spaces import Spaces
from marl.networks.contract import Stateless
from marl.networks.distributions import ActionRule
from marl.networks.settings import NetworkSettings

Array = npt.NDArray[Any]


class FixedPolicy(Stateless):
    """A network that always answers with the same logits, and checks all it is given.

    ``seen`` keeps every batch of observations, so that a test can read what acting showed to the network.
    """

    def __init__(self, distribution: ActionRule, parameters: list[float], size: int) -> None:
        if len(parameters) != distribution.num_parameters:
            raise ValueError(f"expected {distribution.num_parameters} parameters, got {len(parameters)}")
        super().__init__()
        self.distribution = distribution
        self._said = torch.tensor(parameters)
        self._size = size
        self.seen: list[Array] = []

    def policy(self, observations: Tensor) -> Tensor:
        if observations.dtype not in (torch.float32, torch.uint8):
            raise TypeError(f"expected observations of float32 or uint8, got {observations.dtype}")
        if observations.ndim != 2 or observations.shape[1] != self._size:
            raise ValueError(f"expected observations [B, {self._size}], got {tuple(observations.shape)}")
        if not torch.is_inference_mode_enabled():
            raise RuntimeError("acting must not record gradients")
        self.seen.append(observations.numpy().copy())
        return self._said.repeat(len(observations), 1)


@dataclass(frozen=True)
class Lazy(Algorithm):
    """An algorithm of a user's own, with a number of its own; it learns nothing."""

    name: str = "tests.fake_algorithms:Lazy"
    patience: int = 1

    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> Any:
        raise AssertionError("never asked")

    def loss(self, network: nn.Module, batch: Any) -> Loss:
        raise AssertionError("never asked")


@dataclass(frozen=True)
class Careful(Lazy):
    """A number that may be none at all, though by default it is one."""

    name: str = "tests.fake_algorithms:Careful"
    bound: float | None = 0.2


@dataclass(frozen=True)
class Unknown(Lazy):
    """It does not say how many minibatches it makes of a trajectory."""

    name: str = "tests.fake_algorithms:Unknown"

    def minibatches(self, *given: Any) -> Iterator[Any]:
        raise AssertionError("never asked")


@dataclass(frozen=True)
class OwnLoss(A3C):
    """A3C with a loss of a user's own."""

    name: str = "tests.fake_algorithms:OwnLoss"

    def loss(self, network: nn.Module, batch: Any) -> Loss:
        raise AssertionError("never asked")
