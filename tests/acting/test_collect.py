from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from marl.acting.collect import Collector
from marl.data.normalizer import Normalizer, RunningStatistics, add, from_row, num_columns
from marl.data.trajectory import LAST, STEPS
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import Environments, make_environments
from marl.errors import EnvironmentFault
from marl.networks.distributions import Categorical
from marl.networks.measured.gaussian import Gaussian
from tests.acting.collecting import MODES, UNIFORM, collector, copied, counting_policy, played
from tests.fake_algorithms import FixedPolicy
from tests.fakes import CountingEnv, Pixels, counting_vector, faulty_vector


@pytest.mark.parametrize("ends", ["terminated", "truncated", "alternate"])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_lost_over_many_trajectories(mode: str, ends: str) -> None:
    """Episodes of 1, 2, 3, ... steps: every transition once and in order, every return and length exact."""
    environments = Environments(counting_vector(3, mode, length=1, ends=ends, grows=True), "counting")
    trajectory, episodes = played(collector(environments), counting_policy(), times=9)
    count = environments.count
    truly_last = dict(zip(trajectory.last_index.tolist(), trajectory.last_observations.tolist(), strict=True))
    num_ends = 0
    for b in range(count):
        episode, step = 0, 0
        for t in range(45):
            if not trajectory.valid[t, b]:
                assert mode == "NextStep"
                continue
            assert trajectory.observations[t, b, :2].tolist() == [step, episode]
            assert trajectory.rewards[t, b] == 100 * episode + step + 1
            step += 1
            cut = ends == "truncated" or (ends == "alternate" and episode % 2 == 1)
            ended = step == episode + 1
            assert bool(trajectory.terminated[t, b]) == (ended and not cut)
            assert bool(trajectory.truncated[t, b]) == (ended and cut)
            if ended and cut:
                after = truly_last.get(t * count + b, trajectory.observations[t + 1, b].tolist())
                assert after[:2] == [step, episode]
            if ended:
                episode, step, num_ends = episode + 1, 0, num_ends + 1
    expected = sorted((sum(100 * e + s for s in range(1, e + 2)), e + 1) for e in range(20))
    assert sorted(zip(episodes.returns, episodes.lengths, strict=True)) == sorted(
        [each for each in expected if each[1] <= num_ends // count] * count
    )


def test_the_network_acts_on_what_is_recorded() -> None:
    """Observations, actions and parameters of one step belong together, and reach the environment."""
    environments = make_environments(EnvironmentSettings(id="tests.fakes:counting", kwargs={"length": 100}), 2)
    policy = counting_policy()
    trajectory, _ = collector(environments).collect(policy, None, version=42)
    assert trajectory.version == 42
    assert np.array_equal(np.stack(policy.seen), trajectory.observations[:-1])
    assert torch.equal(trajectory.behaviour, torch.zeros(5, 2, 3))
    for b, env in enumerate(environments._vector.envs):
        assert isinstance(env, CountingEnv)
        assert env.actions == trajectory.actions[:, b].tolist()
    assert len(set(trajectory.actions.ravel().tolist())) > 1


def test_continuous_actions_are_recorded_as_drawn() -> None:
    """Before they are stretched and clipped: the density of the drawn number is what the loss needs."""
    kwargs = {"low": [0, 0], "high": [4, 1]}
    environments = make_environments(EnvironmentSettings(id="tests.fakes:Boxed", kwargs=kwargs), 3)
    policy = FixedPolicy(Gaussian(2), [0.0, 0.0, 1.0, 1.0], size=1)
    trajectory, _ = collector(environments).collect(policy, None, 0)
    assert trajectory.actions.shape == (5, 3, 2)
    assert trajectory.actions.abs().max() > 1
    for b, env in enumerate(environments._vector.envs):
        expected = np.clip(trajectory.actions[:, b].numpy() * [2, 0.5] + [2, 0.5], 0, [4, 1])
        np.testing.assert_allclose(np.stack(env.actions), expected, rtol=1e-6, atol=1e-6)


def test_the_same_seeds_give_the_same_trajectory_also_after_a_reset() -> None:
    environments = make_environments(EnvironmentSettings(id="tests.fakes:counting"), 2)
    generator = torch.Generator().manual_seed(3)
    found = Collector(environments, length=4, discount=0.9, reward_scale=1.0, generator=generator, seeds=[8, 9])
    first = copied(found.collect(counting_policy(), None, 0)[0])
    found.collect(counting_policy(), None, 0)
    generator.manual_seed(3)
    found.reset([8, 9])
    again = found.collect(counting_policy(), None, 0)[0]
    for name in (*STEPS, *LAST):
        assert torch.equal(getattr(first, name), getattr(again, name)), name


def test_a_reset_forgets_returns_under_way() -> None:
    environments = make_environments(EnvironmentSettings(id="tests.fakes:counting", kwargs={"length": 7}), 1)
    found = collector(environments)
    found.collect(counting_policy(), None, 0)
    found.reset([0])
    found.collect(counting_policy(), None, 0)
    _, episodes = found.collect(counting_policy(), None, 0)
    assert episodes.returns.tolist() == [sum(range(1, 8))]
    assert episodes.lengths.tolist() == [7]


def test_returns_stay_un_normalised() -> None:
    environments = make_environments(EnvironmentSettings(id="tests.fakes:counting", kwargs={"length": 3}), 1)
    found = collector(environments, length=4, reward_scale=0.1)
    trajectory, episodes = found.collect(counting_policy(), None, 0)
    found.scale_rewards(0.5)
    assert episodes.returns.tolist() == [6.0]
    np.testing.assert_allclose(trajectory.rewards.ravel(), [0.05, 0.1, 0.15, 0.0], rtol=1e-6)  # the loss sees these


def test_steps_without_resets_are_counted() -> None:
    environments = make_environments(EnvironmentSettings(id="tests.fakes:counting", kwargs={"length": 1}), 3)
    found = collector(environments)
    first, second = (found.collect(counting_policy(), None, 0)[1] for _ in range(2))
    assert (first.steps, second.steps) == (9, 6)  # step, reset, step, reset, step; then reset, step, reset, step, reset
    assert first.seconds > 0
    assert first.seconds + second.seconds == pytest.approx(environments.seconds)


# Statistics


@pytest.mark.parametrize("mode", MODES)
def test_observation_statistics_equal_numpy_over_all(mode: str) -> None:
    environments = Environments(counting_vector(3, mode, length=3), "counting")
    found, row, seen = collector(environments), np.zeros(num_columns(3)), []
    for _ in range(6):
        trajectory, _ = found.collect(counting_policy(), None, 0)
        add(row, found.observation_statistics())
        seen.append(trajectory.observations[1:].double().numpy().reshape(-1, 3).copy())
    everything = np.concatenate(seen)
    merged = from_row(row)
    assert merged.count == len(everything) == 6 * 5 * 3
    np.testing.assert_allclose(merged.mean, everything.mean(0))
    np.testing.assert_allclose(merged.std(), everything.std(0))


def test_reward_statistics_are_those_of_the_discounted_return_so_far() -> None:
    environments = Environments(counting_vector(2, "SameStep", length=4, ends="alternate", grows=True), "counting")
    found, row, literal = collector(environments, discount=0.8), np.zeros(num_columns(1)), []
    running = np.zeros(2)
    for _ in range(7):
        trajectory, _ = found.collect(counting_policy(), None, 0)
        for t in range(5):
            running = running * 0.8 + trajectory.rewards[t].double().numpy()
            literal.extend(running)
            running[(trajectory.terminated[t] | trajectory.truncated[t]).numpy()] = 0
        add(row, found.reward_statistics())
        found.scale_rewards(0.01)  # which comes after, and changes nothing
    merged = from_row(row)
    assert merged.count == len(literal)
    np.testing.assert_allclose(merged.mean, np.mean(literal))
    np.testing.assert_allclose(merged.std(), np.std(literal))


@pytest.mark.parametrize("mode", MODES)
def test_all_that_the_network_sees_is_normalised(mode: str) -> None:
    """Observations and true last observations; the statistics stay those of the raw ones."""
    environments, plain = (
        Environments(counting_vector(2, mode, length=3, ends="truncated"), "counting") for _ in range(2)
    )
    normalizer = Normalizer(3)
    normalizer.use(RunningStatistics(4.0, np.array([1.0, 2.0, 400.0]), np.array([16.0, 16.0, 4e6])))
    policy = counting_policy()
    found, other = collector(environments), collector(plain)
    raw, _ = other.collect(counting_policy(), None, 0)
    seen, _ = found.collect(policy, normalizer, 0)
    np.testing.assert_array_equal(seen.observations.reshape(-1, 3), normalizer(raw.observations.numpy().reshape(-1, 3)))
    np.testing.assert_array_equal(np.stack(policy.seen), seen.observations[:-1])
    if mode != "NextStep":
        assert len(seen.last_observations) > 0
        np.testing.assert_array_equal(seen.last_observations, normalizer(raw.last_observations.numpy()))
    np.testing.assert_array_equal(found.observation_statistics().mean, other.observation_statistics().mean)


# Faults


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("length", [100, 1])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nan", "(last )?observation nan is not finite"),
        ("nan_reward", "reward nan is not finite"),
        ("shape", "mine"),
        ("raise", "the motor broke"),
    ],
)
def test_faults_name_the_environment(mode: str, fault: str, words: str, length: int) -> None:
    """Also at the end of a cut episode, whose last observation is bootstrapped from."""
    vector = faulty_vector(2, mode, fault=fault, at=3, length=length, ends="truncated")
    found = collector(Environments(vector, "mine"), length=8)
    with pytest.raises(EnvironmentFault, match=words) as caught:
        found.collect(counting_policy(), None, 0)
    assert "\n" not in str(caught.value)
    assert "marl check mine" in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 2), (2, 1), (3,), (1, 3)])
def test_a_vector_that_answers_in_another_shape(shape: tuple[int, ...]) -> None:
    """Also one that numpy would spread over the declared shape without a word."""
    vector = counting_vector(2, "NextStep", length=100)
    inner = vector.step

    def step(actions: Any) -> Any:
        return (np.zeros(shape, np.float32), *inner(actions)[1:])

    vector.step = step  # type: ignore[method-assign]
    found = collector(Environments(vector, "mine"))
    with pytest.raises(EnvironmentFault, match=r"expected observations of shape \(2, 3\)"):
        found.collect(counting_policy(), None, 0)


def test_pixels_stay_bytes() -> None:
    found = collector(Environments(SyncVectorEnv([Pixels] * 3), "pixels"))
    trajectory, _ = found.collect(FixedPolicy(Categorical(3), UNIFORM, size=35), None, 0)
    assert trajectory.observations.dtype == trajectory.last_observations.dtype == torch.uint8
    assert sorted(set(trajectory.observations.flatten().tolist())) == [0, 255]
    normalizer = Normalizer(35)
    normalizer.use(RunningStatistics(9.0, np.full(35, 100.0), np.full(35, 9 * 50.0**2)))
    trajectory, _ = found.collect(FixedPolicy(Categorical(3), UNIFORM, size=35), normalizer, 0)
    assert trajectory.observations.dtype == trajectory.last_observations.dtype == torch.float32
    assert np.allclose(sorted(set(trajectory.observations.flatten().tolist())), [-2.0, 3.1])


class Stamp(CountingEnv):
    """Counts steps from a time stamp that float32 cannot hold; every second episode is cut."""

    def __init__(self) -> None:
        super().__init__(length=3, ends="alternate")
        self.observation_space = Box(0, np.inf, (3,), np.float64)

    def _observation(self) -> Any:
        return 1.7e9 + super()._observation().astype(np.float64)


@pytest.mark.parametrize("mode", MODES)
def test_wide_observations_keep_what_differs_until_they_are_normalised(mode: str) -> None:
    statistics = RunningStatistics(4.0, np.full(3, 1.7e9), np.full(3, 4.0))  # of deviation 1
    normalizer = Normalizer(3)
    normalizer.use(statistics)
    environments = Environments(SyncVectorEnv([Stamp] * 2, autoreset_mode=AutoresetMode(mode)), "stamps")
    plain = Environments(
        SyncVectorEnv([lambda: CountingEnv(length=3, ends="alternate")] * 2, autoreset_mode=AutoresetMode(mode)),
        "plain",
    )
    nothing = Normalizer(3)
    found, _ = collector(environments, length=12).collect(counting_policy(), normalizer, 0)
    expected, _ = collector(plain, length=12).collect(counting_policy(), nothing, 0)
    assert found.observations.dtype == torch.float32
    assert torch.equal(found.observations, expected.observations)
    assert torch.equal(found.last_observations, expected.last_observations)
    blurred, _ = collector(environments, length=12).collect(counting_policy(), None, 0)
    assert blurred.observations.dtype == blurred.last_observations.dtype == torch.float32
