import numpy as np
import pytest

from marl.data.layout import mapped as tree_mapped
from marl.data.sound import demand_sound
from marl.data.spaces import Spaces
from marl.environments.actions import action_mapping, hidden_ranges, random_actions
from marl.environments.describe import describe
from tests.plain_spaces import plain_spaces
from tests.robots import Robot

INFINITY = float("inf")
MOST = float(np.nextafter(np.float32(1e35), np.float32(0)))  # within 1e35


def box(*bounds: tuple[float, float]) -> Spaces:
    low, high = zip(*bounds, strict=True)
    return plain_spaces((1,), action_shape=(len(bounds),), action_low=low, action_high=high)


def mapped(low: float, high: float, *numbers: float) -> list[float]:
    found = action_mapping(box((low, high)))(np.array(numbers, np.float32)[:, None])
    assert found.dtype == np.float32
    return found[:, 0].tolist()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("low", "high", "expected"),  # of -1, 0, 1 and 3
    [
        (0.0, 10.0, [0, 5, 10, 10]),
        (-INFINITY, INFINITY, [-1, 0, 1, 3]),
        (5.0, INFINITY, [5, 6, 7, 9]),
        (0.0, INFINITY, [0, 1, 2, 4]),
        (-1.0, INFINITY, [-1, 0, 1, 3]),
        (-0.5, INFINITY, [-0.5, 0.5, 1.5, 3.5]),
        (-9.0, INFINITY, [-1, 0, 1, 3]),
        (-INFINITY, -5.0, [-7, -6, -5, -5]),
        (-INFINITY, 0.5, [-1.5, -0.5, 0.5, 0.5]),
        (-INFINITY, 9.0, [-1, 0, 1, 3]),
        (1e8, INFINITY, [1e8, 100100000, 100200000, 100400000]),
        (3.0, 3.0, [3, 3, 3, 3]),
        (-3.4e38, 3.4e38, [-MOST, 0, MOST, MOST]),
        (0.0, 1e39, [0, MOST / 2, MOST, MOST]),  # float32 knows no such bound
    ],
)
def test_a_fresh_policy_begins_inside_the_space(low: float, high: float, expected: list[float]) -> None:
    assert mapped(low, high, -1, 0, 1, 3) == expected


def test_each_number_has_its_own_bounds() -> None:
    spaces = box((0.0, 10.0), (-INFINITY, INFINITY), (1.0, INFINITY), (-INFINITY, 2.0))
    numbers = [[-1, -7, 3, 1], [0, 0, 0, 0], [1, 7, 7, 7], [5, 9, -9, -9]]
    assert action_mapping(spaces)(np.array(numbers, np.float32)).tolist() == [
        [0, -7, 5, 1],
        [5, 0, 2, 0],
        [10, 7, 9, 2],
        [10, 9, 1, -9],
    ]


@pytest.mark.parametrize("number", [0.1, 0.7, 1 / 3, -0.1])
def test_no_action_lies_outside_bounds_that_are_finer_than_float32(number: float) -> None:
    lowest, highest = mapped(number, number + 1, -9, 9)
    assert number <= lowest < number + 1e-6
    assert number + 1 - 1e-6 < highest <= number + 1


def test_the_bits_of_bounded_boxes_are_those_of_the_plain_formula() -> None:
    rng = np.random.default_rng(0)
    for low, high in rng.normal(0, 100, (200, 2)).astype(np.float32):
        low, high = np.float32(min(low, high)), np.float32(max(low, high))
        numbers = rng.normal(0, 1, 50).astype(np.float32)
        plain = np.clip(numbers * ((high - low) / np.float32(2)) + (high + low) / np.float32(2), low, high)
        assert mapped(float(low), float(high), *numbers.tolist()) == plain.tolist()


def test_ranges_that_hide_the_goal_are_named() -> None:
    assert hidden_ranges(box((-2.0, 2.0), (0.0, 1000.0))) == []
    assert hidden_ranges(plain_spaces((1,), num_actions=3)) == []
    one, both, wide = hidden_ranges(box((5.0, INFINITY), *[(-INFINITY, INFINITY)] * 6, (-1e30, 1e30)))
    assert "number 0 of an action has no high bound: a fresh policy tries about 5 to 8" in one
    assert "number 1 to 6, 6 in all, of an action has no low and high bound: a fresh policy tries about -2 to 2" in both
    assert "number 7 of an action goes from -1e+30 to 1e+30: a fresh policy hardly ever tries less than 1e+28" in wide


def test_a_row_becomes_a_tree_of_the_spaces_own() -> None:
    spaces = describe(Robot.observation_space, Robot.action_space, ["name"])
    row = np.array([[0.4, -0.2, 2, 1, 2, 1, 0]] * 3, np.float32)  # arm, grip, modes: names in the space's order
    actions = action_mapping(spaces)(row)
    assert actions["grip"].tolist() == [1, 1, 1]
    assert actions["arm"][0].tolist() == [[pytest.approx(0.5 + 2.5 * 0.4), pytest.approx(0.5 - 2.5 * 0.2)]]
    assert [each[0].tolist() for each in actions["modes"]] == [[2, 2], [[1], [0]]]


def test_actions_at_random_are_actions() -> None:
    spaces = describe(Robot.observation_space, Robot.action_space, ["name"])
    rows = random_actions(spaces, 500, np.random.default_rng(0))
    demand_sound(spaces.action, rows, "an action has")
    actions = action_mapping(spaces)(rows)
    each = [tree_mapped(lambda value, number=number: value[number], actions) for number in range(500)]
    assert all(Robot.action_space.contains(action) for action in each)
    assert {int(action["grip"]) for action in each} == {-1, 0, 1}
