"""A trained policy on its own: observations in, actions out, normaliser included."""

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marl.data.layout import Leaf, Values, at, dtype_name, flattened, is_empty, leaves, mapped, named, num_rows
from marl.data.normalizer import Normalizer, RunningStatistics
from marl.data.preprocess import Preprocess
from marl.data.spaces import Part, Spaces, as_held
from marl.environments.actions import action_mapping
from marl.environments.masks import Legality
from marl.environments.numbers import part_fault
from marl.errors import EnvironmentFault
from marl.networks.contract import Acts, State, renewed
from marl.words import place


class Policy:
    """What ``load("weights.pt")`` gives: ``act`` for one observation or many.

    A policy that remembers takes the observations of the same environments, step by step; ``reset`` where an episode
    begins.
    """

    def __init__(
        self, network: Acts, spaces: Spaces, statistics: RunningStatistics | None, info: dict[str, Any]
    ) -> None:
        self.network = network
        self.spaces = spaces
        self.info = info  # environment, network settings, how it was trained
        self.normalizer: Normalizer | None = None
        if statistics is not None:
            self.normalizer = Normalizer(spaces.measured_size)
            self.normalizer.use(statistics)
        self._preprocess = Preprocess(spaces)
        self._legality = None if spaces.mask is None else Legality(spaces, "the policy")
        self.reset()

    def reset(self, ended: npt.ArrayLike | None = None) -> None:
        """Forget what is remembered: of all environments, or of those whose episode has ended [N]."""
        if ended is None:
            self._state: State | None = None
            self._rows = 0
        elif self._state is not None and not is_empty(self._state):
            with torch.inference_mode():
                fresh = torch.from_numpy(np.asarray(ended, bool))
                self._state = renewed(self._state, fresh, self.network.initial_state(self._rows))

    def act(self, observation: Values, *, greedy: bool = True, generator: torch.Generator | None = None) -> Values:
        """Actions for observations [*shape] or [N, *shape], as the environment's ``step`` takes them.

        Args:
            observation: an array, or a tree of arrays where the space is one. Of many, one whose mask allows no action
                is taken for the last of an episode: its action means nothing.

        Raises:
            EnvironmentFault: the observation has another shape than the policy was trained on, or no such numbers; a
            single one allows no action; or a policy that remembers is shown more or fewer at once than before.
        """
        observations, single = self._many(observation)
        actions = action_mapping(self.spaces)(self.draw(observations, greedy=greedy, generator=generator))
        return at(actions, 0) if single else actions

    def draw(self, observations: Values, *, greedy: bool, generator: torch.Generator | None = None) -> npt.NDArray[Any]:
        """Actions [N, ...] before they are brought to the environment's range."""
        rows = flattened(self.spaces.raw, mapped(_as_held, self.spaces.raw, observations))
        seen = mapped(torch.from_numpy, self._preprocess(rows, self.normalizer))
        count, distribution = num_rows(seen), self.network.distribution
        with torch.inference_mode():
            parameters, _, self._state = self.network.step(seen, self._remembered(count))
            if greedy:
                return distribution.mode(parameters).numpy()
            noise = distribution.noise((count,), generator or torch.default_generator)
            return distribution.sample(parameters, noise).numpy()

    def _many(self, observation: Values) -> tuple[Values, bool]:
        """Observations in a row, and whether it was a single one."""
        shapes = mapped(lambda leaf: leaf.shape, self.spaces.raw)
        came: Any = f"{type(observation).__name__} of another structure"
        with contextlib.suppress(ValueError, TypeError):
            seen = as_held(self.spaces.observations, observation)
            arrays = mapped(_array, self.spaces.observations, seen)
            came = mapped(np.shape, arrays)
            single = came == shapes
            if single or mapped(lambda each: each.shape[1:], arrays) == shapes:
                self._demand_numbers(arrays)
                many = at(arrays, None) if single else arrays
                if single and self._legality is not None and not self._legality.allows(many).all():
                    raise EnvironmentFault(
                        f"expected {self.spaces.mask} to allow an action, got one that forbids all: reset the "
                        "environment where an episode has ended"
                    )
                return many, single
        raise EnvironmentFault(f"expected an observation of shape {shapes}, or many in a row, got {came}")

    def _demand_numbers(self, arrays: Values) -> None:
        parts = self.spaces.observations
        for (path, numbers), part in zip(named(parts, arrays), leaves(parts), strict=True):
            if fault := part_fault(place("observation", path), part, numbers):
                raise EnvironmentFault(fault)

    def _remembered(self, rows: int) -> State:
        if self._state is None:
            self._state, self._rows = self.network.initial_state(rows), rows
        if rows != self._rows and not is_empty(self._state):
            raise EnvironmentFault(
                f"expected {self._rows} observations as before, got {rows}: call reset() where other episodes begin"
            )
        return self._state


def _array(unused_part: Part, value: Any) -> npt.NDArray[Any]:
    return np.asarray(value)


def _as_held(leaf: Leaf, value: Any) -> npt.NDArray[Any]:
    return np.asarray(value, dtype_name(leaf.dtype))
