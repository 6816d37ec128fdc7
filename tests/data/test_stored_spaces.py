"""Spaces out of a file: what was written comes back, older files are read, and nothing else is believed."""

from typing import Any

import pytest

from marl.data.spaces import Part, Spaces
from marl.data.stored import as_plain, read_spaces
from marl.environments.describe import describe
from tests.plain_spaces import plain_spaces
from tests.robots import Robot

ROBOT = describe(Robot.observation_space, Robot.action_space, ["name"])
BOX = plain_spaces((2, 3), action_shape=(2,), action_low=(-1.0, -float("inf")), action_high=(1.0, 2.0))


@pytest.mark.parametrize("spaces", [ROBOT, BOX, plain_spaces((4,), num_actions=3, action_start=-2)])
def test_what_was_written_comes_back(spaces: Spaces) -> None:
    found = read_spaces(as_plain(spaces))
    assert found == spaces
    assert found.words == spaces.words


def old(**changes: Any) -> dict[str, Any]:
    fields = {
        "observation_shape": [4],
        "num_actions": 2,
        "action_shape": [],
        "action_start": 1,
        "action_low": [],
        "action_high": [],
        "observation_dtype": "float32",
        "observation_wide": False,
    }
    return {**fields, **changes}


def test_older_files_are_read() -> None:
    assert read_spaces(old()) == plain_spaces((4,), num_actions=2, action_start=1)
    assert read_spaces(old(observation_wide=True)).observations == Part((4,), "float64")
    assert read_spaces(old(observation_dtype="uint8")).observations == Part((4,), "uint8")
    box = {"num_actions": 0, "action_shape": [2], "action_low": [-1.0, -2.0], "action_high": [1.0, 2.0]}
    assert read_spaces(old(**box)).actions == Part((2,), low=(-1.0, -2.0), high=(1.0, 2.0))


GOOD = as_plain(plain_spaces((4,), num_actions=3))
COUNTED = {"shape": [2], "dtype": "int32", "categories": [2, 3], "starts": [0, 0]}
DEEP: Any = {"shape": [1]}
for _ in range(30):
    DEEP = {"tuple": [DEEP]}


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"observations": GOOD["observations"]},
        {**GOOD, "more": 1},
        {**GOOD, "observations": None},
        {**GOOD, "observations": {"shape": [0]}},
        {**GOOD, "observations": {"shape": [-1]}},
        {**GOOD, "observations": {"shape": [2.0]}},
        {**GOOD, "observations": {"shape": [True]}},
        {**GOOD, "observations": {"shape": "4"}},
        {**GOOD, "observations": {"shape": [1 << 30]}},
        {**GOOD, "observations": {"shape": [1 << 13, 1 << 13]}},
        {**GOOD, "observations": {"shape": [4], "dtype": "object"}},
        {**GOOD, "observations": {"shape": [4], "dtype": "int32"}},
        {**GOOD, "observations": {"shape": [4], "low": [0.0] * 4, "high": [1.0] * 4}},
        {**GOOD, "observations": {"shape": [4], "colour": "red"}},
        {**GOOD, "observations": {"tuple": []}},
        {**GOOD, "observations": {"dict": [["a", {"shape": [1]}], ["a", {"shape": [1]}]]}},
        {**GOOD, "observations": {"dict": [["b", {"shape": [1]}], ["a", {"shape": [1]}]]}},
        {**GOOD, "observations": {"dict": [[1, {"shape": [1]}]]}},
        {**GOOD, "observations": {"dict": 7}},
        {**GOOD, "observations": DEEP},
        {**GOOD, "actions": {"shape": [2]}},
        {**GOOD, "actions": {"shape": [2], "low": [0.0, 0.0], "high": [1.0]}},
        {**GOOD, "actions": {"shape": [2], "low": [0.0, 2.0], "high": [1.0, 1.0]}},
        {**GOOD, "actions": {"shape": [2], "low": [0.0, float("nan")], "high": [1.0, 1.0]}},
        {**GOOD, "actions": {"shape": [2], "low": [0.0, "0"], "high": [1.0, 1.0]}},
        {**GOOD, "actions": {**COUNTED, "categories": [2]}},
        {**GOOD, "actions": {**COUNTED, "categories": [2, 0]}},
        {**GOOD, "actions": {**COUNTED, "categories": [2, 1 << 40]}},
        {**GOOD, "actions": {**COUNTED, "starts": [0, 1 << 40]}},
        {**GOOD, "actions": {**COUNTED, "dtype": "float32"}},
        old(num_actions=-1),
        old(num_actions=2.0),
        old(action_shape=[2]),
        old(observation_wide=1),
        old(more=1),
    ],
)
def test_what_no_environment_has(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"expected .+"):
        read_spaces(bad)
