"""The shapes that a network has to fit: spaces as trees, in numbers that survive a file."""

import math
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from marl.data.layout import Leaf, Tree, Values, batched, flat, leaves, mapped
from marl.words import place

MOST_NUMBERS = 1 << 24  # of an observation
MOST_CATEGORIES = 1 << 16  # of all numbers of an observation: each has inputs of its own
MOST_ACTIONS = 1 << 20  # categories and measured numbers of an action
MOST_START = 1 << 31
DEEPEST = 8  # of trees in each other
MOST_WORDS = 12  # numbers that differ, in words
MASK, OBSERVATION = "action_mask", "observation"  # what environments call a mask, and what lies beside it alone
PICTURE_SIDES = 3  # dimensions of a picture: height, width and channels, in either order


class Part(NamedTuple):
    """One leaf of a space, in plain numbers."""

    shape: tuple[int, ...]
    # How numbers are held until they are normalised: "float64" where they have more digits than float32, "uint8" for
    # pixels, which stay bytes wherever they lie or travel, "int32" for categories; categories of an action as the
    # environment takes them.
    dtype: str = "float32"
    categories: tuple[int, ...] = ()  # of each number; (): the numbers are measured
    starts: tuple[int, ...] = ()  # the least category of each number, as the environment counts
    low: tuple[float, ...] = ()  # of actions that are measured: bounds of each number, infinite where there is none
    high: tuple[float, ...] = ()
    mask: bool = False  # of an observation: which categories of an action are allowed
    frames: int = 0  # of an observation that is a stack of the last ones: how many its first dimension has

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
    def mask(self) -> str | None:
        """The entry of the observations that says which actions are allowed; None where none does."""
        pairs = self.observations.items() if isinstance(self.observations, dict) else ()
        return next((name for name, part in pairs if isinstance(part, Part) and part.mask), None)

    @property
    def unmasked(self) -> "Spaces":
        """Without the mask."""
        return self if self.mask is None else self._replace(observations=without(self.observations, self.mask))

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
    def bounded(self) -> bool:
        """Whether each measured number of an action has a bound on both sides."""
        return all(math.isfinite(bound) for part in leaves(self.actions) for bound in (*part.low, *part.high))

    @property
    def words(self) -> str:
        """Each leaf with its path, for people; equal words are not yet equal spaces."""
        whats = (("observations", self.observations), ("actions", self.actions))
        found = [(_place(what, path), part) for what, parts in whats for path, part in _leaves_in((), parts)]
        return "; ".join(f"{place}: {_words(part)}" for place, part in found)

    @property
    def action_words(self) -> str:
        """The actions alone, for people."""
        return f"actions {_words(self.actions)}"

    def fault(self) -> str | None:
        """Which limit they exceed, in words that follow "expected"; None if none."""
        seen, acts = leaves(self.observations), leaves(self.actions)
        if not 0 < self.observation_size <= MOST_NUMBERS:
            return f"observations of 1 to {MOST_NUMBERS:,} numbers"
        if sum(sum(part.categories) for part in seen) > MOST_CATEGORIES:
            return f"observations of at most {MOST_CATEGORIES:,} categories"
        if not 0 < sum(sum(part.categories) or part.size for part in acts) <= MOST_ACTIONS:
            return f"actions of 1 to {MOST_ACTIONS:,} numbers or categories"
        if any(abs(start) >= MOST_START for part in (*seen, *acts) for start in part.starts):
            return "a first category of at most 31 bits"
        if max(_depth(self.observations), _depth(self.actions)) > DEEPEST:
            return f"spaces at most {DEEPEST} deep in each other"
        return None


def mask_sizes(actions: Parts) -> tuple[int, ...]:
    """Categories of each number of an action that has some: a mask has a number for each of them, in this order."""
    return tuple(count for part in leaves(actions) for count in part.categories)


def without(values: Values, mask: str) -> Values:
    """The entries of observations beside the mask; a single one called "observation" alone."""
    rest = {name: each for name, each in values.items() if name != mask}
    return rest[OBSERVATION] if set(rest) == {OBSERVATION} else rest


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


def as_held(tree: Parts, values: Values) -> Values:
    """What an environment shows, without the entries that the tree lacks, and with categories counted from 0."""
    if isinstance(tree, dict) and isinstance(values, dict):
        return {name: as_held(each, values[name]) for name, each in tree.items() if name in values}
    if type(tree) is tuple and isinstance(values, tuple | list) and len(tree) == len(values):
        return tuple(as_held(each, value) for each, value in zip(tree, values, strict=True))
    if isinstance(tree, Part) and any(tree.starts):
        return np.asarray(values) - np.reshape(tree.starts, tree.shape)
    return values


Difference: TypeAlias = tuple[str, Any, Any]  # a name, as it was, as it is


def differences(before: Spaces, now: Spaces) -> list[Difference]:
    """What means something else now. How numbers are held is no difference, nor is the order of named entries."""
    return [
        *_between("observation", (), before.observations, now.observations),
        *_between("action", (), before.actions, now.actions),
    ]


def _between(what: str, path: tuple[str, ...], was: Parts | None, has: Parts | None) -> Iterator[Difference]:
    """Differences of two trees, or of an entry that only one side has."""
    if isinstance(was, dict) and isinstance(has, dict):
        for name in {**was, **has}:
            yield from _between(what, (*path, name), was.get(name), has.get(name))
    elif type(was) is tuple and type(has) is tuple:
        for number, (one, other) in enumerate(zip_longest(was, has)):
            yield from _between(what, (*path, str(number)), one, other)
    elif isinstance(was, Part) and isinstance(has, Part) and bool(was.categories) == bool(has.categories):
        for field, one, other in zip(Part._fields, was, has, strict=True):
            held = field == "dtype" and (was.categories or {one, other} == {"float32", "float64"})
            held = held or field == "frames"
            if one != other and not held:
                yield f"{_place(what, path)} {field}", one, other
    else:
        yield _place(what, path) if path else f"{what}s", _words(was), _words(has)


def _leaves_in(path: tuple[str, ...], parts: Parts) -> Iterator[tuple[tuple[str, ...], Part]]:
    """Each leaf with its path, in which numbers of a tuple have brackets: Tuple([x]) is no Dict({"0": x})."""
    if isinstance(parts, dict):
        for name, each in parts.items():
            yield from _leaves_in((*path, name), each)
    elif type(parts) is tuple:
        for number, each in enumerate(parts):
            yield from _leaves_in((*path, f"({number})"), each)
    else:
        yield path, parts


def _place(what: str, path: tuple[str, ...]) -> str:
    return f"{what} " if path == ("",) else place(what, "/".join(path))  # an entry may have no name


def _depth(parts: Parts) -> int:
    inner = list(parts.values()) if isinstance(parts, dict) else list(parts) if type(parts) is tuple else []
    return 1 + max(map(_depth, inner)) if inner else 0


def _leaves(parts: Parts, dtype: Any) -> Tree:
    tree: Tree = mapped(
        lambda part: Leaf(part.shape, getattr(torch, dtype(part)), part.categories, frames=part.frames), parts
    )
    return tree._replace(name="observations") if isinstance(tree, Leaf) else tree


def _words(parts: Parts | None) -> str:
    if parts is None:
        return "nothing"
    if isinstance(parts, dict):
        return "{" + ", ".join(f"{name}: {_words(each)}" for name, each in parts.items()) + "}"
    if type(parts) is tuple:
        return "(" + ", ".join(map(_words, parts)) + ")"
    shape = f"{list(parts.shape)} " if parts.shape or not parts.categories else ""
    if parts.categories:
        start = f" from {_alike(parts.starts)}" if any(parts.starts) else ""
        return f"{shape}of {_alike(parts.categories)} categories{start}"
    return f"{shape}from {_alike(parts.low)} to {_alike(parts.high)}" if parts.low else f"{shape}of {parts.dtype}"


def _alike(numbers: tuple[float, ...]) -> str:
    """One number where all are equal."""
    if len(set(numbers)) == 1:
        return f"{numbers[0]:.9g}"
    text = ", ".join(f"{number:.9g}" for number in numbers[:MOST_WORDS])
    return f"[{text}{', ...' * (len(numbers) > MOST_WORDS)}]"
