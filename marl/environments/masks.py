"""Which actions are allowed: a mask that an environment shows, as an entry of its observations or in ``info``."""

import contextlib
from collections.abc import Collection
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces as gym_spaces
from gymnasium.vector import VectorEnv

from marl.data.layout import leaves
from marl.data.spaces import MASK, OBSERVATION, Part, Parts, Spaces, mask_sizes
from marl.environments.numbers import EACH, as_mask, is_mask, numbers_in_words, whole_mask
from marl.environments.serial import shapes_in_process, shown_alone
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
        when = _when(self._steps)
        if MASK not in info:
            raise SpaceFault(
                f"{self._name}: environment.mask = 'info' expects info['{MASK}'], got {_entries(info)}{when}: add it "
                f"at every reset and step, or {OPT_OUT}"
            )
        try:
            mask = whole_mask(info[MASK], self._size, when)
        except ValueError as error:
            raise SpaceFault(f"{self._name}: info['{MASK}'] {error}: mend it, or {OPT_OUT}") from None
        return {**(observation if self._is_dict else {OBSERVATION: observation}), MASK: mask}


def _when(steps: int) -> str:
    """After how many steps of an episode, in words that follow others."""
    return f" after step {steps} of an episode" if steps else " at a reset"


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


def told_by(info: Any, action: gym_spaces.Space[Any]) -> tuple[Array | None, str | None]:
    """The mask in ``info``, where it can be used, and why it cannot be, in words; None where there is none."""
    if not isinstance(info, dict) or MASK not in info:
        return None, None
    if not isinstance(action, gym_spaces.Discrete | gym_spaces.MultiDiscrete):
        return None, f"actions are {type(action).__name__}, not Discrete or MultiDiscrete"
    try:
        return whole_mask(info[MASK], _mask_size(action, "")), ""
    except ValueError as error:
        return None, f"it {error}"


def why_unused(faults: Collection[str | None]) -> str:
    """Why masks in ``info`` cannot be used, in one line; "" where they can, or there are none.

    Args:
        faults: see ``told_by``, of every ``info`` that was seen, in this order.
    """
    found = [each for each in faults if each is not None]
    fault = next(filter(None, found), "some steps have none" if found and None in faults else "")
    return fault and f"info['{MASK}'] is not used: {fault}"


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
            f"{said} {_size_in_words(entry)}, expected {numbers_in_words(size)}, one for {EACH}: mend it, or {OPT_OUT}"
        )
    if len(seen) == 1:
        raise SpaceFault(f"{said} is all there is to see, expected other entries beside it: add one, or {OPT_OUT}")
    return {**seen, name: Part((size,), "int32", (2,) * size, (0,) * size, mask=True)}


def _size_in_words(entry: Parts) -> str:
    if isinstance(entry, dict) or type(entry) is tuple:
        return f"is a {'Dict' if isinstance(entry, dict) else 'Tuple'} of {len(entry)} entries"
    return f"has {numbers_in_words(entry.size)}" if len(entry.shape) == 1 else f"has the shape {entry.shape}"


class Legality:
    """Looks whether each environment allows an action, and says it by a mask of the right form."""

    def __init__(self, spaces: Spaces, name: str, count: int = 1) -> None:
        """``count``: of environments."""
        self._mask, self._name = str(spaces.mask), name
        sizes = mask_sizes(spaces.actions)
        self._size, self._starts = sum(sizes), np.cumsum([0, *sizes])[:-1]
        shapes = [part.shape for part in leaves(spaces.observations)]
        self._is_only_row = shapes.count((self._size,)) == 1  # no other entry has as many numbers
        self._lengths = np.zeros(count, np.int64)  # steps of the episode so far

    def count(self, begun: Array) -> None:
        """One step more of each environment, but where an episode has begun [B]."""
        self._lengths += 1
        self.begin(begun)

    def begin(self, begun: Array) -> None:
        """An episode has begun in these environments [B]."""
        self._lengths[begun] = 0

    def taken(self, observations: Any) -> Any:
        """Observations [B, ...] with masks as whole numbers; what is no Dict with masks of B environments as it is.

        Raises:
            SpaceFault: a mask has another form than is expected.
        """
        if not isinstance(observations, dict) or self._mask not in observations:
            return observations
        masks = observations[self._mask]
        with contextlib.suppress(TypeError, ValueError, RuntimeError):  # lists of different lengths
            numbers = np.asarray(masks)
            if numbers.shape == (len(self._lengths), self._size) and is_mask(numbers):
                return {**observations, self._mask: as_mask(numbers)}
        rows = list(masks) if isinstance(masks, list | tuple) or np.ndim(masks) else []
        if len(rows) != len(self._lengths):
            return observations
        return {**observations, self._mask: np.stack([self._form(each, number) for number, each in enumerate(rows)])}

    def taken_of(self, number: int, observation: Any) -> Any:
        """Likewise one observation of one environment."""
        if not isinstance(observation, dict) or self._mask not in observation:
            return observation
        return {**observation, self._mask: self._form(observation[self._mask], number)}

    def misfit(self, vector: VectorEnv[Any, Any, Any], error: BaseException) -> SpaceFault | None:
        """What is wrong with a mask that cannot lie among the others; None where it is something else.

        Args:
            error: that the vector has raised.
        """
        came, place = shapes_in_process(vector, error)
        if place == (self._size,) and self._is_only_row and len(came) == 1:
            steps = {*self._lengths.tolist()}
            when = _when(steps.pop()) if len(steps) == 1 else " in a step"  # which process it was is not known
            return self._fault(f"has {numbers_in_words(came[0])}{when}, expected {self._size}, one for {EACH}")
        try:
            for number, each in enumerate(shown_alone(vector)):
                self.taken_of(number, each)
        except SpaceFault as fault:
            return fault
        return None

    def _form(self, mask: Any, number: int) -> Array:
        when = _when(int(self._lengths[number]))
        try:
            whole = whole_mask(mask, self._size, when)
        except ValueError as error:
            raise self._fault(f"{error} (environment {number})") from None
        if np.ndim(mask) != 1:
            raise self._fault(f"has the shape {np.shape(mask)}{when}, expected {(self._size,)} (environment {number})")
        return whole

    def _fault(self, said: str) -> SpaceFault:
        return SpaceFault(f"{self._name}: observation {printable(self._mask)} {said}: mend it, or {OPT_OUT}")

    def demand(self, observations: Any, acting: Array) -> None:
        """Refuse a mask that allows nothing where somebody has to act.

        Args:
            observations: [B, ...]
            acting: [B]  where this is so.

        Raises:
            EnvironmentFault: there is one.
        """
        stuck = acting & ~self.allows(observations)
        if stuck.any():
            first = int(np.flatnonzero(stuck)[0])
            raise EnvironmentFault(
                f"{self._name}: the mask allows no action after step {int(self._lengths[first])} of an episode "
                f"(environment {first}): let it allow one, or end the episode there"
            )

    def allows(self, observations: Any) -> Array:
        """Whether an action is allowed [B], of observations [B, ...]."""
        legal = np.add.reduceat(np.asarray(observations[self._mask]), self._starts, axis=-1) > 0
        return np.asarray(legal.all(-1))


def legal_action(space: gym_spaces.Space[Any], spaces: Spaces, observation: Any, told: Array | None = None) -> Any:
    """A random action [*shape] that the mask allows, where one can be drawn so.

    Args:
        told: a mask that counts where the observation has none, see ``told_by``; None: there is none.
    """
    mask = told if spaces.mask is None else np.asarray(observation[spaces.mask]).astype(np.int8)
    if mask is None or not isinstance(space, gym_spaces.Discrete | gym_spaces.MultiDiscrete):
        return space.sample()
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
