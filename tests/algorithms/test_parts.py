"""Observations that are trees: what a network makes of them is its own business, and losses are as of one row."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from marl.algorithms.a3c import A3C
from marl.algorithms.base import Algorithm, Moment
from marl.algorithms.impala import IMPALA
from marl.algorithms.ppo import PPO
from marl.networks.actor_critic import ActorCritic
from marl.networks.contract import Outputs, State, StatelessCritic
from marl.networks.settings import NetworkSettings
from tests.algorithms.cases import DISCRETE, in_parts, joined, random_batch

ALGORITHMS: list[Algorithm] = [A3C(), IMPALA(), PPO(epochs=2, num_minibatches=2), PPO(epochs=1, target="vtrace")]


class Joins(StatelessCritic):
    """Puts the parts into one row for another network."""

    def __init__(self, network: ActorCritic) -> None:
        super().__init__()
        self.network, self.distribution = network, network.distribution

    def unroll(self, observations: Any, state: State, resets: Tensor | None, acted: int) -> Outputs:
        return self.network.unroll(joined(observations), state, resets, acted)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda each: each.name)
def test_losses_are_as_of_one_row(algorithm: Algorithm) -> None:
    network = ActorCritic(DISCRETE, NetworkSettings(hidden=(8,)), 1)
    batch = random_batch(DISCRETE, 2)
    with torch.no_grad():
        batch = batch._replace(behaviour=network.policy(batch.observations[:-1]) + 0.1)
    losses = []
    for who, played in ((network, batch), (Joins(network), in_parts(batch))):
        moment = Moment(0.0, torch.Generator().manual_seed(1))
        minibatches = algorithm.minibatches(cast(nn.Module, who), played, moment)
        losses.append([float(algorithm.loss(who, each).total.detach()) for each in minibatches])
    assert losses[0] == losses[1]
    assert len(losses[0]) == algorithm.batches_per_trajectory()
