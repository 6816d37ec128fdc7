"""The delayed form: every gradient is of the weights one step earlier, and all children still have the same bits."""

import copy
import threading

import pytest
import torch

from marl.algorithms.a3c import A3C
from marl.algorithms.base import Moment
from marl.algorithms.ppo import PPO
from marl.data.node.memory import array
from marl.data.spaces import Spaces
from marl.exchanges.gradients.memory import ANEW, NUMBER
from marl.exchanges.gradients.shard import Shard
from marl.training.flat import flatten
from tests.algorithms.cases import BOX, DISCRETE
from tests.algorithms.literal_ppo import literal_loss
from tests.commands import PATIENCE_S
from tests.exchanges.literal_gradients import B, LiteralAdam, T, double, learn, played, union, vector_of
from tests.exchanges.shards import Fleet


@pytest.mark.parametrize("spaces", [DISCRETE, BOX], ids=["discrete", "box"])
def test_ppo_learns_from_gradients_of_one_step_earlier(spaces: Spaces, fleets: list[Fleet]) -> None:
    """52 updates in float64; advantages are of these weights too, and are normalised over the minibatch of all."""
    algorithm = PPO(
        t_max=T, epochs=2, num_minibatches=2, entropy_cost=0.05, value_cost=0.7, learning_rate=1e-3, discount=0.9
    )
    fleet = Fleet(spaces, algorithm, [2, 1], B, form="delayed")
    fleets.append(fleet)
    given = played(spaces, fleet.network(), 13)
    learn(fleet, given)

    newest = fleet.network().double()
    earlier = copy.deepcopy(newest)
    adam = LiteralAdam(newest, algorithm)
    generators = {shard: torch.Generator().manual_seed(fleet.seed_of(*shard)) for shard in given}
    for number in range(13):
        parts = [
            list(algorithm.minibatches(earlier, double(given[shard][number]), Moment(0.0, generators[shard])))
            for shard in given
        ]
        for together in zip(*parts, strict=True):
            total, _ = literal_loss(earlier, union(list(together)), spaces.discrete, 0.0, True)  # type: ignore[arg-type]
            total.backward()
            before = copy.deepcopy(newest)
            adam.step(earlier)
            earlier = before
    assert adam.count == 52
    torch.testing.assert_close(fleet.weights().double(), vector_of(newest), rtol=0, atol=1e-5)
    assert float((fleet.weights() - vector_of(earlier)).abs().max()) > 1e-4  # one step more or less would show
    fleet.demand_the_same_bits()


def test_the_delay_goes_on_from_one_trajectory_to_the_next(fleets: list[Fleet]) -> None:
    """With one minibatch a trajectory, each is played and learned from while the mean of the last is under way."""
    algorithm = A3C(t_max=T)
    fleet = Fleet(DISCRETE, algorithm, [2, 1], B, form="delayed")
    fleets.append(fleet)
    given = played(DISCRETE, fleet.network(), 50)
    learn(fleet, given)

    newest = fleet.network().double()
    earlier = copy.deepcopy(newest)
    adam = LiteralAdam(newest, algorithm)
    for number in range(50):
        now = [double(given[shard][number]) for shard in given]
        count = sum(int(each.valid.sum()) for each in now)
        total = sum(algorithm.loss(earlier, each).total * (int(each.valid.sum()) / count) for each in now)
        total.backward()  # type: ignore[union-attr]
        before = copy.deepcopy(newest)
        adam.step(earlier)
        earlier = before
    torch.testing.assert_close(fleet.weights().double(), vector_of(newest), rtol=0, atol=1e-5)
    fleet.demand_the_same_bits()


def test_a_worker_goes_on_while_its_round_is_open(fleets: list[Fleet]) -> None:
    """It plays the next trajectory before another child has given its part of the last."""
    algorithm = A3C(t_max=T)
    fleets.append(fleet := Fleet(DISCRETE, algorithm, [1, 1], B, form="delayed"))
    given, (first, second) = played(DISCRETE, fleet.network(), 3), fleet.nodes
    for node in fleet.nodes:
        node.connect()
    ahead, found = threading.Event(), list[bool]()

    def stands(count: int) -> None:
        if count == 1:
            found.append(ahead.wait(PATIENCE_S))

    def goes(count: int) -> None:
        if count == 2:
            ahead.set()

    fleet.wait(first.learn(0, given["child0", 0], 3, goes), second.learn(0, given["child1", 0], 3, stands))
    assert found == [True]
    fleet.demand_the_same_bits()


def test_a_worker_that_comes_late_waits_for_no_further_trajectory(fleets: list[Fleet]) -> None:
    """Its child takes over the weights of the end of the one that it waits for: now it learns with the others."""
    fleets.append(fleet := Fleet(DISCRETE, A3C(t_max=T), [1], B, form="delayed"))
    (node,) = fleet.nodes
    shard = Shard(node.block, 0, 5, delayed=True).over(flatten(fleet.network()))
    over, part = array(node.block, "round"), array(node.block, "part")
    over[0] = 3
    begins = fleet.spawn(shard.begin)
    while part[0, NUMBER] != 4:
        begins.join(0.001)
    over[0] = ANEW + 5
    fleet.wait(begins)
    assert part[0, NUMBER] == 4
