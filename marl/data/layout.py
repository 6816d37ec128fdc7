"""Trees of named arrays, and where each of them lies in flat bytes: the only code that lays arrays out in memory.

A tree is a leaf, a dictionary of trees by name, or a tuple of trees. Its values have the same structure, with an array
or a tensor for each leaf. An observation that is one box is a leaf, and its value one array.
"""

import math
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marl.errors import MessageRefused

ALIGNMENT = 64  # one cache line: two workers' slots never share one

Values: TypeAlias = Any  # of a tree: the same dictionaries and tuples, with an array or a tensor for each leaf
Header: TypeAlias = tuple[tuple[str, str, tuple[int, ...]], ...]  # name, dtype and shape of each leaf, in order


class Leaf(NamedTuple):
    """Shape and type of one array of a tree."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    categories: tuple[int, ...] = ()  # how many there are, for each number or one for all; (): a measured number
    name: str = ""  # its path in the tree, such as camera/left: ``Layout`` writes it

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

    def check(self, header: Header) -> None:
        """Whether bytes that are said to be laid out like this can be opened here.

        Raises:
            MessageRefused: they lie otherwise; the text names the first difference.
        """
        for expected, came in zip_longest(self.header, header):
            if expected != came:
                raise MessageRefused(f"expected {_words(expected)}, got {_words(came)}")


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
    return _walk(lambda unused_path, *each: function(*each), "", tree, *others)


def like(values: Values) -> Any:
    """A tree that these tensors can be values of."""
    return mapped(lambda tensor: Leaf(tuple(tensor.shape), tensor.dtype), values)


def batched(tree: Tree, *leading: int) -> Any:
    """The same tree for many values at once: these lengths before each leaf's own."""
    return mapped(lambda leaf: leaf._replace(shape=(*leading, *leaf.shape)), tree)


def flat(tree: Tree) -> Any:
    """The same tree with the numbers of each leaf in one row."""
    return mapped(lambda leaf: leaf._replace(shape=(math.prod(leaf.shape),)), tree)


def flattened(tree: Tree, values: Values) -> Any:
    """Values [..., *shape] of each leaf as rows [..., D]: views, where the numbers lie one after another."""
    return mapped(_rows, tree, values)


def demand_sound(tree: Tree, values: Values, claim: str) -> None:
    """Whether what came from elsewhere is of the kind that a layout's tree declares: categories that there are, flags
    of 0 and 1, finite numbers.

    Args:
        claim: begins the text of a refusal, such as "a trajectory has".

    Raises:
        MessageRefused: something is not.
    """

    def check(leaf: Leaf, value: Any) -> None:
        if fault := _fault(leaf, torch.as_tensor(value)):
            raise MessageRefused(f"{claim} {fault}")

    mapped(check, tree, values)


def within(tensor: Tensor, low: float, high: float) -> bool:
    """Whether all numbers lie there; NaN lies nowhere. One pass, no temporary."""
    if not tensor.numel():
        return True
    least, most = torch.aminmax(tensor)
    return low <= least.item() and most.item() <= high


def dtype_name(dtype: torch.dtype | np.dtype[Any]) -> str:
    """The name that torch and numpy share."""
    return str(dtype).removeprefix("torch.")


def _walk(function: Callable[..., Any], path: str, tree: Values, *others: Values) -> Any:
    """As ``mapped``, with the path of each leaf as the first argument."""
    if isinstance(tree, Mapping):
        for other in others:
            if not isinstance(other, Mapping) or other.keys() != tree.keys():
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


def _fault(leaf: Leaf, tensor: Tensor) -> str | None:
    """In words what no value of this leaf has; None where there is nothing of the kind."""
    if leaf.dtype is torch.bool:
        return None if within(tensor.view(torch.uint8), 0, 1) else f"{leaf.name} other than 0 and 1"
    if len(leaf.categories) > 1:
        columns = tensor.reshape(-1, len(leaf.categories))
        pairs = zip(columns.unbind(1), leaf.categories, strict=True)
        sound = all(within(column, 0, most - 1) for column, most in pairs)
        return None if sound else f"{leaf.name} outside their categories {list(leaf.categories)}"
    if leaf.categories:
        most = leaf.categories[0]
        return None if within(tensor, 0, most - 1) else f"{leaf.name} outside their {most} categories"
    if tensor.is_floating_point():
        largest = torch.finfo(tensor.dtype).max
        return None if within(tensor, -largest, largest) else "a number that is not finite"
    return None


def _rows(leaf: Leaf, value: Any) -> Any:
    return value.reshape(*value.shape[: value.ndim - len(leaf.shape)], math.prod(leaf.shape))


def _at(path: str) -> str:
    return f" in {path}" if path else ""


def _structure(values: Values) -> str:
    if isinstance(values, Mapping):
        return f"values named {', '.join(map(str, values))}"
    return f"a tuple of {len(values)}" if type(values) is tuple else type(values).__name__


def _words(line: tuple[str, str, tuple[int, ...]] | None) -> str:
    if line is None:
        return "no more values"
    name, dtype, shape = line
    return f"{name or 'one value'} of {dtype} {list(shape)}"
