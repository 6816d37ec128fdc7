"""What sharing gradients must compute: trajectories of all workers, Adam and minibatches, written out in float64."""

import torch
from torch import Tensor, nn

from marl.algorithms.base import Algorithm
from marl.algorithms.ppo_minibatch import Minibatch
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.exchanges.gradients.memory import rounds_of
from tests.algorithms.cases import random_batch
from tests.exchanges.shards import Fleet

T, B = 5, 2
SHARDS = [("child0", 0), ("child0", 1), ("child1", 0)]  # two workers and one


def played(spaces: Spaces, network: nn.Module, count: int) -> dict[tuple[str, int], list[Trajectory]]:
    """Trajectories of every shard; they have different numbers of transitions."""
    found: dict[tuple[str, int], list[Trajectory]] = {}
    with torch.no_grad():
        for number, shard in enumerate(SHARDS):
            batches = [random_batch(spaces, 100 * number + each, T, B) for each in range(count)]
            found[shard] = [
                each._replace(behaviour=network.policy(each.observations[:-1]))
                for each in batches  # type: ignore[operator]
            ]
    return found


def learn(fleet: Fleet, given: dict[tuple[str, int], list[Trajectory]]) -> None:
    """All shards, from all their trajectories."""
    nodes = {node.name: node for node in fleet.nodes}
    for node in fleet.nodes:
        node.connect()
    until = rounds_of(fleet.run) * len(next(iter(given.values())))
    fleet.wait(*[nodes[name].learn(worker, trajectories, until) for (name, worker), trajectories in given.items()])


def double(trajectory: Trajectory) -> Trajectory:
    return Trajectory._make(
        each.double() if isinstance(each, Tensor) and each.is_floating_point() else each for each in trajectory
    )


class LiteralAdam:
    """Kingma and Ba, algorithm 1, in float64; gradients are clipped to ``max_norm``."""

    def __init__(self, network: nn.Module, algorithm: Algorithm) -> None:
        self._parameters, self._algorithm = list(network.parameters()), algorithm
        self._m = [torch.zeros_like(each) for each in self._parameters]
        self._v = [torch.zeros_like(each) for each in self._parameters]
        self.count = 0

    def step(self, learns: nn.Module) -> None:
        """With the gradient of this network, which may have other weights."""
        gradients = [each.grad for each in learns.parameters() if each.grad is not None]
        norm = torch.cat([each.flatten() for each in gradients]).norm()
        shorten = min(1.0, self._algorithm.max_gradient_norm / float(norm))
        self.count += 1
        with torch.no_grad():
            for each, gradient, m, v in zip(self._parameters, gradients, self._m, self._v, strict=True):
                m.mul_(0.9).add_(0.1 * shorten * gradient)
                v.mul_(0.999).add_(0.001 * (shorten * gradient) ** 2)
                mean, square = m / (1 - 0.9**self.count), v / (1 - 0.999**self.count)
                each.sub_(self._algorithm.learning_rate * mean / (square.sqrt() + 1e-5))
        learns.zero_grad()


def union(parts: list[Minibatch]) -> Minibatch:
    """One minibatch of the transitions of all."""
    return Minibatch._make([*(torch.cat(each) for each in list(zip(*parts, strict=True))[:6]), *parts[0][6:]])


def vector_of(network: nn.Module) -> Tensor:
    """All weights [P], one after another."""
    return torch.cat([each.detach().flatten() for each in network.parameters()])
