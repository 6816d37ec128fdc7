"""Trajectories put together from single steps that arrive one by one: one stream for each group of environments."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.acting.burn_in import BurnIn
from marl.data.layout import Layout, Tree, Values, is_empty, joined, mapped, put, steps
from marl.data.trajectory import Trajectory, trajectory_tree
from marl.networks.contract import Acts, State, renewed, state_tree

Array = npt.NDArray[Any]


class Answered(NamedTuple):
    """What one group's environments answered to the actions that were sent last."""

    question: int  # counts them, one by one
    first: bool  # a worker has just begun: nothing was sent
    observations: Values  # [B, D]  as the network sees them
    rewards: Array  # [B]
    ends: Array  # [3, B]  terminated, truncated, valid
    last_observations: Values  # [K, D]  see ``Trajectory``
    last_index: Array  # [K]  of which environments


class Stream:
    """One group's steps; ``take`` what environments answer, then say with ``decided`` what they do next."""

    def __init__(
        self,
        *,
        length: int,
        environments: int,
        observation: Tree,
        action: Tree,
        network: Acts,
        reward_scale: float,
        reward_clip: float | None = None,
        burn_in: BurnIn | None = None,
    ) -> None:
        """``network``: that decides, here only asked what it remembers."""
        self._burn_in = burn_in
        self._length, self._count, self._reward_scale = length, environments, reward_scale
        self._reward_clip = reward_clip
        tree = trajectory_tree(
            length=length,
            environments=environments,
            observation=observation,
            action=action,
            num_parameters=network.distribution.num_parameters,
            max_last=0,
            state=state_tree(network),
        )
        self._whole = Trajectory(**mapped(torch.from_numpy, Layout(tree).new()), version=0)
        # The same memory as numpy sees it: a step copies a dozen small arrays.
        self._observations = steps(mapped(Tensor.numpy, self._whole.observations))
        self._rewards = self._whole.rewards.numpy()
        self._actions, self._behaviour = self._whole.actions.numpy(), self._whole.behaviour.numpy()
        self._ends = [each.numpy() for each in (self._whole.terminated, self._whole.truncated, self._whole.valid)]
        with torch.inference_mode():
            self._initial = network.initial_state(environments)
        self._state: State = self._initial  # what the network remembers
        self._remembers = not is_empty(self._initial)
        self._last: list[tuple[Values, Array]] = []
        self._step = 0
        self._question: int | None = None  # the one whose actions are decided
        self._first: tuple[Array, Array, int, State] | None = None  # decided for the first step of the next trajectory
        self._version = 0

    def follows(self, answered: Answered) -> bool:
        """Whether this is the answer to what was decided last; otherwise a worker or a conversation is new."""
        return not answered.first and self._question is not None and answered.question == self._question + 1

    def take(self, answered: Answered) -> Trajectory | None:
        """A step's answers; a trajectory once ``length`` of them are there, in memory that the next one overwrites.

        A step that does not follow starts a new trajectory from the initial state; the steps so far are dropped.
        """
        if not self.follows(answered):
            self._question, self._step, self._last, self._first = None, 0, [], None
            put(self._observations[0], answered.observations)
            self._state = self._initial
            if self._burn_in is not None:
                self._burn_in.forget()
            return None
        self._question = None  # no answer is taken twice
        if self._step == self._length:  # the actions on the last observation are the first of the next trajectory
            assert self._first is not None
            put(self._observations[0], self._observations[self._length])
            self._step, self._last = 0, []
            self._store(*self._first)
        step = self._step
        earned = answered.rewards
        if self._reward_clip is not None:
            earned = np.clip(earned, -self._reward_clip, self._reward_clip)
        np.multiply(earned, self._reward_scale, out=self._rewards[step], casting="unsafe")
        for kept, came in zip(self._ends, answered.ends, strict=True):
            kept[step] = came
        if len(answered.last_index):
            # Copies: what came lies in memory that is used again.
            self._last.append((mapped(np.copy, answered.last_observations), answered.last_index + step * self._count))
        put(self._observations[step + 1], answered.observations)
        if self._remembers:  # an episode begins with the initial state: after an end, and after a reset's own step
            fresh = torch.from_numpy(np.array(answered.ends[0] | answered.ends[1] | (answered.ends[2] ^ 1), bool))
            self._state = renewed(self._state, fresh, self._initial)
        self._step += 1
        return self._trajectory() if self._step == self._length else None

    def newest(self) -> Values:
        """What the next actions are for [B, D]."""
        return self._observations[self._step]

    def state(self) -> State:
        """What the network remembers of each environment [B, ...]."""
        return self._state

    def decided(self, question: int, actions: Array, behaviour: Array, state: State, version: int) -> None:
        """The actions that were sent, what they were drawn from, and what the network remembers since."""
        self._question = question
        before, self._state = self._state, state
        if self._step == self._length:
            self._first = actions, behaviour, version, before
        else:
            self._store(actions, behaviour, version, before)

    def _store(self, actions: Array, behaviour: Array, version: int, before: State) -> None:
        self._actions[self._step] = actions
        self._behaviour[self._step] = behaviour
        if self._remembers and self._step == 0:
            mapped(Tensor.copy_, self._whole.state, before)
        self._version = version if self._step == 0 else min(self._version, version)

    def _trajectory(self) -> Trajectory:
        whole = self._whole._replace(version=self._version)
        if self._last:
            whole = whole._replace(
                last_observations=mapped(torch.from_numpy, joined([each for each, _ in self._last])),
                last_index=torch.from_numpy(np.concatenate([index for _, index in self._last])),
            )
        return whole if self._burn_in is None else self._burn_in.lengthened(whole)
