"""Many environments behind one face that hides how each vector resets its ended episodes.

gymnasium names three ways (``metadata["autoreset_mode"]``). NEXT_STEP: the step after an end is a reset and no
transition. SAME_STEP: the observation after an end already belongs to the next episode, the true last one lies in
``info``. DISABLED: the caller resets. Learning needs to know two things in each: which steps are transitions, and
from which observation a cut episode bootstraps.
"""

import time
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from marl.data.spaces import Spaces, describe
from marl.environments.actions import action_mapping
from marl.environments.closing import close_all
from marl.environments.make import make_vector
from marl.environments.numbers import fault_of
from marl.environments.settings import EnvironmentSettings
from marl.errors import EnvironmentFault, MarlError

Array = npt.NDArray[Any]


class Step(NamedTuple):
    """What B environments answer to B actions."""

    observations: Array  # [B, ...]  what the policy sees next
    rewards: Array  # [B]
    terminated: Array  # [B]
    truncated: Array  # [B]
    valid: Array  # [B]  False where this step was a reset
    last_observations: Array  # [K, ...]  true last observations of truncated episodes, where `observations` hides them
    last_index: Array  # [K]  of which environments


class Environments:
    """B environments of one kind; counts the seconds spent in their ``step``."""

    def __init__(self, vector: VectorEnv[Any, Any, Any], name: str) -> None:
        self.name = name
        self.count = vector.num_envs
        self.spaces: Spaces = describe(vector.single_observation_space, vector.single_action_space)
        self.seconds = 0.0
        self._vector = vector
        mode = vector.metadata.get("autoreset_mode")
        try:
            self._mode = mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
        except ValueError:
            raise EnvironmentFault(
                f"{name}: expected metadata['autoreset_mode'] to be one of gymnasium's AutoresetMode, got {mode!r}"
            ) from None
        self._resets_next = np.zeros(self.count, bool)  # ended at the last step; only used with NEXT_STEP
        self._all_valid = np.ones(self.count, bool)
        self._none = np.zeros((0, *self.spaces.observation_shape), self.spaces.observation_dtype), np.zeros(0, np.int64)
        self._to_action = action_mapping(self.spaces)

    def reset(self, seeds: list[int] | None = None) -> Array:
        """Start a new episode in each environment, from its seed or its own next random numbers; observations [B, ...].

        Raises:
            EnvironmentFault: the environment raised.
        """
        seed: Any = seeds if seeds is None or isinstance(self._vector.unwrapped, SyncVectorEnv) else seeds[0]
        try:
            reset: tuple[Array, Any] = self._vector.reset(seed=seed)
        except (Exception, SystemExit) as error:
            raise self._fault("reset", error) from error
        self._resets_next = np.zeros(self.count, bool)
        observations = reset[0]
        if np.shape(observations) != (self.count, *self.spaces.observation_shape):
            self.refuse_shape(observations)
        return observations

    def step(self, actions: Array) -> Step:
        """Act in all environments; ``actions`` as the policy drew them, [B] or [B, A].

        Raises:
            EnvironmentFault: the environment raised, or answered in another shape than it declares.
        """
        start = time.perf_counter()
        try:
            observations, rewards, terminated, truncated, info = self._vector.step(self._to_action(actions))
        except (Exception, SystemExit) as error:
            raise self._fault("step", error) from error
        self.seconds += time.perf_counter() - start
        rewards = np.asarray(rewards)
        if rewards.shape != (self.count,) or rewards.dtype.kind not in "fiub":
            self.refuse_number(fault_of("reward", rewards) or f"rewards of shape {rewards.shape} for {self.count}")
        if self._mode is AutoresetMode.NEXT_STEP:
            valid = ~self._resets_next
            self._resets_next = terminated | truncated
            return Step(observations, rewards, terminated, truncated, valid, *self._none)
        ended = terminated | truncated
        last = self._none
        if ended.any():
            cut = np.flatnonzero(truncated & ~terminated)
            if self._mode is AutoresetMode.SAME_STEP:
                last = self._final_observations(info, cut), cut
            else:
                last = np.array(observations[cut], copy=True), cut
                observations = self._restart(ended)
        return Step(observations, rewards, terminated, truncated, self._all_valid, *last)

    def close(self) -> None:
        """Release what the environments hold."""
        close_all([self._vector], self.name)

    def _restart(self, ended: Array) -> Array:
        try:
            observations: Array = self._vector.reset(options={"reset_mask": ended})[0]
        except (Exception, SystemExit) as error:
            raise self._fault("reset", error) from error
        return observations

    def _final_observations(self, info: dict[str, Any], cut: Array) -> Array:
        if not len(cut):
            return self._none[0]
        final = info.get("final_obs", info.get("final_observation"))
        if final is None:
            raise EnvironmentFault(
                f"{self.name} resets within the step but gives no info['final_obs']: "
                "a cut episode cannot be bootstrapped"
            )
        observations = [np.asarray(final[index]) for index in cut]
        for observation in observations:
            if observation.shape != self.spaces.observation_shape:
                self.refuse_shape(np.broadcast_to(observation, (self.count, *observation.shape)))
        return np.stack(observations)

    def refuse_shape(self, observations: Any) -> NoReturn:
        """Say that observations do not fit the declared space.

        Raises:
            EnvironmentFault: always.
        """
        raise EnvironmentFault(
            f"{self.name}: expected observations of shape {(self.count, *self.spaces.observation_shape)} as its space "
            f"declares, got {np.shape(observations)}: mend the environment (`marl check {self.name}` says more)"
        )

    def refuse_number(self, fault: str) -> NoReturn:
        """Say why an observation or a reward is no number to learn from.

        Raises:
            EnvironmentFault: always.
        """
        raise EnvironmentFault(
            f"{self.name} cannot be learned from: {fault}: mend the environment (`marl check {self.name}` shows where)"
        )

    def _fault(self, where: str, error: BaseException) -> MarlError:
        if isinstance(error, MarlError):
            return error
        return EnvironmentFault(
            f"{self.name} raised {type(error).__name__} in {where}: {error} (`marl check {self.name}` tries it alone)"
        )


def make_environments(settings: EnvironmentSettings, count: int) -> Environments:
    """``count`` environments as the settings name them.

    Raises:
        EnvironmentFault, MissingExtra: as for ``make_vector``.
    """
    vector = make_vector(settings, count)
    try:
        return Environments(vector, settings.id)
    except BaseException:
        close_all([vector], settings.id)
        raise
