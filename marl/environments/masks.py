"""Which actions are allowed: a mask that an environment shows, as an entry of its observations or in ``info``."""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces as gym_spaces

from marl.data.layout import leaves
from marl.data.spaces import MASK, OBSERVATION, Part, Parts, Spaces, mask_sizes
from marl.errors import EnvironmentFault, SpaceFault

Array = npt.NDArray[Any]
AUTO, INFO, NONE = "auto", "info", "none"  # of ``environment.mask``; or the name of an entry


class FromInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows ``info["action_mask"]`` as an entry of the observation."""

    def __init__(self, environment: gymnasium.Env[Any, Any], name: str) -> None:
        super().__init__(environment)
        self._name, self._size = name, _mask_size(environment.action_space, name)
        seen = environment.observation_space
        self._is_dict = isinstance(seen, gym_spaces.Dict)
        inner: dict[str, Any] = dict(seen.spaces) if isinstance(seen, gym_spaces.Dict) else {OBSERVATION: seen}
        self.observation_space = gym_spaces.Dict({**inner, MASK: gym_spaces.MultiBinary(self._size)})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See ``gymnasium.Env``."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(observation, info), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See ``gymnasium.Env``."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_mask(observation, info), reward, terminated, truncated, info

    def _with_mask(self, observation: Any, info: dict[str, Any]) -> dict[str, Any]:
        if MASK not in info:
            raise EnvironmentFault(
                f"{self._name}: environment.mask = 'info' expects info['{MASK}'], got {sorted(info)}"
            )
        mask = np.concatenate([np.ravel(each) for each in _rows(info[MASK])]).astype(np.int8)
        if mask.shape != (self._size,):
            raise EnvironmentFault(
                f"{self._name}: expected info['{MASK}'] of {self._size} numbers, one for each action, got {mask.size}"
            )
        return {**(observation if self._is_dict else {OBSERVATION: observation}), MASK: mask}


def _rows(mask: Any) -> list[Any]:
    """gymnasium's masks of a MultiDiscrete are tuples of arrays."""
    return list(mask) if isinstance(mask, tuple) else [mask]


def _mask_size(action: gym_spaces.Space[Any], name: str) -> int:
    match action:
        case gym_spaces.Discrete():
            return int(action.n)
        case gym_spaces.MultiDiscrete():
            return int(action.nvec.sum())
    raise SpaceFault(
        f"{name}: environment.mask = 'info' expects actions that are Discrete or MultiDiscrete, got {action}"
    )


def marked(seen: Parts, acts: Parts, mask: str) -> Parts:
    """The tree of observations with the mask marked as such.

    Args:
        mask: see ``environment.mask``.

    Raises:
        SpaceFault: there is no such entry, or it does not fit the actions.
    """
    if mask == NONE:
        return seen
    name = MASK if mask in (AUTO, INFO) else mask
    entry = seen.get(name) if isinstance(seen, dict) else None
    sizes = mask_sizes(acts)
    fits = isinstance(entry, Part) and len(entry.shape) == 1 and entry.size == sum(sizes) and len(seen) > 1
    if fits:
        return {**seen, name: Part((sum(sizes),), "int32", (2,) * sum(sizes), (0,) * sum(sizes), mask=True)}
    if mask == AUTO:
        return seen
    got = f"entries {sorted(seen)}" if isinstance(seen, dict) else "one that is no Dict"
    raise SpaceFault(
        f"environment.mask = {mask!r}: expected an observation with an entry {name!r} of {sum(sizes)} numbers, one for "
        f"each category of an action, beside others, got {got if entry is None else entry}"
    )


def as_mask(numbers: Array) -> Array:
    """A mask as whole numbers, where it came as floats that are 0 or 1; whatever else as it is."""
    if numbers.dtype.kind == "f" and np.isin(numbers, (0.0, 1.0)).all():
        return numbers.astype(np.int8)
    return numbers


class Legality:
    """Looks whether each environment allows an action."""

    def __init__(self, spaces: Spaces, name: str) -> None:
        self._mask, self._name = spaces.mask, name
        self._starts = np.cumsum([0, *mask_sizes(spaces.actions)])[:-1]

    def demand(self, observations: Any, acting: Array, lengths: Array) -> None:
        """Refuse a mask that allows nothing where somebody has to act.

        Args:
            observations: [B, ...]
            acting: [B]  where this is so.
            lengths: [B]  steps of the episode so far.

        Raises:
            EnvironmentFault: there is one.
        """
        stuck = acting & ~self.allows(observations)
        if stuck.any():
            first = int(np.flatnonzero(stuck)[0])
            raise EnvironmentFault(
                f"{self._name}: the mask allows no action after step {int(lengths[first])} of an episode "
                f"(environment {first}): let it allow one, or end the episode there"
            )

    def allows(self, observations: Any) -> Array:
        """Whether an action is allowed [B], of observations [B, ...]."""
        legal = np.add.reduceat(np.asarray(observations[self._mask]), self._starts, axis=-1) > 0
        return np.asarray(legal.all(-1))


def legal_action(space: gym_spaces.Space[Any], spaces: Spaces, observation: Any) -> Any:
    """A random action [*shape] that the mask allows, where one can be drawn so."""
    if spaces.mask is None or not isinstance(space, gym_spaces.Discrete | gym_spaces.MultiDiscrete):
        return space.sample()
    mask = np.asarray(observation[spaces.mask]).astype(np.int8)
    if isinstance(space, gym_spaces.Discrete):
        return space.sample(mask)
    ends = np.cumsum(mask_sizes(spaces.actions))[:-1]
    return space.sample(tuple(np.split(mask, ends)))


def legal_actions(spaces: Spaces, observations: Any, drawn: Array, generator: np.random.Generator) -> Array:
    """Random actions [B, ...], as ``random_actions`` draws them, with categories that the masks allow."""
    if spaces.mask is None:
        return drawn
    masks = np.asarray(observations[spaces.mask])
    chances = masks + generator.random(masks.shape)
    ends = np.cumsum(mask_sizes(spaces.actions))[:-1]
    chosen = np.stack([each.argmax(-1) for each in np.split(chances, ends, axis=-1)], -1)
    if spaces.discrete:
        return chosen[:, 0]
    counted = np.array(
        [bool(count) for part in leaves(spaces.actions) for count in part.categories or (0,) * part.size]
    )
    drawn[:, counted] = chosen
    return drawn
