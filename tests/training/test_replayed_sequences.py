"""Learning from a replay of sequences, alone and in this process."""

from typing import Any, cast

import numpy as np
import pytest
import torch

from marl.algorithms.apex_dqn import ApexDQN
from marl.algorithms.base import Loss, Moment
from marl.data.layout import Leaf
from marl.data.replay.priorities import Priorities, priority_fields
from marl.data.replay.transitions import sequence_fields, transition_fields
from marl.data.settings import ReplaySettings
from marl.data.shared import SharedBlock
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.networks.contract import Policy, state_tree
from marl.networks.settings import NetworkSettings
from marl.training.flat import flatten
from marl.training.learned_weights import hogwild_step
from marl.training.minibatches import ReplayedTransitions
from marl.training.optimizers import OptimizerSettings, make_optimizer
from tests.algorithms.cases import DISCRETE, random_batch
from tests.extending.memory import RECALL, VALUED, collector_of

MOMENT = Moment(0.0, torch.Generator().manual_seed(0))


def block_for(network: Any, capacity: int, length: int, observation: int) -> SharedBlock:
    """For this many sequences."""
    fields = sequence_fields(
        capacity=capacity,
        workers=1,
        length=length,
        observation=Leaf((observation,), torch.float32),
        action=Leaf((), torch.int64),
        state=state_tree(network),
    )
    return SharedBlock(fields | priority_fields(capacity))


def test_a_batch_has_as_many_sequences_as_hold_its_steps_and_each_step_is_learned_from_so_often() -> None:
    """4 sequences of 5 steps a trajectory; the replay begins with 35 steps, and a batch of 12 has 3 sequences."""
    algorithm = ApexDQN(t_max=5)
    network: Any = algorithm.build_network(DISCRETE, NetworkSettings(hidden=(4,), core="gru", core_size=4), 0)
    block = block_for(network, 100, 5, 4)
    minibatches = ReplayedTransitions(
        algorithm, network, block, 0, ReplaySettings(start=35, batch_size=12), ratio=1.5, rng=np.random.default_rng(0)
    )
    steps = []
    for seed in range(10):
        trajectory = random_batch(DISCRETE, seed, 5, 4)
        trajectory = trajectory._replace(
            valid=torch.ones(5, 4, dtype=torch.bool), state=network.initial_state(4), version=seed
        )
        batches = list(minibatches.batches(trajectory, MOMENT))
        assert all(len(each.weights) == len(each.transitions.versions) == 3 for each in batches)
        steps.append(15 * len(batches))
    assert steps[0] == 0
    assert sum(steps) == 15 * (9 * 30 // 15)
    minibatches.learned(Loss(torch.zeros(()), {}, torch.full((3,), 1e9)))
    assert np.count_nonzero(Priorities(block, 1.0)._leaves > 1e5) == len(set(minibatches._drawn[0].tolist()))  # type: ignore[index]


@pytest.mark.parametrize("core", ["gru", "lstm", None, "own"])
def test_action_values_of_what_has_to_be_remembered_are_learned_from_a_replay(core: str | None) -> None:
    """The greedy action after either hint; without a core both are the same."""
    torch.set_num_threads(1)
    algorithm = ApexDQN(t_max=7, learning_rate=5e-3, target_period=50, epsilon_alpha=0.0)
    environments = make_environments(EnvironmentSettings(id=RECALL), 8)
    settings = NetworkSettings(hidden=(16,), core=core, core_size=16)
    if core == "own":
        settings = NetworkSettings(name=VALUED)
    network = algorithm.build_network(environments.spaces, settings, 1)
    local = flatten(network)
    shared, size = local.weights.clone(), len(local.gradient)
    optimizer = make_optimizer(OptimizerSettings("adam"), torch.zeros(2, size), torch.zeros(1))
    if core is None:
        seen, action = Leaf((1,), torch.float32), Leaf((), torch.int64)
        fields = transition_fields(capacity=4000, workers=1, observation=seen, action=action)
        block = SharedBlock(fields | priority_fields(4000))
    else:
        block = block_for(network, 600, 7, 1)
    replay = ReplaySettings(start=200, batch_size=64)
    minibatches = ReplayedTransitions(algorithm, network, block, 0, replay, ratio=6.0, rng=np.random.default_rng(0))
    collector = collector_of(environments, 7, algorithm.sampler(cast(Any, network).distribution))
    updates = 0
    for _ in range(60):
        trajectory, _ = collector.collect(cast(Policy, network), None, 0)
        for batch in minibatches.batches(trajectory, MOMENT):
            loss = algorithm.loss(network, batch)
            hogwild_step(shared, local, optimizer, loss, algorithm.learning_rate, algorithm.max_gradient_norm)
            updates += 1
            algorithm.settle(shared, size, updates)
            local.weights.copy_(shared)
            minibatches.learned(loss)
    acts, hints = cast(Policy, network), torch.tensor([[1.0], [-1.0]])
    state = acts.initial_state(2)
    for seen in (hints, 0 * hints, 0 * hints):
        decision = acts.step(seen, state)
        state = decision.state
    right, left = decision.parameters.tolist()
    if core is None:
        assert right == left
    else:
        assert right[1] - right[0] > 1.0
        assert left[0] - left[1] > 1.0
