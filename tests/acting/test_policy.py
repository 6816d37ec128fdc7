import numpy as np
import pytest
import torch

from marl.acting.policy import Policy
from marl.data.normalizer import RunningStatistics
from marl.errors import EnvironmentFault
from marl.networks.distributions import Categorical
from marl.networks.measured.gaussian import Gaussian
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
