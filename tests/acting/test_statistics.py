import numpy as np
import pytest
import torch

from marl.acting.collect import Collector
from marl.acting.statistics import Statistics
from marl.data.node.memory import array, node_memory
from marl.data.normalizer import from_row, merge
from marl.data.shared import SharedBlock
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.networks.distributions import Categorical
from marl.networks.measured.gaussian import Gaussian
from tests.fake_algorithms import FixedPolicy


def memory(workers: int) -> SharedBlock:
    return node_memory(num_weights=1, num_parameters=1, observation_size=3, workers=workers)


def collector(worker: int, length: int = 6) -> Collector:
    settings = EnvironmentSettings(id="tests.fakes:counting", kwargs={"length": 4, "grows": True})
    return Collector(
        make_environments(settings, 2),
        length=length,
        discount=0.9,
        reward_scale=2.0,
        generator=torch.Generator().manual_seed(worker),
        seeds=[worker, worker + 100],
    )


def policy() -> FixedPolicy:
    return FixedPolicy(Categorical(3), [0.0] * 3, size=3)


def test_all_workers_together_equal_numpy_over_all_data() -> None:
    """Also what came from a checkpoint, in row 0: saved, merged and gone on from."""
    seen, saved = [], None
    for _ in range(2):  # two runs, the second resumes the first
        block = memory(3)
        if saved is not None:
            block["observations"][0].copy_(torch.from_numpy(saved))
        for worker in range(3):
            found = collector(worker)
            statistics = Statistics(block, worker, observations=True, rewards=False)
            for _ in range(4):
                found.collect(policy(), None, 0)
                seen.append(found._flat[1:].astype(np.float64).reshape(-1, 3).copy())
                statistics.learn_from(found)
        together = merge(array(block, "observations"))
        saved = np.concatenate([[together.count], together.mean, together.m2])
    everything = np.concatenate(seen)
    final = from_row(saved)
    assert final.count == len(everything) == 2 * 3 * 4 * 12
    np.testing.assert_allclose(final.mean, everything.mean(0))
    np.testing.assert_allclose(final.std(), everything.std(0))


def test_a_worker_normalises_by_what_all_have_seen() -> None:
    block = memory(2)
    first, second = (Statistics(block, worker, observations=True, rewards=False) for worker in range(2))
    found = collector(0)
    found.collect(policy(), None, 0)
    first.learn_from(found)
    raw = np.array([[1.0, 2.0, 300.0]], np.float32)
    assert second.normalizer(raw)[0, 0] == 1.0  # not before it looks
    second.refresh()
    np.testing.assert_array_equal(first.normalizer(raw), second.normalizer(raw))
    assert second.normalizer(raw)[0, 0] != 1.0
    assert not array(block, "observations")[[0, 2]].any()  # each writes its own row only


def test_rewards_are_scaled_by_the_deviation_of_the_discounted_return() -> None:
    block = memory(1)
    statistics, found = Statistics(block, 0, observations=False, rewards=True), collector(0)
    assert statistics.normalizer is None
    trajectory, episodes = found.collect(policy(), None, 0)
    raw, before = trajectory.rewards.clone(), episodes.returns.copy()
    statistics.learn_from(found)
    deviation = from_row(array(block, "rewards")[1]).std()[0]
    torch.testing.assert_close(trajectory.rewards, raw / deviation * 2.0)  # and by reward_scale
    assert deviation > 1
    assert episodes.returns.tolist() == before.tolist()
    assert not array(block, "observations").any()


def test_nothing_is_normalised_unless_asked() -> None:
    block = memory(1)
    statistics, found = Statistics(block, 0, observations=False, rewards=False), collector(0)
    trajectory, _ = found.collect(policy(), None, 0)
    raw = trajectory.rewards.clone()
    statistics.learn_from(found)
    assert torch.equal(trajectory.rewards, raw * 2.0)
    assert not array(block, "observations").any()
    assert not array(block, "rewards").any()


@pytest.mark.parametrize("rewards", [False, True])
def test_rewards_that_never_vary_stay_finite(rewards: bool) -> None:
    block = memory(1)
    statistics = Statistics(block, 0, observations=False, rewards=rewards)
    found = Collector(
        make_environments(EnvironmentSettings(id="tests.fakes:Boxed", kwargs={"low": [-1], "high": [1]}), 2),
        length=3,
        discount=0.9,
        reward_scale=1.0,
        generator=torch.Generator(),
        seeds=[0, 1],
    )
    trajectory, _ = found.collect(FixedPolicy(Gaussian(1), [0.0, 0.0], size=1), None, 0)
    statistics.learn_from(found)
    assert not trajectory.rewards.any()


@pytest.mark.parametrize("observations", [True, False])
def test_children_bring_rewards_to_size_by_common_statistics(observations: bool) -> None:
    """By what the parent's answer brought, in row 0; before there is any, by what the node has seen itself."""
    size = 4 if observations else 1
    block = node_memory(num_weights=1, num_parameters=1, observation_size=size, workers=1)
    statistics = Statistics(block, 0, observations=observations, rewards=True, alone=False)
    found, plain = collector(0), collector(0)
    plain.collect(policy(), None, 0)
    expected, own = plain._rewards.copy(), plain.reward_statistics()
    found.collect(policy(), None, 0)
    statistics.learn_from(found)
    np.testing.assert_allclose(found._rewards, 2 * expected / own.std()[0], rtol=1e-6)
    assert array(block, "observations")[1, 0] == (12 if observations else own.count)

    deviations = np.arange(1.0, size + 1)
    array(block, "observations")[0] = [100, *np.zeros(size), *(100 * deviations**2)]
    found = collector(0)
    found.collect(policy(), None, 0)
    statistics.learn_from(found)
    np.testing.assert_allclose(found._rewards, 2 * expected / deviations[-1], rtol=1e-6)
    if observations:
        assert statistics.normalizer is not None
        np.testing.assert_allclose(statistics.normalizer(np.ones((1, 3), np.float32)), [1 / deviations[:3]], rtol=1e-6)
