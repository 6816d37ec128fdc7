from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces as gym_spaces

from marl.acting.policy import Policy
from marl.data.normalizer import RunningStatistics
from marl.environments.describe import describe
from marl.errors import EnvironmentFault
from marl.networks.build_network import actor_critic
from marl.networks.contract import Acts
from marl.networks.distributions import Categorical
from marl.networks.measured.gaussian import Gaussian
from marl.networks.settings import NetworkSettings
from tests.fake_algorithms import FixedPolicy
from tests.plain_spaces import plain_spaces

IMAGE = plain_spaces((2, 3), num_actions=3, action_start=5)
BOX = plain_spaces((2,), action_shape=(2, 1), action_low=(0.0, -1.0), action_high=(4.0, 1.0))


def discrete() -> Policy:
    return Policy(FixedPolicy(Categorical(3), [0.0, 9.0, 0.0], size=6), IMAGE, None, {"a": 1})


def test_categories_count_from_the_spaces_start() -> None:
    policy = discrete()
    single, many = policy.act(np.zeros((2, 3))), policy.act(np.zeros((4, 2, 3)))
    assert np.shape(single) == ()
    assert single == 6
    assert many.tolist() == [6] * 4
    assert policy.act([[0, 0, 0], [0, 0, 0]]) == 6  # lists and integers will do
    assert policy.info == {"a": 1}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (None, "observation nan"),
        ({"observation": 1, "action_mask": 5}, "observation nan"),
        ({"arm": 1, "observation": 1}, "observation nan"),
        ({"arm": 1}, "observation arm nan"),
    ],
)
def test_what_cannot_be_acted_on_is_named_once(entries: dict[str, int] | None, said: str) -> None:
    shown: Any = {name: gym_spaces.Box(-1, 1, (size,)) for name, size in (entries or {}).items()}
    value: Any = {name: np.ones(size) for name, size in (entries or {}).items()}
    if entries is None:
        space, value = gym_spaces.Box(-1, 1, (1,)), np.array([np.nan])
    else:
        space, value = gym_spaces.Dict(shown), {**value, said.split()[-2]: np.array([np.nan])}
    spaces = describe(space, gym_spaces.Discrete(5))
    policy = Policy(FixedPolicy(Categorical(5), [0.0] * 5, size=1), spaces, None, {})
    with pytest.raises(EnvironmentFault, match=f"^{said} is not finite$"):
        policy.act(value)


def test_vectors_take_shape_and_range_of_the_box() -> None:
    policy = Policy(FixedPolicy(Gaussian(2), [0.5, -9.0, 0.0, 0.0], size=2), BOX, None, {})
    assert policy.act(np.zeros(2)).tolist() == [[3.0], [-1.0]]
    assert policy.act(np.zeros((5, 2))).shape == (5, 2, 1)


def test_draws_follow_their_generator() -> None:
    policy = Policy(FixedPolicy(Gaussian(2), [0.0] * 4, size=2), BOX, None, {})

    def drawn(seed: int) -> list:
        return policy.act(np.zeros((3, 2)), greedy=False, generator=torch.Generator().manual_seed(seed)).tolist()

    assert drawn(1) == drawn(1) != drawn(2)
    before = policy.act(np.zeros((3, 2)))
    assert before.tolist() == [[[2.0], [0.0]]] * 3  # greedy is the default


def test_the_normaliser_is_included() -> None:
    network = FixedPolicy(Gaussian(2), [0.0] * 4, size=2)
    observation = np.array([5.0, 30.0])
    Policy(network, BOX, RunningStatistics(4.0, np.array([1.0, 10.0]), np.array([16.0, 400.0])), {}).act(observation)
    assert network.seen[0].tolist() == [[2.0, 2.0]]
    assert observation.tolist() == [5.0, 30.0]


@pytest.mark.parametrize("shape", [(), (6,), (3, 2), (4, 3, 2), (1, 1, 2, 3)])
def test_another_shape_is_refused_with_both(shape: tuple[int, ...]) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        discrete().act(np.zeros(shape))
    assert "(2, 3)" in str(caught.value)
    assert f"got {shape}" in str(caught.value)


def test_a_wide_observation_is_narrowed_last() -> None:
    network = FixedPolicy(Categorical(2), [0.0, 0.0], size=1)
    spaces = plain_spaces((1,), num_actions=2, observation_dtype="float64")
    policy = Policy(network, spaces, RunningStatistics(4.0, np.array([1.7e9]), np.array([4.0])), {})
    policy.act([1.7e9 + 1])
    policy.act(np.array([[17 * 10**8 - 1]], np.int64))
    assert [seen.tolist() for seen in network.seen] == [[[1.0]], [[-1.0]]]


def doors() -> Policy:
    """Of two numbers of an action, with a mask of 2 and 3 categories."""
    spaces = describe(
        gym_spaces.Dict({"observation": gym_spaces.Box(-1, 1, (1,)), "action_mask": gym_spaces.MultiBinary(5)}),
        gym_spaces.MultiDiscrete([2, 3]),
    )
    return Policy(cast(Acts, actor_critic(spaces, NetworkSettings(hidden=(4,)), 0)), spaces, None, {})


def shown(*masks: Any) -> dict[str, Any]:
    return {"observation": np.zeros((len(masks), 1), np.float32), "action_mask": np.array(masks)}


@pytest.mark.parametrize("kind", [np.int8, bool, np.float32, np.float64])
def test_a_mask_may_be_of_any_numbers_that_are_0_or_1(kind: Any) -> None:
    mask = np.array([0, 1, 0, 0, 1]).astype(kind)
    assert doors().act({"observation": np.zeros(1), "action_mask": mask}).tolist() == [1, 2]
    assert doors().act(shown(mask, mask[[1, 0, 4, 3, 2]])).tolist() == [[1, 2], [0, 0]]


@pytest.mark.parametrize("number", [0.5, float("nan"), 2.0])
def test_other_floats_are_no_mask(number: float) -> None:
    with pytest.raises(EnvironmentFault, match="action_mask holds float64 where whole numbers belong"):
        doors().act({"observation": np.zeros(1), "action_mask": [0, 1, 0, number, 1.0]})


@pytest.mark.parametrize("mask", [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0.0, 0.0, 1.0, 1.0, 1.0]])
def test_a_mask_that_allows_nothing(mask: list[float]) -> None:
    with pytest.raises(EnvironmentFault, match=r"^expected action_mask to allow an action, got one that forbids all"):
        doors().act({"observation": np.zeros(1), "action_mask": mask})


def test_of_many_one_may_have_ended() -> None:
    assert doors().act(shown([0, 1, 0, 0, 1], [0, 0, 0, 0, 0]))[0].tolist() == [1, 2]
