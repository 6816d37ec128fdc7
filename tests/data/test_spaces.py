import numpy as np
import pytest
from gymnasium import spaces

from marl.data.spaces import describe
from marl.errors import EnvironmentFault

VECTOR = spaces.Box(-1, 1, (4,), np.float32)


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
