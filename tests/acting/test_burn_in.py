"""Trajectories that overlap: what a network says along them is what was said when they were played."""

from typing import Any, cast

import pytest
import torch

from marl.acting.burn_in import BurnIn
from marl.acting.statistics import Rollouts, Statistics
from marl.algorithms.last_values import outputs_of
from marl.data.layout import header_of, leaves
from marl.data.node.memory import node_memory
from marl.data.trajectory import Trajectory
from marl.networks.contract import Policy
from tests.extending.memory import COUNT, collector_of, counting, exact

T = 5


@pytest.mark.parametrize("steps", [2, T])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_what_was_said_is_said_again_from_the_earlier_state(mode: str, steps: int) -> None:
    """Bit for bit: this network's sums are exact."""
    environments = counting(mode, "alternate", length=1, grows=True)
    policy, collector = cast(Policy, exact(environments.spaces, shared=True)), collector_of(environments, T)
    burn_in, before = BurnIn(policy, steps), None
    for version in range(6):
        played = collector.collect(policy, None, version)[0]
        longer = burn_in.lengthened(played)
        assert (longer.burn_in, len(longer.rewards), len(longer.observations)) == (steps, steps + T, steps + T + 1)
        assert longer.version == max(0, version - 1)
        parameters, _ = outputs_of(policy, longer)
        assert torch.equal(parameters[longer.valid], longer.behaviour[longer.valid])
        for name in ("observations", "actions", "rewards", "terminated", "truncated", "valid"):
            found = getattr(longer, name)
            assert torch.equal(found[steps:], getattr(played, name))
            if before is not None:
                assert torch.equal(found[:steps], getattr(before, name)[T - steps : T])
        assert longer.last_index.tolist() == [each + steps * COUNT for each in played.last_index.tolist()]
        if before is None:
            assert not longer.valid[:steps].any()
        before = played._replace(**{name: getattr(played, name).clone() for name in played._fields[:6]})


def test_what_does_not_follow_begins_with_the_initial_state() -> None:
    environments = counting("SameStep", "terminated", length=9)
    policy, collector = cast(Policy, exact(environments.spaces, shared=True)), collector_of(environments, T)
    burn_in = BurnIn(policy, 3)
    burn_in.lengthened(collector.collect(policy, None, 0)[0])
    collector.reset(list(range(COUNT)))
    burn_in.forget()
    played = collector.collect(policy, None, 0)[0]
    longer = burn_in.lengthened(played)
    demand_beginning(policy, longer, 3)
    assert torch.equal(outputs_of(policy, longer)[0][3:], played.behaviour)


def test_a_worker_that_begins_a_checkpoint_interval_forgets_the_episodes_before() -> None:
    environments = counting("SameStep", "terminated", length=9)
    policy, collector = cast(Policy, exact(environments.spaces, shared=True)), collector_of(environments, T)
    block = node_memory(num_weights=1, num_parameters=1, observation_size=0, workers=1)
    statistics = Statistics(block, 0, observations=False, rewards=False)
    rollouts = Rollouts(collector, statistics, burn_in=BurnIn(policy, 3))
    assert rollouts.collect(policy, 0)[0].burn_in == 3
    assert rollouts.collect(policy, 0)[0].valid.all()
    rollouts.reset(list(range(COUNT)))
    demand_beginning(policy, rollouts.collect(policy, 0)[0], 3)


def demand_beginning(policy: Policy, longer: Trajectory, steps: int) -> None:
    """No trajectory came before it: the burn-in steps are invalid, and the state is the initial one."""
    assert not longer.valid[:steps].any()
    assert longer.valid[steps:].all()
    state: Any = longer.state
    assert header_of(state) == header_of(policy.initial_state(COUNT))
    assert all(map(torch.equal, leaves(state), leaves(policy.initial_state(COUNT))))
