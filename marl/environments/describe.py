"""gymnasium's spaces, reduced to numbers."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces as gym_spaces

from marl.data.layout import leaves
from marl.data.spaces import Part, Parts, Spaces
from marl.environments.masks import AUTO, marked
from marl.environments.numbers import NUMBERS
from marl.errors import SpaceFault
from marl.words import printable

SIZELESS = (gym_spaces.Text, gym_spaces.Sequence, gym_spaces.Graph, gym_spaces.OneOf)
ADDRESS = " at 0x"  # of what is printed by where it lies in memory
KINDS = "Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple of these"


def describe(
    observation: gym_spaces.Space[Any], action: gym_spaces.Space[Any], ignore: Sequence[str] = (), mask: str = AUTO
) -> Spaces:
    """Reduce gymnasium's single-environment spaces to numbers.

    Args:
        ignore: entries of the observation that nobody shall see, such as ``mission`` or ``robot/name``.
        mask: see ``environment.mask``.

    Raises:
        SpaceFault: a kind of space that no network here can handle, or nothing of the name that is ignored.
    """
    unused = set(ignore)
    seen = _parts(observation, "observations", "", "", unused)
    if unused:
        raise SpaceFault(
            f"environment.ignore: expected entries of {space_words(observation)}, got {sorted(unused)[0]!r}"
        )
    if seen is None or not sum(part.size for part in leaves(seen)):
        left = ", of which environment.ignore leaves nothing: ignore less" if ignore else ""
        raise SpaceFault(f"expected observations of at least one number, got {space_words(observation)}{left}")
    acts = _parts(action, "actions", "", "", set())
    if not leaves(acts):
        raise SpaceFault(f"expected actions of at least one number, got {space_words(action)}")
    spaces = Spaces(marked(seen, acts, mask), acts)
    if fault := spaces.fault():
        raise SpaceFault(f"expected {fault}, got {spaces.words:.300}: wrap the environment")
    return spaces


def _parts(space: gym_spaces.Space[Any], what: str, path: str, entry: str, ignore: set[str]) -> Parts:
    """The tree of a space; None for an entry that is ignored.

    Args:
        entry: the path, or the nearest above it, that can be ignored: what lies in a Tuple cannot.
    """
    if path in ignore:
        ignore.discard(path)
        return None
    match space:
        case gym_spaces.Dict():
            if odd := [name for name in space.spaces if not isinstance(name, str)]:
                raise SpaceFault(f"expected names of entries that are texts, got {odd[0]!r}: wrap the environment")
            paths = {name: f"{path}/{name}" if path else name for name in space.spaces}
            found = {  # sorted: equal spaces have equal columns of what a network sees
                name: _parts(each, what, paths[name], paths[name], ignore)
                for name, each in sorted(space.spaces.items())
            }
            return {name: each for name, each in found.items() if each is not None}
        case gym_spaces.Tuple():
            paths_here = [f"{path}/{number}".lstrip("/") for number in range(len(space))]
            made = tuple(
                _parts(each, what, inner, entry, ignore) for each, inner in zip(space, paths_here, strict=True)
            )
            if None in made:
                instead = f'ignore the whole of it (environment.ignore=["{entry}"]), or ' if entry else ""
                raise SpaceFault(
                    f"environment.ignore: expected entries of a Dict, got {paths_here[made.index(None)]} of a Tuple: "
                    f"{instead}wrap the environment"
                )
            return made
        case gym_spaces.Discrete():
            return Part((), _counted(space, what), (int(space.n),), (int(space.start),))
        case gym_spaces.MultiDiscrete():
            categories = tuple(int(each) for each in space.nvec.ravel())
            starts = tuple(int(each) for each in np.ravel(space.start))
            return Part(space.nvec.shape, _counted(space, what), categories, starts)
        case gym_spaces.MultiBinary():
            size = math.prod(space.shape)
            return Part(tuple(space.shape), _counted(space, what), (2,) * size, (0,) * size)
        case gym_spaces.Box() if what == "actions":
            return _measured_action(space, path)
        case gym_spaces.Box() if 0 not in space.shape and np.dtype(space.dtype).kind in NUMBERS:
            return Part(tuple(space.shape), _held(space.dtype))
    wrapper = "ActionWrapper" if what == "actions" else "ObservationWrapper"
    ignored = f'leave it out (environment.ignore=["{printable(entry)}"]), or ' if entry and what != "actions" else ""
    where = f" in {printable(path)}" if path else ""
    reason = ", which has no fixed size" if isinstance(space, SIZELESS) or is_text(space) else ""
    raise SpaceFault(
        f"expected {what} of {KINDS}, got {space_words(space)}{where}{reason}: "
        f"{ignored}wrap the environment (gymnasium.{wrapper})"
    )


def is_text(space: gym_spaces.Space[Any]) -> bool:
    """Whether its values are texts; so they are of some spaces of a user's own, such as MiniGrid's missions."""
    with contextlib.suppress(Exception):  # whatever a user's own space does
        return isinstance(space, gym_spaces.Text) or isinstance(space.sample(), str)
    return False


def space_words(space: gym_spaces.Space[Any], most: int = 200) -> str:
    """A space in one line, without the letters of its texts: there are dozens, line breaks may be among them. Of a
    user's own space that prints where it lies in memory, such as MiniGrid's missions, the name of its class.
    """
    said = str(space)
    for each in _leaves_in(space):
        if isinstance(each, gym_spaces.Text):
            said = said.replace(str(each), f"Text({each.min_length}, {each.max_length})")
        elif ADDRESS in (words := str(each)):
            said = said.replace(words, type(each).__name__)
    return printable(said, most)


def _leaves_in(space: gym_spaces.Space[Any]) -> Iterator[gym_spaces.Space[Any]]:
    match space:
        case gym_spaces.Dict():
            yield from (leaf for each in space.spaces.values() for leaf in _leaves_in(each))
        case gym_spaces.Tuple() | gym_spaces.OneOf():
            yield from (leaf for each in space.spaces for leaf in _leaves_in(each))
        case gym_spaces.Sequence():
            yield from _leaves_in(space.feature_space)
        case _:
            yield space


def _measured_action(space: gym_spaces.Box, path: str) -> Part:
    if not np.issubdtype(space.dtype, np.floating) or 0 in space.shape:
        where = f" in {path}" if path else ""
        raise SpaceFault(
            f"expected actions of floating numbers in a Box, got {space_words(space)}{where}: wrap the environment "
            "(MultiDiscrete is for whole numbers)"
        )
    low, high = space.low.astype(float).ravel(), space.high.astype(float).ravel()
    return Part(tuple(space.shape), low=tuple(low.tolist()), high=tuple(high.tolist()))


def _counted(space: gym_spaces.Space[Any], what: str) -> str:
    """How its categories are held: those of an action as the environment takes them."""
    return np.dtype(space.dtype).name if what == "actions" else "int32"


def _held(dtype: npt.DTypeLike) -> str:
    if dtype == np.uint8:
        return "uint8"
    return "float32" if np.can_cast(dtype, np.float32) else "float64"
