"""What every algorithm is: a network to build and a loss to minimise."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.networks.settings import NetworkSettings


class Loss(NamedTuple):
    """A scalar to minimise, and numbers for people."""

    total: Tensor
    metrics: dict[str, Tensor]


class Algorithm(Protocol):
    """A frozen dataclass of numbers, used so::

    network = algorithm.build_network(spaces, settings, seed)
    for batch in algorithm.minibatches(collect()):
        hogwild_step(..., algorithm.loss(network, batch))
    """

    @property
    def t_max(self) -> int:
        """Steps of a trajectory."""

    @property
    def discount(self) -> float:
        """Worth of a reward one step later."""

    @property
    def max_gradient_norm(self) -> float:
        """Longer gradients are cut to this length."""

    def learning_rate_at(self, progress: float) -> float:
        """Learning rate when ``progress`` (0 to 1) of the run is done."""

    def build_network(self, spaces: Spaces, settings: NetworkSettings, seed: int) -> nn.Module:
        """A network that fits the spaces."""

    def minibatches(self, trajectory: Trajectory) -> Iterator[Trajectory]:
        """The batches that one trajectory is learned from."""

    def loss(self, network: nn.Module, batch: Trajectory) -> Loss:
        """The loss of one batch."""
