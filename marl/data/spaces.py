"""The shapes that a network has to fit: gymnasium's spaces as trees, reduced to numbers that survive a file."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces as gym_spaces

from marl.data.layout import Leaf, Tree, Values, batched, flat, leaves, mapped, named
from marl.errors import EnvironmentFault

KINDS = "Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple of these"
PICTURE_SIDES = 3  # dimensions of a picture: height, width and channels, in either order


class Part(NamedTuple):
    """One leaf of a space, in plain numbers."""

    shape: tuple[int, ...]
    # How numbers are held until they are normalised: "float64" where they have more digits than float32, "uint8" for
    # pixels, which stay bytes wherever they lie or travel, "int32" for categories.
    dtype: str = "float32"
    categories: tuple[int, ...] = ()  # of each number; (): the numbers are measured
    starts: tuple[int, ...] = ()  # the least category of each number, as the environment counts
    low: tuple[float, ...] = ()  # of actions that are measured: bounds of each number, infinite where there is none
    high: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Of a space that is no tree; in a tree a leaf's path is its name."""
        return ""

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def is_picture(self) -> bool:
        """Pixels, height, width and channels: nothing normalises them."""
        return self.dtype == "uint8" and len(self.shape) == PICTURE_SIDES

    @property
    def is_measured(self) -> bool:
        """Whether its numbers have a mean that a normaliser counts."""
        return not self.categories and not self.is_picture


Parts: TypeAlias = Any  # a tree of them


class Spaces(NamedTuple):
    """Observation and action space of one environment, as plain numbers."""

    observations: Parts
    actions: Parts

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Of an observation that is one array; () where it is a tree."""
        return self.observations.shape if isinstance(self.observations, Part) else ()

    @property
    def observation_size(self) -> int:
        """How many numbers one observation has."""
        return sum(part.size for part in leaves(self.observations))

    @property
    def measured_size(self) -> int:
        """How many of them a normaliser counts."""
        return sum(part.size for part in leaves(self.observations) if part.is_measured)

    @property
    def is_wide(self) -> bool:
        """Whether some have more digits than float32: they are normalised before they are narrowed."""
        return any(part.dtype == "float64" for part in leaves(self.observations))

    @property
    def raw(self) -> Tree:
        """One observation, as it is held until it has been normalised."""
        return _leaves(self.observations, lambda part: part.dtype)

    def observation(self, *, normalized: bool = False) -> Tree:
        """One observation in rows, as the network sees it; bytes stay bytes, but not once they are normalised."""

        def dtype(part: Part) -> str:
            if normalized and part.is_measured:
                return "float32"
            return "float32" if part.dtype == "float64" else part.dtype

        return flat(_leaves(self.observations, dtype))  # type: ignore[no-any-return]

    def zeros(self, *leading: int) -> Values:
        """Blank observations [..., D], flat, as the network sees them."""
        return mapped(lambda leaf: torch.zeros(leaf.shape, dtype=leaf.dtype), batched(self.observation(), *leading))

    @property
    def action(self) -> Leaf:
        """One action, as the policy draws it: a category, a vector, or a row of both."""
        if self.discrete:
            return Leaf((), torch.int64, (self.num_actions,), "actions")
        parts = leaves(self.actions)
        categories = tuple(count for part in parts for count in part.categories or (0,) * part.size)
        return Leaf((len(categories),), torch.float32, categories if any(categories) else (), "actions")

    @property
    def discrete(self) -> bool:
        """Whether an action is one category."""
        return isinstance(self.actions, Part) and bool(self.actions.categories) and not self.actions.shape

    @property
    def continuous(self) -> bool:
        """Whether an action is one vector of measured numbers."""
        return isinstance(self.actions, Part) and not self.actions.categories

    @property
    def num_actions(self) -> int:
        """How many categories there are; 0 where an action is more than one category."""
        return int(self.actions.categories[0]) if self.discrete else 0

    @property
    def action_low(self) -> tuple[float, ...]:
        """Bounds of a continuous action's numbers; () where it is none."""
        return self.actions.low if self.continuous else ()

    @property
    def action_high(self) -> tuple[float, ...]:
        """See ``action_low``."""
        return self.actions.high if self.continuous else ()

    @property
    def words(self) -> str:
        """What people compare; equal words are not yet equal spaces."""
        return f"observations {_words(self.observations)}, actions {_words(self.actions)}"


def columns_of(tree: Parts) -> Iterator[tuple[Part, slice]]:
    """The leaves, and where the numbers of each lie in a row of all."""
    end = 0
    for part in leaves(tree):
        start, end = end, end + part.size
        yield part, slice(start, end)


def values_of(tree: Parts, values: Values) -> list[tuple[Part, Any]]:
    """Each leaf with its value, whatever the order in which the values' dictionaries were made."""
    found: list[tuple[Part, Any]] = []
    mapped(lambda part, value: found.append((part, value)), tree, values)
    return found


def describe(observation: gym_spaces.Space[Any], action: gym_spaces.Space[Any], ignore: Sequence[str] = ()) -> Spaces:
    """Reduce gymnasium's single-environment spaces to numbers.

    Args:
        ignore: entries of the observation that nobody shall see, such as ``mission`` or ``robot/name``.

    Raises:
        EnvironmentFault: a kind of space that no network here can handle, or nothing of the name that is ignored.
    """
    unused = set(ignore)
    seen = _parts(observation, "observations", "", unused)
    if unused:
        raise EnvironmentFault(f"environment.ignore: expected entries of {observation}, got {sorted(unused)[0]!r}")
    if seen is None or not sum(part.size for part in leaves(seen)):
        raise EnvironmentFault(f"expected observations of at least one number, got {observation}")
    acts = _parts(action, "actions", "", set())
    if not leaves(acts):
        raise EnvironmentFault(f"expected actions of at least one number, got {action}")
    return Spaces(seen, acts)


def as_held(tree: Parts, values: Values) -> Values:
    """What an environment shows, without the entries that the tree lacks, and with categories counted from 0."""
    if isinstance(tree, dict) and isinstance(values, dict):
        return {name: as_held(each, values[name]) for name, each in tree.items() if name in values}
    if type(tree) is tuple and type(values) is tuple and len(tree) == len(values):
        return tuple(as_held(each, value) for each, value in zip(tree, values, strict=True))
    if isinstance(tree, Part) and any(tree.starts):
        return np.asarray(values) - np.reshape(tree.starts, tree.shape)
    return values


def differences(before: Spaces, now: Spaces) -> list[tuple[str, Any, Any]]:
    """What means something else now: a name, as it was, as it is. How numbers are held is no difference."""
    found: list[tuple[str, Any, Any]] = []
    for what, was, has in (
        ("observation", before.observations, now.observations),
        ("action", before.actions, now.actions),
    ):
        paths = _paths(was)
        if paths != _paths(has):
            found.append((f"{what}s", _words(was), _words(has)))
            continue
        for path, old, new in zip(paths, leaves(was), leaves(has), strict=True):
            for field, one, other in zip(Part._fields, old, new, strict=True):
                if one != other and {one, other} != {"float32", "float64"}:
                    found.append((" ".join(filter(None, (what, path, field))), one, other))
    return found


def _paths(parts: Parts) -> list[str]:
    return [path for path, _ in named(parts, parts)]


def _parts(space: gym_spaces.Space[Any], what: str, path: str, ignore: set[str]) -> Parts:
    """The tree of a space; None for an entry that is ignored."""
    if path in ignore:
        ignore.discard(path)
        return None
    match space:
        case gym_spaces.Dict():
            found = {
                str(name): _parts(each, what, f"{path}/{name}" if path else str(name), ignore)
                for name, each in space.spaces.items()
            }
            return {name: each for name, each in found.items() if each is not None}
        case gym_spaces.Tuple():
            made = tuple(
                _parts(each, what, f"{path}/{number}".lstrip("/"), ignore) for number, each in enumerate(space)
            )
            if None in made:
                raise EnvironmentFault(f"environment.ignore: expected entries of a Dict, got {path} of a Tuple")
            return made
        case gym_spaces.Discrete():
            return Part((), "int32", (int(space.n),), (int(space.start),))
        case gym_spaces.MultiDiscrete():
            categories = tuple(int(each) for each in space.nvec.ravel())
            return Part(space.nvec.shape, "int32", categories, tuple(int(each) for each in np.ravel(space.start)))
        case gym_spaces.MultiBinary():
            size = math.prod(space.shape)
            return Part(tuple(space.shape), "int32", (2,) * size, (0,) * size)
        case gym_spaces.Box() if what == "actions":
            return _measured_action(space, path)
        case gym_spaces.Box() if 0 not in space.shape and np.issubdtype(space.dtype, np.number):
            return Part(tuple(space.shape), _held(space.dtype))
    remedy = (
        "leave it out (environment.ignore), or wrap the environment"
        if what != "actions" and path
        else ("wrap the environment")
    )
    raise EnvironmentFault(f"expected {what} of {KINDS}, got {space}{f' in {path}' if path else ''}: {remedy}")


def _measured_action(space: gym_spaces.Box, path: str) -> Part:
    if not np.issubdtype(space.dtype, np.floating) or 0 in space.shape:
        where = f" in {path}" if path else ""
        raise EnvironmentFault(
            f"expected actions of floating numbers in a Box, got {space}{where}: wrap the environment "
            "(MultiDiscrete is for whole numbers)"
        )
    low, high = space.low.astype(float).ravel(), space.high.astype(float).ravel()
    return Part(tuple(space.shape), low=tuple(low.tolist()), high=tuple(high.tolist()))


def _held(dtype: npt.DTypeLike) -> str:
    if dtype == np.uint8:
        return "uint8"
    return "float32" if np.can_cast(dtype, np.float32) else "float64"


def _leaves(parts: Parts, dtype: Any) -> Tree:
    tree: Tree = mapped(lambda part: Leaf(part.shape, getattr(torch, dtype(part)), part.categories), parts)
    return tree._replace(name="observations") if isinstance(tree, Leaf) else tree


def _words(parts: Parts) -> str:
    if isinstance(parts, dict):
        return "{" + ", ".join(f"{name}: {_words(each)}" for name, each in parts.items()) + "}"
    if type(parts) is tuple:
        return "(" + ", ".join(map(_words, parts)) + ")"
    if not parts.categories:
        return f"{list(parts.shape)} of {parts.dtype}" if not parts.low else f"{list(parts.shape)}"
    if not parts.shape:
        return f"of {parts.categories[0]} categories"
    return f"{list(parts.shape)} of {sorted(set(parts.categories))} categories"
