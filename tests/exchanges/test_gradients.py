"""N children that share gradients learn what one that has all their environments would."""

import pytest
import torch
from torch import Tensor, nn

from marl.algorithms.a3c import A3C
from marl.algorithms.base import Algorithm, Moment
from marl.algorithms.impala import IMPALA
from marl.algorithms.ppo import PPO
from marl.algorithms.ppo_minibatch import Minibatch
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.exchanges.gradients.memory import rounds_of
from tests.algorithms.cases import BOX, DISCRETE, random_batch
from tests.algorithms.literal_ppo import literal_loss
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
    until = rounds_of(fleet.algorithm) * len(next(iter(given.values())))
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

    def step(self) -> None:
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        norm = torch.cat([each.flatten() for each in gradients]).norm()
        shorten = min(1.0, self._algorithm.max_gradient_norm / float(norm))
        self.count += 1
        with torch.no_grad():
            for each, gradient, m, v in zip(self._parameters, gradients, self._m, self._v, strict=True):
                m.mul_(0.9).add_(0.1 * shorten * gradient)
                v.mul_(0.999).add_(0.001 * (shorten * gradient) ** 2)
                mean, square = m / (1 - 0.9**self.count), v / (1 - 0.999**self.count)
                each.sub_(self._algorithm.learning_rate * mean / (square.sqrt() + 1e-5))
                each.grad = None


def union(parts: list[Minibatch]) -> Minibatch:
    """One minibatch of the transitions of all."""
    return Minibatch._make([*(torch.cat(each) for each in list(zip(*parts, strict=True))[:6]), *parts[0][6:]])


@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_ppo_learns_what_one_node_would(spaces: Spaces, fleets: list[Fleet]) -> None:
    """52 updates, against the paper's formulas over the transitions of all shards, one at a time, in float64."""
    algorithm = PPO(
        t_max=T, epochs=2, num_minibatches=2, entropy_cost=0.05, value_cost=0.7, learning_rate=1e-3, discount=0.9
    )
    fleet = Fleet(spaces, algorithm, [2, 1], B)
    fleets.append(fleet)
    given = played(spaces, fleet.network(), 13)
    learn(fleet, given)

    literal = fleet.network().double()
    adam = LiteralAdam(literal, algorithm)
    generators = {shard: torch.Generator().manual_seed(fleet.seed_of(*shard)) for shard in given}
    for number in range(13):
        parts = [
            list(algorithm.minibatches(literal, double(given[shard][number]), Moment(0.0, generators[shard])))
            for shard in given
        ]
        for together in zip(*parts, strict=True):
            total, _ = literal_loss(literal, union(list(together)), spaces.discrete, 0.0, True)  # type: ignore[arg-type]
            total.backward()
            adam.step()
    assert adam.count == 52
    expected = torch.cat([each.detach().flatten() for each in literal.parameters()])
    torch.testing.assert_close(fleet.weights().double(), expected, rtol=0, atol=1e-5)
    start = torch.cat([each.detach().flatten() for each in fleet.network().parameters()])
    assert float((fleet.weights() - start).abs().max()) > 1e-2
    fleet.demand_the_same_bits()


@pytest.mark.parametrize("algorithm", [A3C(t_max=T), IMPALA(t_max=T)], ids=["a3c", "impala"])
def test_what_learns_once_from_each_trajectory(algorithm: Algorithm, fleets: list[Fleet]) -> None:
    """The mean over the transitions of all; its ratios keep impala in float32."""
    fleet = Fleet(DISCRETE, algorithm, [2, 1], B)
    fleets.append(fleet)
    given = played(DISCRETE, fleet.network(), 50)
    learn(fleet, given)

    precise = isinstance(algorithm, A3C)
    literal = fleet.network().double() if precise else fleet.network()
    adam = LiteralAdam(literal, algorithm)
    for number in range(50):
        now = [double(given[shard][number]) if precise else given[shard][number] for shard in given]
        count = sum(int(each.valid.sum()) for each in now)
        total = sum(algorithm.loss(literal, each).total * (int(each.valid.sum()) / count) for each in now)
        total.backward()  # type: ignore[union-attr]
        adam.step()
    expected = torch.cat([each.detach().flatten() for each in literal.parameters()])
    torch.testing.assert_close(fleet.weights().double(), expected.double(), rtol=0, atol=1e-5)
    fleet.demand_the_same_bits()
