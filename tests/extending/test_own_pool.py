"""Several policies in one: what acts asks the contract of a policy, and does not see who answers for which row."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from marl.acting.collect import Collector
from marl.algorithms.a3c import A3C
from marl.environments.vector import Environments
from marl.networks.contract import Acts, Decision, State
from marl.networks.settings import NetworkSettings
from tests.fakes import counting_vector

COUNT = 6


class Pool:
    """Row ``i`` is played by policy ``owners[i]``: an agent's own, or an opponent of the past."""

    def __init__(self, policies: list[Acts], owners: list[int]) -> None:
        self._policies = policies
        of = torch.tensor(owners)
        self._rows = [(of == number).nonzero().flatten() for number in range(len(policies))]

    @property
    def distribution(self) -> Any:
        return self._policies[0].distribution

    def initial_state(self, rows: int) -> State:
        """None of them remembers anything."""
        return ()

    def step(self, observations: Tensor, state: State) -> Decision:
        parameters = torch.zeros(len(observations), self.distribution.num_parameters)
        for policy, mine in zip(self._policies, self._rows, strict=True):
            parameters[mine] = policy.step(observations[mine], ()).parameters
        return Decision(parameters, None, ())


@pytest.mark.parametrize("owners", [[0, 1, 2, 0, 1, 2], [2, 2, 2, 2, 2, 0]])
def test_each_row_is_played_by_its_own_policy(owners: list[int]) -> None:
    environments = Environments(counting_vector(COUNT, "NextStep", ends="alternate", length=3), "counting")
    policies = [A3C().build_network(environments.spaces, NetworkSettings(hidden=(8,)), seed) for seed in range(3)]
    for policy in policies:
        for parameter in policy.parameters():
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(len(parameter)))
    pool = Pool(cast("list[Acts]", policies), owners)
    collector = Collector(
        environments,
        length=7,
        discount=0.9,
        reward_scale=1.0,
        generator=torch.Generator().manual_seed(0),
        seeds=list(range(COUNT)),
    )
    trajectory, _ = collector.collect(cast(Any, pool), None, 0)
    with torch.inference_mode():
        for row, owner in enumerate(owners):
            said = cast(Acts, policies[owner]).step(trajectory.observations[:-1, row], ()).parameters
            torch.testing.assert_close(trajectory.behaviour[:, row], said)
