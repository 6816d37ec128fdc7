"""A layout: what is packed comes back, leaves are aligned, nothing is copied, another layout is refused."""

import math
from itertools import zip_longest
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.data.layout import (
    ALIGNMENT,
    Layout,
    Leaf,
    Tree,
    at,
    batched,
    dtype_name,
    flat,
    flattened,
    header_of,
    joined,
    mapped,
    named,
    num_rows,
    put,
    steps,
)
from marl.data.sound import compare
from marl.errors import MessageRefused

DTYPES = [torch.uint8, torch.float32, torch.int64, torch.float64, torch.bool, torch.int8, torch.uint16, torch.float16]
NAMES = st.text("abcdef_", min_size=1, max_size=6)
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)
LEAVES = st.builds(Leaf, SHAPES, st.sampled_from(DTYPES))
TREES: st.SearchStrategy[Tree] = st.recursive(
    LEAVES,
    lambda trees: st.dictionaries(NAMES, trees, max_size=4) | st.lists(trees, max_size=3).map(tuple),
    max_leaves=8,
)
SOME = settings(deadline=None, max_examples=25)
CAMERA = {"camera": Leaf((2, 3), torch.uint8), "joints": (Leaf((4,), torch.float32), Leaf((), torch.int64, (5,)))}


def random_values(layout: Layout, seed: int, *leading: int) -> Any:
    """Any bits that are a value of the leaf's type."""
    rng = np.random.default_rng(seed)
    return mapped(lambda leaf: rng.integers(0, 2, (*leading, *leaf.shape)).astype(dtype_name(leaf.dtype)), layout.tree)


def arrays_of(values: Any) -> list[Any]:
    found: list[Any] = []
    mapped(found.append, values)
    return found


@SOME
@given(TREES, st.integers(0, 2**32))
def test_what_is_packed_comes_back(tree: Tree, seed: int) -> None:
    layout = Layout(tree)
    values = random_values(layout, seed)
    memory = np.full(layout.num_bytes, 255, np.uint8)
    layout.pack(values, memory)
    for opened in (layout.open(memory), layout.open(torch.from_numpy(memory))):
        mapped(lambda came, sent: np.testing.assert_array_equal(np.asarray(came), sent), opened, values)
        assert header_of(opened) == layout.header


@SOME
@given(TREES)
def test_leaves_are_aligned_in_order_and_apart(tree: Tree) -> None:
    layout = Layout(tree)
    end = 0
    for leaf, offset in zip(layout.leaves, layout.offsets, strict=True):
        assert offset % ALIGNMENT == 0
        assert offset >= end
        assert offset - end < ALIGNMENT  # and nothing is wasted
        end = offset + math.prod(leaf.shape) * leaf.dtype.itemsize
    assert end <= layout.num_bytes < end + ALIGNMENT


@SOME
@given(TREES, st.lists(st.integers(1, 3), max_size=2), st.integers(0, 2**32))
def test_views_share_memory(tree: Tree, rows: list[int], seed: int) -> None:
    """Of one value or of many in a row, as arrays and as tensors: what is written to a view is seen by the others."""
    layout = Layout(tree)
    memory = torch.zeros(*rows, layout.num_bytes, dtype=torch.uint8)
    arrays, tensors = layout.open(memory.numpy()), layout.open(memory)
    values = random_values(layout, seed, *rows)

    def write(view: Any, value: Any) -> None:
        view[...] = value

    mapped(write, arrays, values)
    for leaf, array, tensor, value in zip(*map(arrays_of, (layout.tree, arrays, tensors, values)), strict=True):
        assert array.shape == tensor.shape == (*rows, *leaf.shape)
        assert np.array_equal(tensor.numpy(), value)
        if value.size:
            assert np.shares_memory(array, memory.numpy())
            assert tensor.data_ptr() == array.ctypes.data


@SOME
@given(TREES, TREES)
def test_a_wrong_header_is_refused_and_both_are_named(tree: Tree, other: Tree) -> None:
    layout, header = Layout(tree), Layout(other).header
    compare(layout.header, layout.header)
    if header == layout.header:
        compare(layout.header, header)
        return
    with pytest.raises(MessageRefused) as refused:
        compare(layout.header, header)
    here, there = next(pair for pair in zip_longest(layout.header, header) if pair[0] != pair[1])
    assert str(refused.value) == f"expected {words_of(here)}, got {words_of(there)}"


def words_of(line: tuple[str, str, tuple[int, ...]] | None) -> str:
    return f"{line[0] or 'one value'} of {line[1]} {list(line[2])}" if line else "no more values"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera": Leaf((3, 2), torch.uint8)}, r"expected camera of uint8 \[2, 3\], got camera of uint8 \[3, 2\]"),
        ({"camera": Leaf((2, 3), torch.int8)}, r"expected camera of uint8 \[2, 3\], got camera of int8 \[2, 3\]"),
        ({"joints": ()}, r"expected joints/0 of float32 \[4\], got no more values"),
        ({"touch": Leaf((), torch.bool)}, r"expected no more values, got touch of bool \[\]"),
    ],
)
def test_the_words_of_a_refusal(change: dict[str, Tree], words: str) -> None:
    with pytest.raises(MessageRefused, match=f"^{words}$"):
        compare(Layout(CAMERA).header, Layout({**CAMERA, **change}).header)


def test_paths_and_offsets_by_hand() -> None:
    layout = Layout(CAMERA)
    assert [leaf.name for leaf in layout.leaves] == ["camera", "joints/0", "joints/1"]
    assert layout.offsets == [0, 64, 128]
    assert layout.num_bytes == 192
    assert layout.leaves[2].categories == (5,)
    assert Layout(Leaf((3,), torch.float32, name="observations")).leaves[0].name == "observations"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"camera": np.zeros((2, 3))}, "expected values named camera, joints, got values named camera$"),
        ({"camera": np.zeros((2, 3)), "joints": np.zeros(4)}, "expected a tuple of 2 values in joints, got ndarray$"),
        ({"camera": np.zeros((2, 3)), "joints": (np.zeros(4),)}, "tuple of 2 values in joints, got a tuple of 1$"),
        ({"camera": np.zeros(3), "joints": (np.zeros(4), 0)}, r"expected camera of shape \[2, 3\], got \[3\]$"),
        ({"camera": np.zeros((2, 3)), "joints": (np.zeros(4), [0])}, r"joints/1 of shape \[\], got \[1\]$"),
        (np.zeros(4), "expected values named camera, joints, got ndarray$"),
    ],
)
def test_values_of_another_structure_or_shape_are_refused(values: Any, words: str) -> None:
    layout = Layout(CAMERA)
    with pytest.raises(ValueError, match=words):
        layout.pack(values, np.zeros(layout.num_bytes, np.uint8))


def test_memory_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected memory of 192 bytes, got 191"):
        Layout(CAMERA).open(torch.zeros(3, 191, dtype=torch.uint8))


def test_batches_and_rows() -> None:
    """A batch of pictures flattens to rows without a copy, also where there is none."""
    many = Layout(batched(CAMERA, 5))
    values = many.new()
    assert values["camera"].shape == (5, 2, 3)
    assert not values["camera"].any()
    rows = flattened(CAMERA, values)
    assert header_of(rows) == Layout(batched(flat(CAMERA), 5)).header
    assert np.shares_memory(rows["camera"], values["camera"])
    assert flattened(Leaf((2, 3), torch.uint8), np.zeros((0, 2, 3))).shape == (0, 6)


@pytest.mark.parametrize("made", [np.asarray, torch.as_tensor])
def test_parts_of_a_tree(made: Any) -> None:
    """Of arrays and of tensors; views, not copies."""
    numbers = mapped(made, {"a": np.arange(12.0).reshape(4, 3), "b": (np.arange(4),)})
    assert num_rows(numbers) == 4
    assert [path for path, _ in named(numbers, numbers)] == ["a", "b/0"]
    for step, each in enumerate(steps(numbers)):
        assert (each["a"] == numbers["a"][step]).all()
        assert each["b"][0] == step
    part = at(numbers, slice(1, 3))
    part["a"][0, 0] = 50.0
    assert numbers["a"][1, 0] == 50.0
    whole = joined([at(numbers, slice(1)), part, at(numbers, slice(3, None))])
    assert header_of(whole) == header_of(numbers)
    assert (whole["a"] == numbers["a"]).all()


def test_one_array_is_a_tree_as_well() -> None:
    numbers = np.arange(6.0).reshape(3, 2)
    assert named(Leaf((2,), torch.float64, name="seen"), numbers)[0][0] == "seen"
    assert joined([numbers]) is numbers
    assert np.shares_memory(steps(numbers)[1], numbers)
    assert [each.tolist() for each in steps(torch.from_numpy(numbers))] == numbers.tolist()


def test_values_are_put_where_a_tree_has_room() -> None:
    places = {"a": np.zeros(2), "b": np.zeros(1, np.uint8)}
    put(places, {"a": np.float32([1, 2]), "b": [7]})
    assert (places["a"].tolist(), places["b"].tolist()) == ([1, 2], [7])
    with pytest.raises(ValueError, match="named a, b"):
        put(places, {"a": [1, 2]})
