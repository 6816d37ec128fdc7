"""Trees of named arrays, and where each of them lies in flat bytes: the only code that lays arrays out in memory.

A tree is a leaf, a dictionary of trees by name, or a tuple of trees. Its values have the same structure, with an array
or a tensor for each leaf. An observation that is one box is a leaf, and its value one array.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

ALIGNMENT = 64  # one cache line: two workers' slots never share one

Values: TypeAlias = Any  # of a tree: the same dictionaries and tuples, with an array or a tensor for each leaf
Header: TypeAlias = tuple[tuple[str, str, tuple[int, ...]], ...]  # name, dtype and shape of each leaf, in order


class Leaf(NamedTuple):
    """Shape and type of one array of a tree."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    # How many there are, for each number or one for all; 0: this number is measured; (): all are.
    categories: tuple[int, ...] = ()
    name: str = ""  # its path in the tree, such as camera/left: ``Layout`` writes it
    frames: int = 0  # of a stack: how many its first dimension has, see ``marl/data/replay/stacks.py``

    @property
    def num_bytes(self) -> int:
        """What the numbers alone take."""
        return math.prod(self.shape) * self.dtype.itemsize


Tree: TypeAlias = Leaf | Mapping[str, "Tree"] | tuple["Tree", ...]


class Layout:
    """Where each leaf of a tree lies in flat bytes: one after another, each from the beginning of a cache line."""

    def __init__(self, tree: Tree) -> None:
        leaves: list[Leaf] = []
        self.tree: Any = _walk(lambda path, leaf: leaf._replace(name=path or leaf.name), "", tree)
        mapped(leaves.append, self.tree)
        self.leaves = tuple(leaves)
        self.offsets: list[int] = []
        self.num_bytes = 0
        for leaf in leaves:
            self.offsets.append(self.num_bytes)
            self.num_bytes += -(-leaf.num_bytes // ALIGNMENT) * ALIGNMENT

    def open(self, memory: Any) -> Values:
        """Views of this memory [..., num_bytes] of uint8, without a copy: tensors of a tensor, arrays of an array.

        Raises:
            ValueError: the memory has another length.
        """
        if memory.shape[-1] != self.num_bytes:
            raise ValueError(f"expected memory of {self.num_bytes} bytes, got {memory.shape[-1]}")
        offsets = iter(self.offsets)
        return mapped(lambda leaf: _view(memory, next(offsets), leaf), self.tree)

    def new(self) -> Values:
        """Arrays in memory of their own, all zero."""
        return self.open(np.zeros(self.num_bytes, np.uint8))

    def pack(self, values: Values, memory: npt.NDArray[np.uint8]) -> None:
        """Copy a tree's values into memory [num_bytes], converted to the leaves' types.

        Raises:
            ValueError: the values have another structure or other shapes, or the memory another length.
        """
        mapped(_write, self.tree, self.open(memory), values)

    @property
    def header(self) -> Header:
        """What tells this layout from every other, in plain words and numbers."""
        return header_of(self.tree)


def header_of(values: Values) -> Header:
    """Of a tree, or of arrays or tensors with the structure of one."""
    found: list[tuple[str, str, tuple[int, ...]]] = []
    _walk(lambda path, leaf: found.append((path, dtype_name(leaf.dtype), tuple(leaf.shape))), "", values)
    return tuple(found)


def mapped(function: Callable[..., Any], tree: Values, *others: Values) -> Any:
    """A tree of the same structure: what ``function`` makes of each leaf, and of what the other trees have there.

    Raises:
        ValueError: another tree has a different structure.
    """
    if not isinstance(tree, dict) and type(tree) is not tuple:
        return function(tree, *others)
    return _walk(lambda unused_path, *each: function(*each), "", tree, *others)


def named(tree: Tree, values: Values) -> list[tuple[str, Any]]:
    """The values of a tree with the path of each, such as camera/left; of one leaf, with its name."""
    found: list[tuple[str, Any]] = []
    _walk(lambda path, leaf, value: found.append((path or leaf.name, value)), "", tree, values)
    return found


def leaves(values: Values) -> list[Any]:
    """The leaves of a tree, or its arrays, in order."""
    found: list[Any] = []
    mapped(found.append, values)
    return found


def steps(values: Values) -> Sequence[Values]:
    """Arrays or tensors [T, ...] of a tree as T trees [...], which share their memory."""
    if isinstance(values, Tensor):
        return values.unbind()
    if isinstance(values, np.ndarray):
        return list(values)
    return [at(values, step) for step in range(num_rows(values))]


def at(values: Values, index: Any) -> Values:
    """Of each leaf's array or tensor the part at an index, which may be a slice."""
    return mapped(lambda each: each[index], values)


def num_rows(values: Values) -> int:
    """The length of the first dimension, which all leaves share."""
    return len(leaves(values)[0])


def put(places: Values, values: Values) -> None:
    """Write a tree's values into arrays of the same shapes, converted to their types.

    Raises:
        ValueError: the values have another structure.
    """
    if isinstance(places, np.ndarray):  # as at every step of a box
        places[...] = values
    else:
        mapped(lambda place, value: place.__setitem__(..., value), places, values)


def joined(parts: Sequence[Values]) -> Values:
    """One tree of many: each leaf's arrays or tensors [N, ...] behind each other; of one part, no copy."""
    if len(parts) == 1:
        return parts[0]
    return mapped(lambda *each: (torch.cat if isinstance(each[0], Tensor) else np.concatenate)(each), *parts)


def on_device(values: Any, device: torch.device) -> Any:
    """A tree of tensors, or named ones, on a device; the same object where they are there, and no copy."""
    if isinstance(values, Tensor):
        return values.to(device)
    if hasattr(values, "_fields"):
        if all(each.device == device for each in values if isinstance(each, Tensor)):
            return values
        return type(values)(*(on_device(each, device) for each in values))
    if isinstance(values, (dict, tuple)):
        return mapped(lambda leaf: leaf.to(device), values)
    return values


def batched(tree: Tree, *leading: int) -> Any:
    """The same tree for many values at once: these lengths before each leaf's own."""
    return mapped(lambda leaf: leaf._replace(shape=(*leading, *leaf.shape)), tree)


def flat(tree: Tree) -> Any:
    """The same tree with the numbers of each leaf in one row."""
    return mapped(lambda leaf: leaf._replace(shape=(math.prod(leaf.shape),)), tree)


def flattened(tree: Tree, values: Values) -> Any:
    """Values [..., *shape] of each leaf as rows [..., D]: views, where the numbers lie one after another."""
    return mapped(_rows, tree, values)


def is_empty(tree: Values) -> TypeGuard[tuple[()]]:
    """Whether it is the tree without a leaf."""
    return type(tree) is tuple and not tree


def dtype_name(dtype: torch.dtype | np.dtype[Any]) -> str:
    """The name that torch and numpy share."""
    return str(dtype).removeprefix("torch.")


def _walk(function: Callable[..., Any], path: str, tree: Values, *others: Values) -> Any:
    """As ``mapped``, with the path of each leaf as the first argument."""
    if isinstance(tree, dict):
        for other in others:
            if not isinstance(other, dict) or other.keys() != tree.keys():
                raise ValueError(f"expected values named {', '.join(tree)}{_at(path)}, got {_structure(other)}")
        return {
            name: _walk(function, f"{path}/{name}" if path else name, each, *(other[name] for other in others))
            for name, each in tree.items()
        }
    if type(tree) is tuple:  # a leaf is a tuple, too, of a type of its own
        for other in others:
            if type(other) is not tuple or len(other) != len(tree):
                raise ValueError(f"expected a tuple of {len(tree)} values{_at(path)}, got {_structure(other)}")
        return tuple(
            _walk(function, f"{path}/{number}" if path else str(number), *each)
            for number, each in enumerate(zip(tree, *others, strict=True))
        )
    return function(path, tree, *others)


def _view(memory: Any, offset: int, leaf: Leaf) -> Any:
    part, shape = memory[..., offset : offset + leaf.num_bytes], (*memory.shape[:-1], *leaf.shape)
    if isinstance(memory, Tensor):
        # torch cannot view rows of no bytes as a wider type
        return part.view(leaf.dtype).view(shape) if leaf.num_bytes else memory.new_empty(shape, dtype=leaf.dtype)
    return part.view(dtype_name(leaf.dtype)).reshape(shape)


def _write(leaf: Leaf, place: npt.NDArray[Any], value: Any) -> None:
    array = np.asarray(value)
    if array.shape != leaf.shape:  # numpy would spread a smaller one over the whole place
        raise ValueError(f"expected {leaf.name or 'a value'} of shape {list(leaf.shape)}, got {list(array.shape)}")
    place[...] = array


def _rows(leaf: Leaf, value: Any) -> Any:
    return value.reshape(*value.shape[: value.ndim - len(leaf.shape)], math.prod(leaf.shape))


def _at(path: str) -> str:
    return f" in {path}" if path else ""


def _structure(values: Values) -> str:
    if isinstance(values, dict):
        return f"values named {', '.join(map(str, values))}"
    return f"a tuple of {len(values)}" if type(values) is tuple else type(values).__name__
