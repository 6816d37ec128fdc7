import numpy as np
import pytest
import torch
from gymnasium import spaces

from marl.data.layout import Layout, Leaf, demand_sound, mapped
from marl.data.spaces import describe, tree_of
from marl.errors import EnvironmentFault

VECTOR = spaces.Box(-1, 1, (4,), np.float32)
ROBOT = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (4, 6, 3), np.uint8),
        "arm": spaces.Tuple((VECTOR, spaces.Discrete(5), spaces.MultiDiscrete([[2, 3], [4, 5]]))),
        "touch": spaces.MultiBinary((2, 2)),
        "wide": spaces.Dict({"clock": spaces.Box(-1, 1, (), np.float64)}),
    }
)


def test_discrete() -> None:
    found = describe(spaces.Box(0, 255, (2, 3), np.uint8), spaces.Discrete(5, start=3))
    assert (found.observation_shape, found.observation_size) == ((2, 3), 6)
    assert (found.num_actions, found.action_start, found.discrete) == (5, 3, True)
    assert (found.action_shape, found.action_low, found.action_high) == ((), (), ())


def test_boxes_keep_shape_and_bounds() -> None:
    low, high = np.array([[-1, -np.inf]], np.float32), np.array([[2, np.inf]], np.float32)
    found = describe(VECTOR, spaces.Box(low, high, dtype=np.float32))
    assert not found.discrete
    assert (found.action_shape, found.action_low, found.action_high) == ((1, 2), (-1, -np.inf), (2, np.inf))


@pytest.mark.parametrize(
    ("observation", "action", "words"),
    [
        (spaces.Discrete(3), spaces.Discrete(2), "expected Box observations"),
        (spaces.Dict({"a": VECTOR}), spaces.Discrete(2), "FlattenObservation"),
        (spaces.Box(-1, 1, (0,), np.float32), spaces.Discrete(2), "at least one number"),
        (VECTOR, spaces.MultiBinary(3), "expected Discrete or floating Box actions"),
        (VECTOR, spaces.Box(0, 5, (2,), np.int32), "expected Discrete or floating Box actions"),
    ],
)
def test_what_cannot_be_handled(observation: spaces.Space, action: spaces.Space, words: str) -> None:
    with pytest.raises(EnvironmentFault, match=words):
        describe(observation, action)


def test_the_tree_of_nested_spaces() -> None:
    tree = {leaf.name: leaf for leaf in Layout(tree_of(ROBOT)).leaves}
    assert {name: (leaf.shape, leaf.dtype, leaf.categories) for name, leaf in tree.items()} == {
        "camera": ((4, 6, 3), torch.uint8, ()),
        "arm/0": ((4,), torch.float32, ()),
        "arm/1": ((), torch.int64, (5,)),
        "arm/2": ((2, 2), torch.int64, (2, 3, 4, 5)),
        "touch": ((2, 2), torch.int8, (2,)),
        "wide/clock": ((), torch.float64, ()),
    }


def test_what_a_space_samples_is_packed_and_comes_back() -> None:
    layout = Layout(tree_of(ROBOT))
    memory = np.zeros(layout.num_bytes, np.uint8)
    for seed in range(5):
        ROBOT.seed(seed)
        sample = ROBOT.sample()
        layout.pack(sample, memory)
        mapped(np.testing.assert_array_equal, layout.open(memory), sample)
        demand_sound(layout.tree, layout.open(memory), "a sample has")


def test_a_space_without_a_fixed_shape_has_no_tree() -> None:
    with pytest.raises(EnvironmentFault, match=r"expected Dict, Tuple, Box.*, got Text.*wrap the environment"):
        tree_of(spaces.Dict({"words": spaces.Text(5)}))


def test_leaves_of_one_observation_and_action() -> None:
    """As the environment gives them, and in a row as the network sees them."""
    pixels = describe(spaces.Box(0, 255, (2, 3), np.uint8), spaces.Discrete(5, start=3))
    assert pixels.raw == Leaf((2, 3), torch.uint8, name="observations")
    assert pixels.observation() == Leaf((6,), torch.uint8, name="observations")
    assert pixels.observation(normalized=True) == Leaf((6,), torch.float32, name="observations")
    assert pixels.action == Leaf((), torch.int64, (5,), "actions")
    wide = describe(spaces.Box(-1, 1, (3,), np.float64), spaces.Box(-1, 1, (1, 2), np.float32))
    assert (wide.raw.dtype, wide.observation().dtype) == (torch.float64, torch.float32)
    assert wide.action == Leaf((2,), torch.float32, name="actions")
