"""Trajectories put together from single steps that arrive one by one: one stream for each group of environments."""

from collections.abc import Callable

import torch
from torch import Tensor

from marl.data.desk import FIRST, NUM_LAST, QUESTION
from marl.data.shared import Field, SharedBlock
from marl.data.trajectory import Trajectory


class Stream:
    """One group's steps; ``take`` what environments answer, then say with ``decided`` what they do next."""

    def __init__(
        self,
        *,
        length: int,
        environments: int,
        observation: Field,
        action: Field,
        num_parameters: int,
        state_size: int,
        reward_scale: float,
    ) -> None:
        shape = (length, environments)
        self._length, self._reward_scale = length, reward_scale
        self._observations = torch.zeros((length + 1, environments, *observation.shape), dtype=observation.dtype)
        self._actions = torch.zeros((*shape, *action.shape), dtype=action.dtype)
        self._behaviour = torch.zeros(*shape, num_parameters)
        self._rewards = torch.zeros(shape)
        self._ends = torch.zeros(3, *shape, dtype=torch.bool)  # terminated, truncated, valid
        self.states = torch.zeros(environments, state_size)  # what the network keeps in mind
        self._last: list[tuple[Tensor, Tensor]] = []
        self._step = 0
        self._question = -1  # the one whose actions are decided
        self._version = 0

    def take(self, desk: SharedBlock, prepare: Callable[[Tensor], Tensor]) -> Trajectory | None:
        """A step's answers; a trajectory once ``length`` of them are there, in memory that the next one overwrites.

        Args:
            prepare: brings observations [N, D] to what the network sees.
        """
        header = desk["header"]
        observations = prepare(desk["observations"])
        follows = not header[FIRST] and int(header[QUESTION]) == self._question + 1 and self._question >= 0
        if not follows:  # a new worker, or steps were lost with a conversation: what was gathered has no sequel
            self._begin(observations)
            self.states.zero_()
            return None
        if self._step == self._length:
            self._begin(self._observations[self._length])
        step = self._step
        self._rewards[step].copy_(desk["rewards"]).mul_(self._reward_scale)
        for place, name in enumerate(("terminated", "truncated", "valid")):
            self._ends[place, step].copy_(desk[name])
        num_last = int(header[NUM_LAST])
        if num_last:
            last = prepare(desk["last_observations"][:num_last])
            self._last.append((last, desk["last_index"][:num_last] + step * len(desk["rewards"])))
        self._observations[step + 1].copy_(observations)
        # A new episode begins with nothing in mind: after an end, and where a step of its own resets.
        self.states[desk["terminated"] | desk["truncated"] | ~desk["valid"]] = 0
        self._step += 1
        return self._whole() if self._step == self._length else None

    def newest(self) -> Tensor:
        """What the next actions are for [B, D]."""
        return self._observations[self._step]

    def decided(self, question: int, actions: Tensor, behaviour: Tensor, states: Tensor, version: int) -> None:
        """The actions that were sent, and what they were drawn from."""
        self._question = question
        self.states.copy_(states)
        step = self._step % self._length
        if step == 0:
            self._pending = actions, behaviour, version
            if self._step == 0:
                self._store(0, *self._pending)
                self._version = version
            return
        self._store(step, actions, behaviour, version)
        self._version = min(self._version, version)

    def _store(self, step: int, actions: Tensor, behaviour: Tensor, unused_version: int) -> None:
        self._actions[step].copy_(actions)
        self._behaviour[step].copy_(behaviour)

    def _begin(self, observations: Tensor) -> None:
        self._observations[0].copy_(observations)
        if self._step == self._length:  # the actions on its last observation are the first of the next
            self._store(0, *self._pending)
            self._version = self._pending[2]
        self._step, self._last = 0, []

    def _whole(self) -> Trajectory:
        size = self._observations.shape[2:]
        return Trajectory(
            observations=self._observations,
            actions=self._actions,
            rewards=self._rewards,
            terminated=self._ends[0],
            truncated=self._ends[1],
            valid=self._ends[2],
            last_observations=torch.cat([each for each, _ in self._last])
            if self._last
            else torch.zeros((0, *size), dtype=self._observations.dtype),
            last_index=torch.cat([index for _, index in self._last])
            if self._last
            else torch.zeros(0, dtype=torch.int64),
            behaviour=self._behaviour,
            version=self._version,
        )
