"""N children that share gradients learn what one that has all their environments would."""

import threading
from collections.abc import Iterator
from dataclasses import replace

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
from tests.commands import PATIENCE_S
from tests.exchanges.shards import Fleet

T, B = 5, 2
SHARDS = [("child0", 0), ("child0", 1), ("child1", 0)]  # two workers and one


@pytest.fixture
def fleets() -> Iterator[list[Fleet]]:
    made: list[Fleet] = []
    yield made
    for each in made:
        each.close()


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


def some(fleet: Fleet, seed: int) -> list[Trajectory]:
    """Trajectories for one worker."""
    with torch.no_grad():
        batches = [random_batch(DISCRETE, 10 * seed + each, T, B) for each in range(4)]
        policy = fleet.network().policy
        return [each._replace(behaviour=policy(each.observations[:-1])) for each in batches]  # type: ignore[operator]


SMALL = PPO(t_max=T, epochs=2, num_minibatches=2)
ROUNDS = 6  # of each trajectory: 4 minibatches, 2 times the moments of advantages


@pytest.fixture
def fleet(fleets: list[Fleet]) -> Fleet:
    """Two children of one worker; none is connected."""
    fleets.append(Fleet(DISCRETE, SMALL, [1, 1], B))
    return fleets[0]


def test_a_child_that_joins_late_begins_with_the_others_next_trajectory(fleet: Fleet) -> None:
    """It takes over weights and optimizer, and from then on all have the same bits."""
    first, second = fleet.nodes
    first.connect()
    fleet.wait(first.learn(0, some(fleet, 0), 3 * ROUNDS))
    assert fleet.parent.current.version == 3 * ROUNDS
    second.connect()
    fleet.wait(first.learn(0, some(fleet, 5), 7 * ROUNDS), second.learn(0, some(fleet, 7), 7 * ROUNDS))
    assert fleet.parent.current.version == 7 * ROUNDS
    fleet.demand_the_same_bits()


def test_a_child_that_joins_while_others_learn_waits_for_their_next_trajectory(fleet: Fleet) -> None:
    first, second = fleet.nodes
    first.connect()
    joins = threading.Event()

    def between(played: int) -> None:
        if played == 3:
            joins.set()

    learning = first.learn(0, some(fleet, 0), 12 * ROUNDS, between)
    assert joins.wait(PATIENCE_S)
    second.connect()
    fleet.wait(learning, second.learn(0, some(fleet, 7), 12 * ROUNDS))
    assert fleet.parent.current.version == 12 * ROUNDS
    fleet.demand_the_same_bits()


def test_a_child_that_goes_is_not_waited_for_and_may_come_back(fleet: Fleet) -> None:
    first, second = fleet.nodes
    for node in fleet.nodes:
        node.connect()
    fleet.wait(*[node.learn(0, some(fleet, rank), 2 * ROUNDS) for rank, node in enumerate(fleet.nodes)])
    second.disconnect()
    fleet.wait(first.learn(0, some(fleet, 5), 5 * ROUNDS))
    assert fleet.parent.current.version == 5 * ROUNDS
    second.connect()
    fleet.wait(*[node.learn(0, some(fleet, rank), 7 * ROUNDS) for rank, node in enumerate(fleet.nodes)])
    fleet.demand_the_same_bits()


def test_a_child_that_is_late_misses_rounds(fleet: Fleet) -> None:
    """The others wait for a while only; it takes part in one of their next trajectories."""
    first, second = fleet.nodes
    for node in fleet.nodes:
        node.connect()
    rests, goes_on, alone, again = (threading.Event() for _ in range(4))

    def stands(played: int) -> None:
        if played == 2:
            rests.set()
            assert goes_on.wait(PATIENCE_S)
        if played == 6:
            again.set()

    def watched(played: int) -> None:
        if played == 4:  # two of them without the other
            alone.set()

    for node, between in ((second, stands), (first, watched)):
        node.learn(0, some(fleet, 0), 10**6, between)
    assert rests.wait(PATIENCE_S)
    while not alone.wait(0.01):  # time passes for the parent
        fleet.clock.now += 1.0
    goes_on.set()
    assert again.wait(PATIENCE_S)
    fleet.close()
    assert second.side.version > 4 * ROUNDS
    for node in fleet.nodes:
        assert torch.equal(node.block["weights"], fleet.parent.versions[node.side.version])
    assert not fleet.notes
    assert not fleet.errors


def test_a_worker_that_died_takes_part_again_with_the_next_trajectory(fleets: list[Fleet]) -> None:
    fleets.append(fleet := Fleet(DISCRETE, SMALL, [2], B))
    (node,) = fleet.nodes
    node.connect()
    fleet.wait(*[node.learn(worker, some(fleet, worker), 3 * ROUNDS) for worker in range(2)])
    lives = node.learn(0, some(fleet, 0), 12 * ROUNDS)  # without the other, which it would wait for if it lived
    fleet.wait(lives, node.learn(1, some(fleet, 3), 12 * ROUNDS))
    assert fleet.parent.current.version == 12 * ROUNDS
    fleet.demand_the_same_bits()


def test_a_parent_that_is_resumed_goes_on_with_the_same_bits(fleets: list[Fleet]) -> None:
    """As if it had never stopped: its children give up what they have."""
    ways = []
    for resumes in (False, True):
        fleets.append(fleet := Fleet(DISCRETE, SMALL, [1, 1], B))
        for part in (0, 1):
            if part and resumes:
                saved, old = fleet.parent.saved(), fleet.parent
                for node in fleet.nodes:
                    node.disconnect()
                fleet.parent = fleet.make_parent(
                    version=saved.current.version, steps=saved.current.steps, term=1, weights=saved.current.weights
                )
                fleet.parent.restore(saved.optimizer, saved.merged, saved.limits)
                for rank, node in enumerate(fleet.nodes):
                    fleet.parent.assign_rank(node.name, rank, 1)
                    node.block["weights"].zero_()
                old.close()
            if not part or resumes:
                for node in fleet.nodes:
                    node.connect()
            fleet.wait(
                *[
                    node.learn(0, some(fleet, 10 * part + rank), (3 + 3 * part) * ROUNDS)
                    for rank, node in enumerate(fleet.nodes)
                ]
            )
        fleet.demand_the_same_bits()
        ways.append(fleet.weights())
    assert torch.equal(*ways)


def test_children_stop_together_where_the_policy_has_moved_enough(fleets: list[Fleet]) -> None:
    """All decide by the divergence over the transitions of all: epochs end in none of them before the others."""
    algorithm = replace(SMALL, epochs=9, kl_stop=1e-4, learning_rate=1e-2)
    fleets.append(fleet := Fleet(DISCRETE, algorithm, [1, 1], B))
    for node in fleet.nodes:
        node.connect()
    until = 3 * rounds_of(algorithm)
    fleet.wait(*[node.learn(0, some(fleet, rank), until) for rank, node in enumerate(fleet.nodes)])
    fleet.demand_the_same_bits()
    steps = int(fleet.parent.saved().optimizer["optimizer_steps"])
    assert 6 <= steps < 3 * 18
