"""The asynchronous form: the parent applies each child's gradient as it comes, to weights that may be newer."""

import copy
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from marl.algorithms.a3c import A3C
from marl.algorithms.base import Moment
from marl.algorithms.ppo import PPO
from marl.algorithms.ppo_minibatch import Minibatch
from marl.data.node.memory import SKIPPED, array
from marl.exchanges.gradients.asynchronous_child import AsynchronousChild
from marl.exchanges.gradients.asynchronous_parent import AsynchronousParent
from marl.exchanges.member import Member
from marl.exchanges.sides import Answer
from marl.wire.message import Message
from tests.algorithms.cases import DISCRETE
from tests.algorithms.literal_ppo import literal_loss
from tests.commands import PATIENCE_S
from tests.exchanges.literal_gradients import SHARDS, B, LiteralAdam, T, double, played, vector_of
from tests.exchanges.literal_gradients import union as one_minibatch
from tests.exchanges.shards import Fleet, Parent

ENDLESS = 10**6


class InTurn(AsynchronousParent, Parent):
    """Takes the parts of children in the order of ``turns``, and no more."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.turns, self.done = list[str](), threading.Event()
        self.gone: set[str] = set()  # children whose parts get lost

    def _take(self, member: Member, upload: Message) -> Answer | None:
        while self.turns[:1] != [member.name]:
            if self._closed or member.name in self.gone:
                return None
            self._changed.wait(0.5)
        answer = super()._take(member, upload)
        self.turns = self.turns[1:]
        if not self.turns:
            self.done.set()
        self._changed.notify_all()
        return answer

    def lose(self, child: str) -> None:
        """Take no part of this child, nor wait for its turn."""
        with self._changed:
            self.gone.add(child)
            self._changed.notify_all()

    def take(self, *turns: str) -> None:
        """Wait until these parts are taken."""
        with self._changed:
            self.done, self.turns = threading.Event(), list(turns)
            self._changed.notify_all()
        assert self.done.wait(PATIENCE_S), self.turns


class AsynchronousFleet(Fleet):
    child_class, parent_class = AsynchronousChild, InTurn
    parent: InTurn

    def __init__(self, algorithm: A3C | PPO, nodes: list[int], **settings: object) -> None:
        super().__init__(DISCRETE, algorithm, nodes, B, form="asynchronous", **settings)
        self.given = played(DISCRETE, self.network(), 13)

    def begin(self, *shards: tuple[str, int]) -> None:
        """Let these workers learn, or all."""
        nodes = {node.name: node for node in self.nodes}
        for name, worker in shards or SHARDS:
            nodes[name].learn(worker, self.given[name, worker], ENDLESS)


def test_each_gradient_moves_the_newest_weights(fleets: list[Fleet]) -> None:
    """52 arrivals in an order that is drawn, against the same in float64. A gradient is of the weights that its child
    got with its last answer; advantages are normalised over the child's own minibatch.
    """
    algorithm = PPO(
        t_max=T, epochs=2, num_minibatches=2, entropy_cost=0.05, value_cost=0.7, learning_rate=1e-3, discount=0.9
    )
    fleets.append(fleet := AsynchronousFleet(algorithm, [2, 1]))
    turns = random.Random(3).choices(["child0", "child1"], k=52)
    for node in fleet.nodes:
        node.connect()
    fleet.begin()
    fleet.parent.take(*turns)

    newest = fleet.network().double()
    adam, held = LiteralAdam(newest, algorithm), {name: copy.deepcopy(newest) for name in set(turns)}

    def minibatches(child: str, network: nn.Module) -> Iterator[Minibatch]:
        shards = [shard for shard in fleet.given if shard[0] == child]
        generators = {shard: torch.Generator().manual_seed(fleet.seed_of(*shard)) for shard in shards}
        for number in range(ENDLESS):
            parts = [
                list(
                    algorithm.minibatches(
                        network, double(fleet.given[shard][number % 13]), Moment(0.0, generators[shard])
                    )
                )
                for shard in shards
            ]
            for each in zip(*parts, strict=True):
                yield one_minibatch(list(each))

    streams = {name: minibatches(name, network) for name, network in held.items()}
    for name in turns:
        total, _ = literal_loss(held[name], next(streams[name]), True, 0.0, True)  # type: ignore[arg-type]
        total.backward()
        adam.step(held[name])
        held[name].load_state_dict(newest.state_dict())
    assert adam.count == fleet.parent.current.version == 52
    torch.testing.assert_close(fleet.weights().double(), vector_of(newest), rtol=0, atol=1e-5)
    assert float((fleet.weights() - vector_of(fleet.network())).abs().max()) > 1e-2


def test_a_gradient_that_is_too_old_is_dropped_and_counted(fleets: list[Fleet]) -> None:
    """Its steps are told again with the next one, so none is lost."""
    fleets.append(fleet := AsynchronousFleet(A3C(t_max=T), [1, 1], max_staleness=2))
    for node in fleet.nodes:
        node.connect()
    fleet.begin(("child0", 0), ("child1", 0))
    fleet.parent.take("child0", "child1", "child1", "child0")  # two versions old
    assert fleet.parent.current.version == 4
    before = fleet.weights()
    fleet.parent.take("child1", "child1", "child1")
    after = fleet.weights()
    assert not torch.equal(before, after)
    fleet.parent.take("child0")
    assert torch.equal(fleet.weights(), after)
    assert fleet.notes == ["a gradient of child0 is dropped: it is 3 versions old (exchange.max_staleness = 2)"]
    fleet.parent.take("child0")
    assert fleet.parent.current.version == 8
    assert not torch.equal(fleet.weights(), after)
    skipped = [int(array(node.block, "counters")[:, SKIPPED].sum()) for node in fleet.nodes]
    assert skipped == [1, 0]
    steps = [[int(each.valid.sum()) for each in fleet.given[name, 0]] for name in ("child0", "child1")]
    assert fleet.parent.current.steps == sum(steps[0][:3]) + sum(steps[1][:4])  # of trajectories before the last


def test_a_child_that_goes_or_comes_or_stands_is_no_special_case(fleets: list[Fleet]) -> None:
    fleets.append(fleet := AsynchronousFleet(A3C(t_max=T), [1, 1]))
    first, second = fleet.nodes
    first.connect()
    fleet.begin(("child0", 0))
    fleet.parent.take("child0", "child0")
    second.connect()  # late, and it stands
    fleet.parent.take("child0", "child0")
    fleet.begin(("child1", 0))
    fleet.parent.take("child1", "child0", "child1")
    fleet.parent.lose("child1")
    second.disconnect()
    fleet.parent.take("child0", "child0")
    assert fleet.parent.current.version == 9
    fleet.parent.gone.clear()
    second.connect()
    fleet.parent.take("child1", "child0")
    assert fleet.parent.current.version == 11
    assert not fleet.notes


def test_each_child_stops_its_epochs_by_its_own_divergence(fleets: list[Fleet]) -> None:
    """Rounds without a gradient end at the child: nothing is uploaded, nobody is waited for."""
    algorithm = PPO(t_max=T, epochs=9, num_minibatches=2, kl_stop=1e-4, learning_rate=1e-2)
    fleets.append(fleet := AsynchronousFleet(algorithm, [2, 1]))
    for node in fleet.nodes:
        node.connect()
    fleet.begin()
    fleet.parent.take(*["child0"] * 9, *["child1"] * 9)
    fleet.close()
    assert fleet.parent.current.version == 18
    shards = [array(node.block, "counters") for node in fleet.nodes]
    assert all((each[:, 0] > T).all() for each in shards)  # more than one trajectory, of 18 minibatches each


@pytest.mark.parametrize("number", [1, 8])
def test_a_bound_that_would_drop_most_gradients_is_told(number: int, fleets: list[Fleet]) -> None:
    fleets.append(fleet := AsynchronousFleet(A3C(t_max=T), [1, 1], max_staleness=3))
    fleet.make_parent(children=number)
    few = ["exchange.max_staleness = 3 drops most gradients of 8 children: expected 7 or more"]
    assert fleet.notes == (few if number == 8 else [])
