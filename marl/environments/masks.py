"""Which actions are allowed: a mask that an environment shows, as an entry of its observations or in ``info``."""

from collections.abc import Collection
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces as gym_spaces

from marl.data.layout import leaves
from marl.data.spaces import MASK, OBSERVATION, Part, Parts, Spaces, mask_sizes
from marl.errors import EnvironmentFault, SpaceFault
from marl.words import printable

Array = npt.NDArray[Any]
AUTO, INFO, NONE = "auto", "info", "none"  # of ``environment.mask``; or the name of an entry
OPT_OUT = f'set environment.mask = "{NONE}"'  # ends the lines of what is no mask


class FromInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows ``info["action_mask"]`` as an entry of the observation."""

    def __init__(self, environment: gymnasium.Env[Any, Any], name: str) -> None:
        super().__init__(environment)
        self._name, self._size = name, _mask_size(environment.action_space, name)
        self._steps = 0  # of the episode
        seen = environment.observation_space
        self._is_dict = isinstance(seen, gym_spaces.Dict)
        inner: dict[str, Any] = dict(seen.spaces) if isinstance(seen, gym_spaces.Dict) else {OBSERVATION: seen}
        self.observation_space = gym_spaces.Dict({**inner, MASK: gym_spaces.MultiBinary(self._size)})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See ``gymnasium.Env``."""
        self._steps = 0
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(observation, info), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See ``gymnasium.Env``."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        return self._with_mask(observation, info), reward, terminated, truncated, info

    def _with_mask(self, observation: Any, info: dict[str, Any]) -> dict[str, Any]:
        when = f"after step {self._steps} of an episode" if self._steps else "at a reset"
        if MASK not in info:
            raise SpaceFault(
                f"{self._name}: environment.mask = 'info' expects info['{MASK}'], got {_entries(info)} {when}: add it "
                f"at every reset and step, or {OPT_OUT}"
            )
        mask = np.concatenate([np.ravel(each) for each in _rows(info[MASK])]).astype(np.int8)
        if mask.shape != (self._size,):
            raise SpaceFault(
                f"{self._name}: info['{MASK}'] has {_numbers(mask.size)} {when}, expected {self._size}, one for each "
                f"category of the actions: mend it, or {OPT_OUT}"
            )
        return {**(observation if self._is_dict else {OBSERVATION: observation}), MASK: mask}


def _rows(mask: Any) -> list[Any]:
    """gymnasium's masks of a MultiDiscrete are tuples of arrays."""
    return list(mask) if isinstance(mask, tuple | list) else [mask]


def _entries(info: dict[str, Any]) -> str:
    return f"entries {printable(str(sorted(map(str, info))), 200)}" if info else "an empty info"


def _mask_size(action: gym_spaces.Space[Any], name: str) -> int:
    match action:
        case gym_spaces.Discrete():
            return int(action.n)
        case gym_spaces.MultiDiscrete():
            return int(action.nvec.sum())
    raise SpaceFault(
        f"{name}: environment.mask = 'info' expects actions that are Discrete or MultiDiscrete, got {action}"
    )


def size_in(info: Any) -> int | None:
    """How many numbers the mask in ``info`` has; None where there is none."""
    return sum(np.size(each) for each in _rows(info[MASK])) if isinstance(info, dict) and MASK in info else None


def why_unused(action: gym_spaces.Space[Any], sizes: Collection[int | None]) -> str:
    """Why masks in ``info`` cannot be used, in one line; "" where they can, or there are none.

    Args:
        sizes: see ``size_in``, of every ``info`` that was seen.
    """
    found = [each for each in sizes if each is not None]
    if not found:
        return ""
    if not isinstance(action, gym_spaces.Discrete | gym_spaces.MultiDiscrete):
        return f"info['{MASK}'] is not used: actions are {type(action).__name__}, not Discrete or MultiDiscrete"
    expected = _mask_size(action, "")
    if odd := [each for each in found if each != expected]:
        return (
            f"info['{MASK}'] is not used: it has {_numbers(odd[0])}, expected {expected}, one for each category of the "
            "actions"
        )
    return f"info['{MASK}'] is not used: some steps have none" if None in sizes else ""


def marked(seen: Parts, acts: Parts, mask: str) -> Parts:
    """The tree of observations with the mask marked as such.

    Args:
        mask: see ``environment.mask``.

    Raises:
        SpaceFault: there is no such entry, or it does not fit the actions.
    """
    size = sum(mask_sizes(acts))
    name = MASK if mask in (AUTO, INFO) else mask
    entry = seen.get(name) if isinstance(seen, dict) else None
    if mask == NONE or (mask == AUTO and (entry is None or not size)):
        return seen
    said = f"observation {printable(name)}" if mask == AUTO else f"environment.mask = {mask!r}: the entry {name!r}"
    if not size:
        raise SpaceFault(
            f"environment.mask = {mask!r} expects actions that have categories, such as Discrete, got "
            f"{Spaces(seen, acts).action_words}: leave it out"
        )
    if entry is None:
        got = f"entries {sorted(seen)}" if isinstance(seen, dict) else "one that is no Dict"
        raise SpaceFault(
            f"environment.mask = {mask!r} expects an observation with an entry {name!r} of {size} numbers, one for "
            f"each category of the actions, got {printable(got)}: name an entry, or {OPT_OUT}"
        )
    if not isinstance(entry, Part) or entry.shape != (size,):
        raise SpaceFault(
            f"{said} {_size_in_words(entry)}, expected {_numbers(size)}, one for each category of the actions: mend "
            f"it, or {OPT_OUT}"
        )
    if len(seen) == 1:
        raise SpaceFault(f"{said} is all there is to see, expected other entries beside it: add one, or {OPT_OUT}")
    return {**seen, name: Part((size,), "int32", (2,) * size, (0,) * size, mask=True)}


def _size_in_words(entry: Parts) -> str:
    if isinstance(entry, dict) or type(entry) is tuple:
        return f"is a {'Dict' if isinstance(entry, dict) else 'Tuple'} of {len(entry)} entries"
    return f"has {_numbers(entry.size)}" if len(entry.shape) == 1 else f"has the shape {entry.shape}"


def _numbers(count: int) -> str:
    return f"{count} number{'s' * (count != 1)}"


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
