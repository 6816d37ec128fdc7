"""N children that share gradients learn from samples of their replays what one learner would from all samples."""

import copy
import math
import random
from collections.abc import Iterator
from itertools import groupby

import pytest
import torch
from torch import Tensor, nn

from marl.algorithms.apex_dqn import ApexDQN
from marl.algorithms.base import Algorithm, Moment
from marl.algorithms.sac import SAC
from marl.data.replay.transitions import Sampled, Transitions
from marl.data.settings import ReplaySettings
from marl.data.spaces import Spaces
from marl.data.trajectory import Trajectory
from marl.exchanges.gradients.memory import rounds_of
from marl.exchanges.gradients.samples import ShardedSamples
from marl.exchanges.gradients.settings import DELAYED, EXACT
from marl.training.minibatches import ReplayRatioLimiter
from tests.algorithms.cases import BOX, DISCRETE, random_batch
from tests.algorithms.test_apex_dqn import literal_loss
from tests.algorithms.test_sac import literal_losses
from tests.exchanges.literal_gradients import LiteralAdam, vector_of
from tests.exchanges.recorded_samples import Drawn
from tests.exchanges.shards import Fleet, Node
from tests.exchanges.test_gradients_asynchronous import AsynchronousFleet

T, B, BATCH = 5, 2, 6
REPLAY = ReplaySettings(ratio=3.0, capacity=120, start=25, batch_size=BATCH, beta=0.7)
APEX = ApexDQN(t_max=T, n_step=2, target_period=7, discount=0.9)
SOFT = SAC(t_max=T, n_step=2, target_rate=0.1, discount=0.9, temperature=0.3)


def played(fleet: Fleet, seed: int, count: int = 30) -> list[Trajectory]:
    """Trajectories of one worker; they have different numbers of transitions, and the priorities differ."""
    batches = [random_batch(fleet.spaces, 1000 * seed + each, T, B) for each in range(count)]
    if fleet.spaces.discrete:
        return [each._replace(rewards=2 * each.rewards.exp()) for each in batches]
    return [each._replace(actions=each.actions.tanh()) for each in batches]


def learn(fleet: Fleet, trajectories: int) -> None:
    """All workers, from as many each."""
    for node in fleet.nodes:
        node.connect()
    places = [(node, worker) for node in fleet.nodes for worker in range(node.workers)]
    fleet.wait(
        *[
            node.learn(worker, played(fleet, seed), trajectories * rounds_of(fleet.run))
            for seed, (node, worker) in enumerate(places)
        ]
    )


def rounds(nodes: list[Node]) -> Iterator[list[Drawn]]:
    """The samples of each minibatch, in the order of children and workers."""
    drawn = sorted((each for node in nodes for each in node.drawn), key=lambda each: (each.round, each.place))
    for _, parts in groupby(drawn, key=lambda each: each.round):
        yield list(parts)


def union(parts: list[Drawn]) -> Sampled:
    """One sample of the transitions of all. Their importance weights are divided by the largest of them all."""
    weights = torch.cat([part.batch.weights.double() * part.batch.largest for part in parts])
    columns = zip(*[part.batch.transitions for part in parts], strict=True)
    return Sampled(Transitions._make(torch.cat(each) for each in columns), weights / weights.max())


class LiteralApex:
    """Losses and targets by their formulas, one transition at a time, in float64."""

    def __init__(self, network: nn.Module) -> None:
        self.online, self.past = dict(network.online.named_parameters()), dict(network.past.named_buffers())  # type: ignore[union-attr]

    def loss(self, unused_parts: list[Drawn], batch: Sampled) -> tuple[Tensor, list[float]]:
        return literal_loss(self.online, self.past, batch, double=True, dueling=True, huber=1.0)

    def settle(self, updates: int) -> None:
        if updates % APEX.target_period == 0:
            for name, each in self.past.items():
                each.copy_(self.online[name].detach())


class LiteralSAC:
    """The same of SAC."""

    def __init__(self, network: nn.Module) -> None:
        self._distribution = network.distribution
        self.critics, self.past, self.actor = (
            dict([*getattr(network, part).named_parameters(), *getattr(network, part).named_buffers()])
            for part in ("critics", "past", "actor")
        )
        self._log_temperature = network.temperature.log  # type: ignore[union-attr]

    def loss(self, parts: list[Drawn], batch: Sampled) -> tuple[Tensor, list[float]]:
        noises = []
        for part in parts:
            generator = torch.Generator()
            generator.set_state(part.noise)
            noises.append(torch.stack([self._distribution.noise((BATCH,), generator).double() for _ in range(2)]))  # type: ignore[operator, union-attr]
        losses = literal_losses(self.critics, self.past, self.actor, self._log_temperature, batch, torch.cat(noises, 1))
        return sum(losses.values()), []  # type: ignore[return-value]

    def settle(self, unused_updates: int) -> None:
        for name, each in self.past.items():
            each.mul_(1 - SOFT.target_rate).add_(SOFT.target_rate * self.critics[name].detach())


@pytest.mark.parametrize("form", [EXACT, DELAYED])
@pytest.mark.parametrize(
    ("spaces", "algorithm", "kind"), [(DISCRETE, APEX, LiteralApex), (BOX, SOFT, LiteralSAC)], ids=["apex_dqn", "sac"]
)
def test_all_learn_what_one_learner_would(
    spaces: Spaces, algorithm: Algorithm, kind: type[LiteralApex | LiteralSAC], form: str, fleets: list[Fleet]
) -> None:
    """30 updates and more, by the samples of three workers of two children, one of which begins later."""
    fleets.append(fleet := Fleet(spaces, algorithm, [2, 1], B, REPLAY, form=form))
    learn(fleet, 10)
    newest = fleet.network().double()
    learns, adam, last = newest, LiteralAdam(newest, algorithm), -1
    sizes, largest = set(), set()
    for parts in rounds(fleet.nodes):
        until_sums = (last + 1) % rounds_of(fleet.run) == 0  # the next round is not a minibatch's
        if parts[0].round - last > 1 + until_sums:  # a round of nothing came between, so that no mean was under way
            learns = newest
        last = parts[0].round
        sizes.add(len(parts))
        largest.add(max(part.batch.largest for part in parts) / min(part.batch.largest for part in parts))
        total, errors = kind(learns).loss(parts, union(parts))
        total.backward()
        before = newest if form == EXACT else copy.deepcopy(newest)
        adam.step(learns)
        kind(newest).settle(adam.count)
        learns = before
    assert adam.count >= 30
    assert max(sizes) == 3 > min(sizes)  # a replay that has not begun has no part
    assert max(largest) > 1.1  # so it matters by what weights are divided
    targets = [each.flatten() for each in newest.buffers() if each.is_floating_point()]
    torch.testing.assert_close(fleet.weights().double(), torch.cat([vector_of(newest), *targets]), rtol=0, atol=1e-5)
    fleet.demand_the_same_bits()
    if errors:  # the last samples have these priorities now, at the child that has the transitions
        leaves = fleet.nodes[1].block["priorities_0"][torch.from_numpy(parts[-1].indices)]
        powers = (torch.tensor(errors[-BATCH:]).abs() + 1e-6) ** REPLAY.alpha
        torch.testing.assert_close(leaves, powers.double(), rtol=1e-3, atol=1e-4)


def test_the_replay_ratio_holds_over_all_children(fleets: list[Fleet]) -> None:
    """A minibatch of all is due when all have played enough, however many steps each of them has."""
    fleets.append(fleet := Fleet(DISCRETE, APEX, [1, 1, 1], B, REPLAY))
    learn(fleet, 12)
    begun = {node.name: 0 for node in fleet.nodes}
    expected, due, known = [], 0.0, {node.name: played(fleet, seed, 12) for seed, node in enumerate(fleet.nodes)}
    for number in range(12):
        ready = 0
        for name, trajectories in known.items():
            begun[name] += (steps := int(trajectories[number].valid.sum()))
            if begun[name] >= REPLAY.start:
                ready += 1
                due += 3.0 * steps
        if ready:
            expected.append((number, int(due // (ready * BATCH)), ready))
            due %= ready * BATCH
    found: dict[int, list[int]] = {}
    for parts in rounds(fleet.nodes):
        found.setdefault(parts[0].round // rounds_of(fleet.run), []).append(len(parts))
    assert len({count for _, count, _ in expected}) > 1
    assert len({ready for _, _, ready in expected}) > 1
    assert found == {number: [ready] * count for number, count, ready in expected if count}


def test_a_child_that_joins_late_has_no_part_until_its_replay_has_begun(fleets: list[Fleet]) -> None:
    """It takes over weights, targets and optimizer, and counts updates as the others do."""
    fleets.append(fleet := Fleet(DISCRETE, APEX, [1, 1], B, REPLAY))
    (first, second), each = fleet.nodes, rounds_of(fleet.run)
    first.connect()
    fleet.wait(first.learn(0, played(fleet, 0), 5 * each))
    second.connect()
    fleet.wait(*[node.learn(0, played(fleet, seed), 14 * each) for seed, node in enumerate(fleet.nodes)])
    assert min(drawn.round for drawn in first.drawn) < 5 * each < 6 * each < min(drawn.round for drawn in second.drawn)
    fleet.demand_the_same_bits()
    parent = fleet.weights()
    assert not torch.equal(parent[: len(parent) // 2], parent[len(parent) // 2 :])


def test_asynchronous_gradients_are_of_the_samples_of_one_child(fleets: list[Fleet]) -> None:
    """30 of them, in an order that is drawn. Targets move at the parent, and importance weights are divided by the
    child's own largest.
    """
    replay = ReplaySettings(ratio=2.0, capacity=60, start=10, batch_size=5, beta=0.7)  # 4 samples a trajectory
    fleets.append(fleet := AsynchronousFleet(APEX, [1, 1], replay=replay))
    turns = random.Random(3).choices(["child0", "child1"], k=30)
    nodes = {node.name: node for node in fleet.nodes}
    for seed, node in enumerate(fleet.nodes):
        node.connect()
        whole = [each._replace(valid=torch.ones(T, B, dtype=torch.bool)) for each in played(fleet, seed)]
        node.learn(0, whole, 10**6)
    fleet.parent.take(*turns)

    newest = fleet.network().double()
    adam, held = LiteralAdam(newest, APEX), {name: copy.deepcopy(newest) for name in nodes}
    drawn = {name: iter(list(node.drawn)) for name, node in nodes.items()}
    for name in turns:
        total, _ = LiteralApex(held[name]).loss([], union([next(drawn[name])]))
        total.backward()
        adam.step(held[name])
        LiteralApex(newest).settle(adam.count)
        held[name].load_state_dict(newest.state_dict())
    assert adam.count == fleet.parent.current.version == 30
    targets = [each.flatten() for each in newest.buffers() if each.is_floating_point()]
    torch.testing.assert_close(fleet.weights().double(), torch.cat([vector_of(newest), *targets]), rtol=0, atol=1e-5)


class Ready:
    """A replay that always gives a sample, of six steps."""

    sample_steps = 6

    def __init__(self) -> None:
        self.limiter = ReplayRatioLimiter(1.0)

    def has_begun(self) -> bool:
        return True

    def store(self, unused_trajectory: Trajectory) -> None:
        self.limiter.played(10)

    def draw(self) -> Sampled:
        return Sampled(None, torch.ones(6))


class Claimed:
    """A shard whose sums are those that a faulty child makes of them."""

    in_step, count, largest = True, 0.0, 1.0

    def __init__(self, *sums: float) -> None:
        self.sums = torch.tensor(sums, dtype=torch.float64)

    def together(self, unused_numbers: Tensor) -> Tensor:
        return self.sums

    def begin(self) -> None:
        pass

    end = begin


@pytest.mark.parametrize(
    ("due", "sizes", "expected"),
    [(30.0, 12.0, 2), (1e300, 12.0, 4), (1e308, 1e-308, 4), (math.inf, 12.0, 0), (-30.0, 12.0, 0), (30.0, -12.0, 0)],
)
def test_no_claim_makes_more_samples_than_there_can_be(due: float, sizes: float, expected: int) -> None:
    """Nor stops a worker for good."""
    replay, shard = Ready(), Claimed(due, sizes)
    samples = ShardedSamples(APEX, replay, shard, most=4)  # type: ignore[arg-type]
    trajectory = random_batch(DISCRETE, 0)
    assert len(list(samples.batches(trajectory, Moment(0.0, torch.Generator())))) == expected
    assert 0 <= replay.limiter.due <= 10
