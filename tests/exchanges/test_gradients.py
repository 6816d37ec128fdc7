"""N children that share gradients learn what one that has all their environments would."""

import pytest
import torch

from marl.algorithms.a3c import A3C
from marl.algorithms.base import Moment
from marl.algorithms.impala import IMPALA
from marl.algorithms.ppo import PPO
from marl.data.spaces import Spaces
from marl.training.arrivals import side_by_side
from tests.algorithms.cases import BOX, DISCRETE
from tests.algorithms.literal_ppo import literal_loss
from tests.exchanges.literal_gradients import B, LiteralAdam, T, double, learn, played, union, vector_of
from tests.exchanges.shards import Fleet


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
            adam.step(literal)
    assert adam.count == 52
    torch.testing.assert_close(fleet.weights().double(), vector_of(literal), rtol=0, atol=1e-5)
    assert float((fleet.weights() - vector_of(fleet.network())).abs().max()) > 1e-2
    fleet.demand_the_same_bits()


@pytest.mark.parametrize("normalize", [False, True], ids=["plain", "normalized"])
@pytest.mark.parametrize("kind", [A3C, IMPALA], ids=["a3c", "impala"])
def test_what_learns_once_from_each_trajectory(kind: type[A3C | IMPALA], normalize: bool, fleets: list[Fleet]) -> None:
    """From one batch of the environments of all; its ratios keep impala in float32."""
    algorithm = kind(t_max=T, normalize_advantages=normalize)
    fleet = Fleet(DISCRETE, algorithm, [2, 1], B)
    fleets.append(fleet)
    given = played(DISCRETE, fleet.network(), 50)
    learn(fleet, given)

    precise = isinstance(algorithm, A3C)
    literal = fleet.network().double() if precise else fleet.network()
    adam = LiteralAdam(literal, algorithm)
    for number in range(50):
        now = [double(given[shard][number]) if precise else given[shard][number] for shard in given]
        algorithm.loss(literal, side_by_side(now)).total.backward()
        adam.step(literal)
    torch.testing.assert_close(fleet.weights().double(), vector_of(literal).double(), rtol=0, atol=1e-5)
    fleet.demand_the_same_bits()
