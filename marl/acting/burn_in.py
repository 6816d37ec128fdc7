"""Steps of the trajectory before, put in front of each trajectory: a network that remembers warms up there.

What is stored as remembered gets old while the weights learn. Steps of burn-in, from which nothing is learned, bring it
nearer to what the newest weights remember (Kapturowski et al., "Recurrent Experience Replay in Distributed
Reinforcement Learning", 2019, section 3). Trajectories overlap, so that every step is learned from.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from marl.data.layout import Values, at, mapped
from marl.data.trajectory import STEPS, Trajectory, resets_of
from marl.networks.contract import Acts, State, renewed


class BurnIn:
    """Of one group of environments, whose trajectories follow each other."""

    def __init__(self, network: Acts, steps: int, unchanged: AbstractContextManager[object] | None = None) -> None:
        """
        Args:
            steps: at most as many as a trajectory has.
            unchanged: in which nobody changes the network's weights.
        """
        self._network, self._steps = network, steps
        self._unchanged = unchanged or nullcontext()
        self._before: dict[str, Values] | None = None  # the last steps of the trajectory before, and the state there
        self._version = 0

    def forget(self) -> None:
        """The next trajectory does not continue the last one: its environments are reset, with the initial state."""
        self._before = None

    def lengthened(self, trajectory: Trajectory) -> Trajectory:
        """A trajectory of ``steps`` more steps, in memory of its own. Where it follows none, those are no transitions,
        and it begins with the initial state.
        """
        before, version = self._before, self._version
        if before is None:
            before = {name: mapped(self._nothing, getattr(trajectory, name)) for name in STEPS}
            before["state"], version = trajectory.state, trajectory.version
        found = {name: mapped(_joined, before[name], getattr(trajectory, name)) for name in STEPS}
        longer = Trajectory(
            **found,
            state=before["state"],
            last_observations=trajectory.last_observations,
            last_index=trajectory.last_index + self._steps * trajectory.rewards.shape[1],
            version=min(version, trajectory.version),
            burn_in=self._steps,
        )
        first = len(trajectory.rewards) - self._steps
        ends = slice(first, len(trajectory.rewards))
        self._before = {name: mapped(Tensor.clone, at(getattr(trajectory, name), ends)) for name in STEPS}
        self._before["state"], self._version = self._state_at(trajectory, first), trajectory.version
        return longer

    def _nothing(self, values: Tensor) -> Tensor:
        return torch.zeros_like(values[: self._steps])

    @torch.no_grad()
    def _state_at(self, trajectory: Trajectory, step: int) -> State:
        """What is remembered before a step."""
        resets, state = resets_of(trajectory), trajectory.state
        assert resets is not None  # the network remembers
        initial = self._network.initial_state(trajectory.rewards.shape[1])
        with self._unchanged:
            for number in range(step):
                state = self._network.step(at(trajectory.observations, number), state).state
                state = renewed(state, resets[number + 1], initial)
        return mapped(Tensor.clone, state)


def _joined(before: Tensor, now: Tensor) -> Tensor:
    return torch.cat([before, now])
