"""Many environments behind one face that hides how each vector resets its ended episodes.

gymnasium names three ways (``metadata["autoreset_mode"]``). NEXT_STEP: the step after an end is a reset and no
transition. SAME_STEP: the observation after an end already belongs to the next episode, the true last one lies in
``info``. DISABLED: the caller resets. Learning needs to know two things in each: which steps are transitions, and
from which observation a cut episode bootstraps.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from marl.data.layout import Layout, Leaf, Values, at, batched, leaves, mapped, named
from marl.data.spaces import Part, Spaces, as_held
from marl.environments.actions import action_mapping
from marl.environments.closing import close_all
from marl.environments.describe import describe, space_words
from marl.environments.make import make_vector
from marl.environments.masks import AUTO, Legality
from marl.environments.numbers import NUMBERS, WHOLE, answers_of, category_fault, fault_of, kind_fault, part_fault
from marl.environments.outside import Outside
from marl.environments.serial import misfit
from marl.environments.settings import EnvironmentSettings
from marl.environments.worlds.frames import with_frames
from marl.environments.worlds.limits import is_limited
from marl.errors import EnvironmentFault, MarlError, SpaceFault
from marl.words import place

Array = npt.NDArray[Any]


class Step(NamedTuple):
    """What B environments answer to B actions."""

    observations: Values  # [B, ...]  what the policy sees next: an array, or a tree of arrays
    rewards: Array  # [B]
    terminated: Array  # [B]
    truncated: Array  # [B]
    valid: Array  # [B]  False where this step was a reset
    last_observations: Values  # [K, ...]  true last observations of truncated episodes, where `observations` hides them
    last_index: Array  # [K]  of which environments


class Environments:
    """B environments of one kind; counts the seconds spent in their ``step``."""

    def __init__(
        self, vector: VectorEnv[Any, Any, Any], name: str, ignore: Sequence[str] = (), mask: str = AUTO
    ) -> None:
        """``ignore`` and ``mask``: see ``describe``."""
        self.name = name
        self.count = vector.num_envs
        self.spaces: Spaces = describe(vector.single_observation_space, vector.single_action_space, ignore, mask)
        parts = self.spaces.observations
        self._is_measured = isinstance(parts, Part) and not parts.categories  # as most: nothing to look at in each step
        self.seconds = 0.0
        self.is_limited = False  # whether an episode surely ends by itself
        self.outside = Outside(vector.single_observation_space, parts, name)
        self._vector = vector
        mode = vector.metadata.get("autoreset_mode")
        try:
            self._mode = mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
        except ValueError:
            raise SpaceFault(
                f"{name}: expected metadata['autoreset_mode'] to be one of gymnasium's AutoresetMode, got {mode!r}"
            ) from None
        self._resets_next = np.zeros(self.count, bool)  # ended at the last step; only used with NEXT_STEP
        self._all_valid = np.ones(self.count, bool)
        self._raw = self.spaces.raw
        self._is_one = isinstance(self._raw, Leaf)
        self._shapes = mapped(lambda leaf: (self.count, *leaf.shape), self._raw)
        self._none = Layout(batched(self._raw, 0)).new(), np.zeros(0, np.int64)
        self._to_action = action_mapping(self.spaces)
        self._legality = None if self.spaces.mask is None else Legality(self.spaces, name, self.count)

    def reset(self, seeds: list[int] | None = None) -> Values:
        """Start a new episode in each environment, from its seed or its own next random numbers; observations [B, ...].

        Raises:
            EnvironmentFault: the environment raised.
        """
        self._begin(self._all_valid)
        seed: Any = seeds if seeds is None or isinstance(self._vector.unwrapped, SyncVectorEnv) else seeds[0]
        try:
            observations = self._seen(self._vector.reset(seed=seed)[0])
        except (Exception, SystemExit) as error:
            raise self._fault("reset", error) from error
        self._resets_next = np.zeros(self.count, bool)
        self.demand_shape(observations)
        if self._legality is not None:
            self._legality.demand(observations, self._all_valid)
        return observations

    def step(self, actions: Array) -> Step:
        """Act in all environments; ``actions`` as the policy drew them, [B] or [B, A].

        Raises:
            EnvironmentFault: the environment raised, or answered in another shape than it declares.
        """
        if self._legality is not None:
            self._legality.count(self._resets_next)
        start = time.perf_counter()
        try:
            observations, rewards, terminated, truncated, info = self._vector.step(self._to_action(actions))
        except (Exception, SystemExit) as error:
            raise self._fault("step", error) from error
        self.seconds += time.perf_counter() - start
        try:
            rewards, terminated, truncated = answers_of(rewards, terminated, truncated, self.count)
        except ValueError as error:
            raise SpaceFault(self._unusable(str(error))) from None
        ended, last, valid = terminated | truncated, self._none, self._all_valid
        if self._mode is AutoresetMode.NEXT_STEP:
            observations = self._seen(observations)
            valid, self._resets_next = ~self._resets_next, ended
        elif self._mode is AutoresetMode.SAME_STEP:
            cut = np.flatnonzero(truncated & ~terminated)
            last = self._final_observations(info, cut), cut
            self._begin(ended)
            observations = self._seen(observations)
        else:
            observations = self._seen(observations)
            if ended.any():
                cut = np.flatnonzero(truncated & ~terminated)
                last = mapped(lambda each: np.array(each[cut], copy=True), observations), cut
                observations = self._restart(ended)
        if self._legality is not None:
            self._legality.demand(observations, ~self._resets_next)
        return Step(observations, rewards, terminated, truncated, valid, *last)

    def _seen(self, observations: Values) -> Values:
        """Observations [B, ...] as they are held; of a tree or of categories, once they fit the declared space."""
        if self._is_measured:
            return observations
        parts = self.spaces.observations
        try:
            held = as_held(parts, observations)
        except (TypeError, ValueError):  # texts where numbers belong, or another shape
            held = observations
        if self._legality is not None:
            held = self._legality.taken(held)
        self.demand_shape(held)
        for (path, numbers), part in zip(named(parts, held), leaves(parts), strict=True):
            if (
                part.categories
                and not part.mask
                and (fault := category_fault(place("observation", path), part, np.asarray(numbers)))
            ):
                self.refuse_number(fault)
        return held

    def close(self) -> None:
        """Release what the environments hold."""
        close_all([self._vector], self.name)

    def _restart(self, ended: Array) -> Values:
        self._begin(ended)
        try:
            return self._seen(self._vector.reset(options={"reset_mask": ended})[0])
        except (Exception, SystemExit) as error:
            raise self._fault("reset", error) from error

    def _begin(self, begun: Array) -> None:
        if self._legality is not None:
            self._legality.begin(begun)

    def _final_observations(self, info: dict[str, Any], cut: Array) -> Values:
        if not len(cut):
            return self._none[0]
        final = info.get("final_obs", info.get("final_observation"))
        if final is None:
            raise SpaceFault(
                f"{self.name} resets within the step but gives no info['final_obs']: "
                "a cut episode cannot be bootstrapped"
            )
        each_of = at if isinstance(final, dict | tuple) else lambda values, index: values[index]
        parts = self.spaces.observations
        observations = [as_held(parts, each_of(final, index)) for index in cut]
        if self._legality is not None:
            observations = [self._legality.taken_of(*pair) for pair in zip(cut.tolist(), observations, strict=True)]
        for each in observations:
            self.demand_shape(mapped(lambda value: np.broadcast_to(value, (self.count, *np.shape(value))), each))
        return mapped(lambda unused_leaf, *each: np.stack(each), self._raw, *observations)

    def demand_shape(self, observations: Values) -> None:
        """Whether observations [B, ...] have the shape that the space declares, and hold numbers.

        Raises:
            SpaceFault: they do not.
        """
        if (
            self._is_measured
            and type(observations) is np.ndarray  # the usual case, once a step
            and observations.shape == self._shapes
            and observations.dtype.kind in NUMBERS
        ):
            return
        try:
            fits = mapped(_shape, self._raw, observations) == self._shapes
        except ValueError:  # a tree of another structure
            fits = False
        if not fits:
            raise SpaceFault(
                f"{self.name}: expected observations of shape {self._shapes} as its space declares, got "
                f"{_shapes_of(observations)}: mend the environment (`marl check {self.name}` says more)"
            )
        parts = self.spaces.observations
        for (path, numbers), part in zip(named(parts, observations), leaves(parts), strict=True):
            kinds = WHOLE if part.categories else NUMBERS
            if fault := kind_fault(f"observation {path}".rstrip(), np.asarray(numbers), kinds):
                raise SpaceFault(self._unusable(fault))

    def demand_numbers(self, name: str, values: Values) -> None:
        """Whether observations, as they came, can be learned from.

        Args:
            name: begins the text of a refusal.

        Raises:
            EnvironmentFault: they cannot.
        """
        if self._is_measured:
            if fault := fault_of(name, values):
                self.refuse_number(fault)
            return
        for part, (path, numbers) in zip(leaves(self.spaces.observations), named(self._raw, values), strict=True):
            where = name if self._is_one else place(name, path)
            if fault := part_fault(where, part, numbers):
                self.refuse_number(fault)

    def refuse_number(self, fault: str) -> NoReturn:
        """Say why an observation or a reward is no number to learn from.

        Raises:
            EnvironmentFault: always.
        """
        raise EnvironmentFault(self._unusable(fault))

    def _unusable(self, fault: str) -> str:
        return (
            f"{self.name} cannot be learned from: {fault}: mend the environment (`marl check {self.name}` shows where)"
        )

    def _fault(self, where: str, error: BaseException) -> MarlError:
        if isinstance(error, MarlError):
            return error
        inner = self._vector.unwrapped
        if self._legality is not None:
            if self._mode is AutoresetMode.SAME_STEP and isinstance(inner, SyncVectorEnv):
                self._legality.begin(inner._terminations | inner._truncations)
            if (fault := self._legality.misfit(inner, error)) is not None:
                return fault
        if (came := misfit(inner, error)) is not None:
            return SpaceFault(
                f"{self.name}: expected observations of {space_words(inner.single_observation_space)}, got "
                f"{came}: mend the environment (`marl check {self.name}` says more)"
            )
        return EnvironmentFault(
            f"{self.name} raised {type(error).__name__} in {where}: {error} (`marl check {self.name}` tries it alone)"
        )


def _shapes_of(observations: Values) -> Any:
    """In words, whatever they are."""
    try:
        return mapped(np.shape, observations)
    except ValueError:  # lists of different lengths
        return type(observations).__name__


def _shape(unused_leaf: Leaf, value: Any) -> tuple[int, ...]:
    return np.shape(value)


def make_environments(settings: EnvironmentSettings, count: int, *, training: bool = False) -> Environments:
    """``count`` environments as the settings name them.

    Raises:
        EnvironmentFault, MissingExtra: as for ``make_vector``.
    """
    vector = make_vector(settings, count, training=training)
    try:
        environments = Environments(vector, settings.id, settings.ignore, settings.mask)
        environments.spaces = with_frames(environments.spaces, settings, vector)
        environments.is_limited = is_limited(settings, vector)
        return environments
    except BaseException as error:
        close_all([vector], settings.id)
        if isinstance(error, MarlError) or not isinstance(error, Exception):
            raise
        raise EnvironmentFault(  # a vector of the user's own that lacks what gymnasium's have
            f"{settings.id} does not start: {type(error).__name__}: {error}"
        ) from error
