import numpy as np
import pytest
import torch

from marl.acting.evaluate import play
from marl.acting.policy import Policy
from marl.data.normalizer import RunningStatistics
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import Environments, make_environments
from marl.networks.distributions import Categorical
from marl.networks.measured.gaussian import Gaussian
from tests.fake_algorithms import FixedPolicy
from tests.fakes import counting_vector


def policy(environments: Environments, logits: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Policy:
    return Policy(FixedPolicy(Categorical(3), list(logits), size=3), environments.spaces, None, {})


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize(("episodes", "shares"), [(6, [2, 2, 2]), (7, [3, 2, 2]), (2, [1, 1, 0]), (3, [1, 1, 1])])
def test_each_environment_plays_its_fair_share(mode: str, episodes: int, shares: list[int]) -> None:
    """Returns are 1 + 2, then 101 + 102 + 103, ...: later episodes are longer, and none is counted beyond a share."""
    environments = Environments(counting_vector(3, mode, length=2, grows=True), "counting")
    found, cut, _ = play(policy(environments), environments, episodes=episodes, seeds=[1, 2, 3], greedy=True)
    assert cut == 0
    by_number = [sum(100 * e + s for s in range(1, e + 3)) for e in range(4)]
    assert sorted(found) == sorted(each for share in shares for each in by_number[:share])


def test_short_episodes_are_not_favoured() -> None:
    """One environment plays episodes of 1 step, the other of 50: half of the returns are from each."""
    settings = EnvironmentSettings(id="tests.fakes:counting", kwargs={"length": 1})
    environments = make_environments(settings, 2)
    environments._vector.envs[1]._length = 50
    found, *_ = play(policy(environments), environments, episodes=4, seeds=[1, 2], greedy=True)
    first, second = sum(range(1, 51)), sum(100 + s for s in range(1, 51))
    assert sorted(found) == sorted([1, 101, first, second])


def returns(seed: int, greedy: bool, start: int = 1) -> list[float]:
    environments = make_environments(EnvironmentSettings(id="tests.fakes:ActionByObservation"), 4)
    network = FixedPolicy(Categorical(2), [0.0, 0.1], size=1)
    found, *_ = play(
        Policy(network, environments.spaces, None, {}),
        environments,
        episodes=40,
        seeds=list(range(start, start + 4)),
        greedy=greedy,
        seed=seed,
    )
    return found.tolist()


def test_the_same_seeds_give_the_same_returns() -> None:
    assert returns(1, greedy=False) == returns(1, greedy=False) != returns(2, greedy=False)
    assert returns(1, greedy=True) == returns(2, greedy=True) != returns(1, greedy=True, start=5)


def test_greedy_plays_the_likeliest_action() -> None:
    environments = make_environments(EnvironmentSettings(id="tests.fakes:RewardByAction"), 2)
    network = FixedPolicy(Categorical(2), [0.0, 0.1], size=1)
    greedy, *_ = play(
        Policy(network, environments.spaces, None, {}), environments, episodes=20, seeds=[1, 2], greedy=True
    )
    assert greedy.tolist() == [1.0] * 20


def test_a_box_gets_its_own_range() -> None:
    environments = make_environments(EnvironmentSettings(id="tests.fakes:Continuous"), 2)
    network = FixedPolicy(Gaussian(1), [0.0, -9.0], size=1)  # the middle of [0, 4], one away from either best
    found, *_ = play(
        Policy(network, environments.spaces, None, {}), environments, episodes=10, seeds=[1, 2], greedy=True
    )
    assert found.tolist() == [-1.0] * 10


def test_the_network_sees_normalised_observations() -> None:
    environments = make_environments(EnvironmentSettings(id="tests.fakes:counting", kwargs={"length": 2}), 1)
    network = FixedPolicy(Categorical(3), [0.0] * 3, size=3)
    statistics = RunningStatistics(4.0, np.array([1.0, 0.0, 0.0]), np.array([1.0, 4.0, 4.0]))  # deviations 1/2, 1, 1
    play(Policy(network, environments.spaces, statistics, {}), environments, episodes=1, seeds=[1], greedy=True)
    assert [float(seen[0, 0]) for seen in network.seen] == [-2.0, 0.0]


def test_no_global_draw_is_used() -> None:
    before = torch.get_rng_state()
    returns(1, greedy=False)
    assert torch.equal(before, torch.get_rng_state())
