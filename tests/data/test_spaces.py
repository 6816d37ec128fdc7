import numpy as np
import pytest
import torch
from gymnasium import spaces

from marl.data.layout import Layout, Leaf, mapped
from marl.data.sound import demand_sound
from marl.data.spaces import Part, as_held, differences
from marl.environments.describe import describe
from marl.errors import EnvironmentFault, MessageRefused
from tests.plain_spaces import plain_spaces

VECTOR = spaces.Box(-1, 1, (4,), np.float32)
ROBOT = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (4, 6, 3), np.uint8),
        "arm": spaces.Tuple((VECTOR, spaces.Discrete(5), spaces.MultiDiscrete([[2, 3], [4, 5]]))),
        "touch": spaces.MultiBinary((2, 2)),
        "wide": spaces.Dict({"clock": spaces.Box(-1, 1, (), np.float64)}),
    }
)


DEEP: spaces.Space = VECTOR
for _ in range(9):
    DEEP = spaces.Tuple([DEEP])


def test_discrete() -> None:
    found = describe(spaces.Box(0, 255, (2, 3), np.uint8), spaces.Discrete(5, start=3))
    assert (found.observation_shape, found.observation_size) == ((2, 3), 6)
    assert (found.num_actions, found.discrete, found.continuous) == (5, True, False)
    assert found.actions == Part((), "int64", (5,), (3,))
    assert (found.action_low, found.action_high) == ((), ())


def test_bools_are_numbers() -> None:
    assert describe(spaces.Box(0, 1, (2, 3), bool), spaces.Discrete(2)).observations == Part((2, 3), "float32")


def test_boxes_keep_shape_and_bounds() -> None:
    low, high = np.array([[-1, -np.inf]], np.float32), np.array([[2, np.inf]], np.float32)
    found = describe(VECTOR, spaces.Box(low, high, dtype=np.float32))
    assert (found.discrete, found.continuous) == (False, True)
    assert (found.actions.shape, found.action_low, found.action_high) == ((1, 2), (-1, -np.inf), (2, np.inf))


@pytest.mark.parametrize(
    ("observation", "action", "words"),
    [
        (spaces.Dict({}), spaces.Discrete(2), "at least one number"),
        (VECTOR, spaces.Tuple([]), "actions of at least one number"),
        (spaces.Dict({1: VECTOR}), spaces.Discrete(2), "expected names of entries that are texts, got 1"),
        (spaces.MultiDiscrete([40_000] * 2), spaces.Discrete(2), "at most 65,536 categories"),
        (spaces.Discrete(3, start=2**40), spaces.Discrete(2), "first category of at most 31 bits"),
        (spaces.Box(0, 255, (4096, 4096, 3), np.uint8), spaces.Discrete(2), "1 to 16,777,216 numbers"),
        (VECTOR, spaces.MultiDiscrete([2**20, 2]), "actions of 1 to 1,048,576"),
        (DEEP, spaces.Discrete(2), "spaces at most 8 deep"),
        (spaces.Box(-1, 1, (0,), np.float32), spaces.Discrete(2), "expected observations of"),
        (VECTOR, spaces.Box(0, 5, (2,), np.int32), "MultiDiscrete is for whole numbers"),
        (VECTOR, spaces.Dict({"arm": spaces.Box(0, 5, (2,), np.int32)}), "in arm"),
    ],
)
def test_what_cannot_be_handled(observation: spaces.Space, action: spaces.Space, words: str) -> None:
    with pytest.raises(EnvironmentFault, match=words):
        describe(observation, action)


def test_the_tree_of_nested_spaces() -> None:
    tree = {leaf.name: leaf for leaf in Layout(describe(ROBOT, ROBOT["arm"]).raw).leaves}
    assert {name: (leaf.shape, leaf.dtype, leaf.categories) for name, leaf in tree.items()} == {
        "camera": ((4, 6, 3), torch.uint8, ()),
        "arm/0": ((4,), torch.float32, ()),
        "arm/1": ((), torch.int32, (5,)),
        "arm/2": ((2, 2), torch.int32, (2, 3, 4, 5)),
        "touch": ((2, 2), torch.int32, (2, 2, 2, 2)),
        "wide/clock": ((), torch.float64, ()),
    }


def test_what_a_space_samples_is_packed_and_comes_back() -> None:
    layout = Layout(describe(ROBOT, VECTOR).raw)
    memory = np.zeros(layout.num_bytes, np.uint8)
    for seed in range(5):
        ROBOT.seed(seed)
        sample = ROBOT.sample()
        layout.pack(sample, memory)
        mapped(np.testing.assert_array_equal, layout.open(memory), sample)
        demand_sound(layout.tree, layout.open(memory), "a sample has")


def test_an_action_of_several_parts_is_one_row() -> None:
    found = describe(VECTOR, ROBOT["arm"])
    assert (found.discrete, found.continuous, found.num_actions) == (False, False, 0)
    assert found.action == Leaf((9,), torch.float32, (0, 0, 0, 0, 5, 2, 3, 4, 5), "actions")
    assert describe(VECTOR, spaces.MultiBinary(3)).action == Leaf((3,), torch.float32, (2, 2, 2), "actions")


@pytest.mark.parametrize("number", [5.0, -1.0, 0.5])
def test_a_category_in_a_row_is_one_that_there_is(number: float) -> None:
    leaf = describe(VECTOR, ROBOT["arm"]).action
    rows = np.zeros((2, 9), np.float32)
    rows[:, 0] = 0.5
    demand_sound(leaf, rows, "it has")
    rows[1, 4] = number
    with pytest.raises(MessageRefused, match="it has actions outside their 5 categories"):
        demand_sound(leaf, rows, "it has")


def test_what_is_ignored_is_not_there() -> None:
    space = spaces.Dict({"a": VECTOR, "words": spaces.Text(5), "in": spaces.Dict({"b": VECTOR, "c": spaces.Text(2)})})
    found = describe(space, spaces.Discrete(2), ["words", "in/c"])
    assert found.observations == {"a": Part((4,)), "in": {"b": Part((4,))}}
    seen = {"a": 1, "words": "x", "in": {"b": 2, "c": "y"}}
    assert as_held(found.observations, seen) == {"a": 1, "in": {"b": 2}}
    with pytest.raises(EnvironmentFault, match=r"environment.ignore: expected entries of .*, got 'nothing'"):
        describe(space, spaces.Discrete(2), ["words", "in/c", "nothing"])


def test_categories_are_counted_from_0() -> None:
    space = spaces.Dict({"a": spaces.Discrete(3, start=-1), "b": spaces.MultiDiscrete([[2, 3]], start=[[4, 0]])})
    held = as_held(describe(space, spaces.Discrete(2)).observations, {"b": np.array([[[5, 2]]]), "a": np.array([1])})
    assert {name: value.tolist() for name, value in held.items()} == {"a": [2], "b": [[[1, 2]]]}


def test_what_means_something_else() -> None:
    one = plain_spaces((4,), num_actions=2)
    assert differences(one, one._replace(observations=Part((4,), "float64"))) == []
    assert differences(one, plain_spaces((4,), num_actions=3)) == [("action categories", (2,), (3,))]
    assert differences(one, plain_spaces((5,), num_actions=2)) == [("observation shape", (4,), (5,))]
    tree = one._replace(observations={"a": Part((4,))})
    assert differences(one, tree) == [("observations", "[4] of float32", "{a: [4] of float32}")]
    seen = tree._replace(observations={"observation": Part((4,))})
    assert differences(seen, seen._replace(observations={"observation": Part((3,))})) == [
        ("observation shape", (4,), (3,))
    ]
    assert differences(tree, one._replace(observations={"a": Part((3,))})) == [("observation a shape", (4,), (3,))]


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
