"""Play T steps in B environments into memory that exists already."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.data.layout import Layout, Values, at, batched, flattened, is_empty, joined, mapped, put, steps
from marl.data.normalizer import Normalizer, RunningStatistics, statistics_of
from marl.data.preprocess import Preprocess
from marl.data.trajectory import Trajectory, trajectory_tree
from marl.environments.numbers import fault_of
from marl.environments.vector import Environments, Step
from marl.errors import EnvironmentFault
from marl.networks.contract import Acts, State, renewed
from marl.networks.sampling import OnPolicy, Sampler


class Episodes(NamedTuple):
    """What was played in one trajectory: the episodes that ended in it, and how much work it was."""

    returns: npt.NDArray[np.float64]  # [E], un-normalised
    lengths: npt.NDArray[np.int64]  # [E]
    steps: int  # environment steps of the trajectory: its transitions without resets
    seconds: float  # inside the environments' own ``step``
    outside: int = 0  # observations outside the bounds of their space
    first_outside: str = ""  # the first of all, in words


class Collector:
    """Plays on where the last trajectory stopped; each ``collect`` overwrites the trajectory before it."""

    def __init__(
        self,
        environments: Environments,
        *,
        length: int,
        discount: float,
        reward_scale: float,
        reward_clip: float | None = None,
        generator: torch.Generator,
        seeds: list[int],
        sampler: Sampler | None = None,
    ) -> None:
        """``sampler``: how to act; None: as the policy says."""
        count, spaces = environments.count, environments.spaces
        self._environments = environments
        self._sampler, self._generator = sampler, generator
        self._reward_scale, self._reward_clip = reward_scale, reward_clip
        self._discount = discount
        self._length = length
        self._returns = np.zeros(count)
        self._lengths = np.zeros(count, np.int64)
        self._discounted = np.zeros(count)
        self._spaces, self._observation = spaces, spaces.raw
        self._raw = Layout(batched(spaces.raw, length + 1, count)).new()
        self._raw_steps = steps(self._raw)
        self._flat = flattened(spaces.raw, self._raw)
        self._flat_steps = steps(self._flat)
        self._new = at(self._flat, slice(1, None))  # all but the first, which belongs to the trajectory before, too
        self._preprocess = Preprocess(spaces)
        tree = trajectory_tree(
            length=length,
            environments=count,
            observation=(),  # see ``_places``
            action=spaces.action,
            num_parameters=0,  # the network's, and so are its tensors
            max_last=0,
        )
        whole = Layout(tree).new()
        self._whole = Trajectory(**mapped(torch.from_numpy, whole), version=0)
        self._seen: Values = None  # normalised or narrowed; not used where nothing is
        self._normalized = False
        self._actions, self._rewards = whole["actions"], whole["rewards"]
        self._ends = whole["terminated"], whole["truncated"], whole["valid"]
        self._ends[2][:] = True
        self._answered = np.zeros((length, count))  # rewards, as they came
        self._discounted_returns = np.zeros((length, count))
        self.reset(seeds)

    def reset(self, seeds: list[int]) -> None:
        """Start a new episode in every environment; episodes under way are dropped."""
        put(self._raw_steps[self._length], self._environments.reset(seeds))
        self._state: State | None = None  # what the network remembers; None: every episode is about to begin
        self._returns[:] = self._lengths[:] = self._discounted[:] = 0

    def collect(self, network: Acts, normalizer: Normalizer | None, version: int) -> tuple[Trajectory, Episodes]:
        """The next T steps, and the episodes that ended in them.

        Raises:
            EnvironmentFault: the environment raised, or answered with another shape or with a number that is not
            finite, or too large for float32.
        """
        length = self._length
        as_they_are = normalizer is None and self._preprocess.changes_nothing
        seen = self._flat if as_they_are else self._places(normalized=normalizer is not None)
        inputs = steps(mapped(torch.from_numpy, seen))
        terminated, truncated, valid = self._ends
        sampler = self._sampler or OnPolicy(network.distribution)
        noise = sampler.noise((length, self._environments.count), self._generator)
        behaviour: list[Tensor] = []
        last: list[tuple[Values, npt.NDArray[np.int64]]] = []
        returns: list[npt.NDArray[np.float64]] = []
        lengths: list[npt.NDArray[np.int64]] = []
        put(self._raw_steps[0], self._raw_steps[length])
        outside = self._environments.outside
        before = self._environments.seconds, outside.count
        decide = network.step
        with torch.inference_mode(), np.errstate(over="ignore"):  # what does not fit is refused below
            initial = network.initial_state(self._environments.count)
            state = first = initial if self._state is None else self._state
            remembers = not is_empty(initial)
            for step, draws in enumerate(noise.unbind()):
                if not as_they_are:
                    put(self._seen_steps[step], self._preprocess(self._flat_steps[step], normalizer))
                parameters, _, state = decide(inputs[step], state)
                drawn, acted = sampler.act(parameters, draws)
                behaviour.append(acted)
                actions = drawn.numpy()
                answer = self._step(actions)
                self._actions[step] = actions
                self._store(step, answer.observations)
                self._answered[step] = answer.rewards
                terminated[step], truncated[step], valid[step] = (
                    answer.terminated,
                    answer.truncated,
                    answer.valid,
                )
                self._returns += answer.rewards
                self._lengths += answer.valid
                ended = answer.terminated | answer.truncated
                if ended.any():
                    returns.append(self._returns[ended])
                    lengths.append(self._lengths[ended])
                    self._returns[ended] = 0
                    self._lengths[ended] = 0
                if remembers:  # in a reset's own step nothing of the episode before is to be left, either
                    fresh = ended | ~answer.valid
                    state = renewed(state, torch.from_numpy(fresh), initial) if fresh.any() else state
                if len(answer.last_index):
                    last.append((answer.last_observations, answer.last_index + step * self._environments.count))
            if not as_they_are:
                put(self._seen_steps[length], self._preprocess(self._flat_steps[length], normalizer))
        self._state = state
        self._check([observations for observations, _ in last])
        outside.look(self._new)
        self._rewards[:] = self._answered
        if self._reward_clip is not None:
            np.clip(self._rewards, -self._reward_clip, self._reward_clip, out=self._rewards)
        trajectory = self._trajectory(seen, torch.stack(behaviour), last, normalizer, version)
        if remembers:
            trajectory = trajectory._replace(state=mapped(Tensor.clone, first))  # of which a gradient may be taken
        return trajectory, Episodes(
            np.concatenate(returns) if returns else np.zeros(0),
            np.concatenate(lengths) if lengths else np.zeros(0, np.int64),
            int(np.count_nonzero(valid)),
            self._environments.seconds - before[0],
            outside.count - before[1],
            outside.first,
        )

    def observation_statistics(self) -> RunningStatistics:
        """Statistics of the raw observations of the last trajectory."""
        numbers = self._preprocess.numbers(self._new)
        return statistics_of(numbers.reshape(-1, numbers.shape[-1]))

    def reward_statistics(self) -> RunningStatistics:
        """Statistics of the discounted return so far, of every transition of the last trajectory [1]."""
        running, ended = self._discounted, self._ends[0] | self._ends[1]
        for step in range(self._length):
            running = running * self._discount + self._rewards[step]
            self._discounted_returns[step] = running
            running = running * ~ended[step]
        self._discounted = running
        return statistics_of(self._discounted_returns[self._ends[2]].reshape(-1, 1))

    def scale_rewards(self, scale: float) -> None:
        """Multiply the rewards of the last trajectory, which share its memory."""
        self._rewards *= scale * self._reward_scale

    def _places(self, *, normalized: bool) -> Values:
        """Where observations lie as the network sees them [T + 1, B, D]."""
        if self._seen is None or normalized != self._normalized:
            observation = self._spaces.observation(normalized=normalized)
            self._seen = Layout(batched(observation, self._length + 1, self._environments.count)).new()
            self._seen_steps, self._normalized = steps(self._seen), normalized
        return self._seen

    def _step(self, actions: npt.NDArray[Any]) -> Step:
        try:
            return self._environments.step(actions)
        except EnvironmentFault:
            self._check([])  # it may have raised over an action that came of a number which is none
            raise

    def _store(self, step: int, observations: Values) -> None:
        self._environments.demand_shape(observations)  # numpy would spread a smaller one over the whole place
        put(self._raw_steps[step + 1], observations)

    def _check(self, last: list[Values]) -> None:
        """One pass a trajectory rather than one a step; nothing was learned from it yet."""
        self._environments.demand_numbers("observation", self._raw)
        if fault := fault_of("reward", self._answered):
            self._environments.refuse_number(fault)
        for each in last:
            self._environments.demand_numbers("last observation", each)

    def _trajectory(
        self,
        seen: Values,
        behaviour: Tensor,
        last: list[tuple[Values, npt.NDArray[np.int64]]],
        normalizer: Normalizer | None,
        version: int,
    ) -> Trajectory:
        last_observations, last_index = at(seen, (0, slice(0))), np.zeros(0, np.int64)
        if last:
            flat = self._rows(joined([part for part, _ in last]), sum(len(index) for _, index in last))
            self._environments.outside.look(flat)
            last_observations = self._preprocess(flat, normalizer)
            last_index = np.concatenate([index for _, index in last])
        return self._whole._replace(
            observations=mapped(torch.from_numpy, seen),
            last_observations=mapped(torch.from_numpy, last_observations),
            last_index=torch.from_numpy(last_index),
            behaviour=behaviour,
            version=version,
        )

    def _rows(self, observations: Values, count: int) -> Values:
        """Observations [K, ...] as they are held [K, D]."""
        layout = Layout(batched(self._observation, count))
        memory = np.empty(layout.num_bytes, np.uint8)
        layout.pack(observations, memory)
        return flattened(self._observation, layout.open(memory))
