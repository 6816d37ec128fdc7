from typing import Any

import numpy as np
import pytest
from gymnasium.vector import VectorEnv

from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import Environments, make_environments
from marl.errors import EnvironmentFault
from tests.fakes import Boxed, CountingEnv, counting_vector, faulty_vector

MODES = ["NextStep", "SameStep", "Disabled"]


def played(environments: Environments, steps: int) -> list[list[tuple]]:
    """Transitions (observation, reward, true next observation, terminated, truncated) of each environment, in order."""
    before = environments.reset(list(range(environments.count))).copy()
    stories: list[list[tuple]] = [[] for _ in range(environments.count)]
    for _ in range(steps):
        step = environments.step(np.zeros(environments.count, np.int64))
        truly_last = {int(b): last for b, last in zip(step.last_index, step.last_observations, strict=True)}
        for b in range(environments.count):
            if step.valid[b]:
                after = truly_last.get(b, step.observations[b])
                stories[b].append(
                    (tuple(before[b]), step.rewards[b], tuple(after), bool(step.terminated[b]), bool(step.truncated[b]))
                )
            else:
                assert not step.terminated[b]
                assert not step.truncated[b]
                assert step.rewards[b] == 0
        before = step.observations.copy()
    return stories


@pytest.mark.parametrize("ends", ["terminated", "truncated", "both", "alternate"])
@pytest.mark.parametrize("mode", MODES)
def test_every_transition_once_in_order(mode: str, ends: str) -> None:
    """Episodes of 1, 2, 3, ... steps: each observation, reward and end stands where the environment put it."""
    environments = Environments(counting_vector(3, mode, length=1, ends=ends, grows=True), "counting")
    for story in played(environments, 40):
        episode, count = 0, 0
        drawn = story[0][0][2]
        for before, reward, after, terminated, truncated in story:
            length = episode + 1
            ended = count + 1 == length
            assert before == (count, episode, drawn)
            assert reward == 100 * episode + count + 1
            assert terminated == (
                ended and (ends in ("terminated", "both") or (ends == "alternate" and not episode % 2))
            )
            assert truncated == (
                ended and (ends in ("truncated", "both") or (ends == "alternate" and episode % 2 == 1))
            )
            if not terminated:  # what would be bootstrapped from: the true last one, not the next episode's first
                assert after == (count + 1, episode, drawn)
            count += 1
            if ended:
                episode, count = episode + 1, 0
                following = next((each for each in story if each[0][1] == episode), None)
                drawn = following[0][2] if following else None
        assert episode >= 7


@pytest.mark.parametrize(("mode", "num_transitions"), [("NextStep", 9), ("SameStep", 12), ("Disabled", 12)])
def test_reset_steps_are_no_transitions(mode: str, num_transitions: int) -> None:
    environments = Environments(counting_vector(2, mode, length=3), "counting")
    assert [len(story) for story in played(environments, 12)] == [num_transitions] * 2


@pytest.mark.parametrize("mode", MODES)
def test_a_reset_forgets_what_was_under_way(mode: str) -> None:
    """With next-step resets an end just before ``reset`` must not make the first step of the new episode a reset."""
    environments = Environments(counting_vector(2, mode, length=1), "counting")
    environments.reset([1, 2])
    environments.step(np.zeros(2, np.int64))
    first = environments.reset([3, 4]).copy()
    assert first[:, :2].tolist() == [[0, 0], [0, 0]]
    assert environments.step(np.zeros(2, np.int64)).valid.all()


def test_seeds_reach_each_environment() -> None:
    settings = EnvironmentSettings(id="tests.fakes:counting")
    first, again, other = (make_environments(settings, 3).reset(seeds) for seeds in ([5, 6, 7], [5, 6, 7], [7, 6, 5]))
    assert first.tolist() == again.tolist() == other[::-1].tolist()
    assert len({*first[:, 2]}) == 3


def test_cartpole_is_its_own_vector_and_exact() -> None:
    environments = make_environments(EnvironmentSettings(kwargs={"max_episode_steps": 9}), 4)
    assert type(environments._vector.unwrapped).__name__ == "CartPoleVectorEnv"
    environments.reset([3, 4, 5, 6])
    length = np.zeros(4, int)
    for step in range(60):
        answer = environments.step(np.full(4, step % 2))
        length = np.where(answer.valid, length + 1, 0)
        assert (answer.truncated == (length == 9)).all()
        assert (answer.rewards == answer.valid).all()


def test_its_own_seconds_are_counted() -> None:
    environments = make_environments(EnvironmentSettings(id="tests.fakes:counting"), 2)
    environments.reset([0, 1])
    environments.step(np.zeros(2, np.int64))
    first = environments.seconds
    environments.step(np.zeros(2, np.int64))
    assert 0 < first < environments.seconds


# Actions


def test_discrete_actions_begin_at_start() -> None:
    environments = make_environments(EnvironmentSettings(id="tests.fakes:counting", kwargs={"start": 3}), 2)
    environments.reset([0, 1])
    environments.step(np.array([0, 2]))
    inner = [env.unwrapped for env in environments._vector.envs]
    assert all(isinstance(env, CountingEnv) for env in inner)
    assert [env.actions for env in inner] == [[3], [5]]


def test_actions_take_the_shape_of_the_box() -> None:
    kwargs = {"low": [-1, 0, 0, 0], "high": [1, 2, 4, 6], "shape": [2, 2]}
    environments = make_environments(EnvironmentSettings(id="tests.fakes:Boxed", kwargs=kwargs), 3)
    environments.reset([0, 1, 2])
    environments.step(np.zeros((3, 4), np.float32))
    for env in environments._vector.envs:
        assert isinstance(env, Boxed)
        assert env.actions[0].dtype == np.float32
        assert env.actions[0].tolist() == [[0, 1], [2, 3]]


# Faults


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("fault", "words"), [("raise", "RuntimeError in step: the motor broke"), ("shape", "step"), ("four", "step")]
)
def test_what_an_environment_raises_is_one_line(mode: str, fault: str, words: str) -> None:
    environments = Environments(faulty_vector(2, mode, fault=fault, at=1), "mine")
    environments.reset([0, 1])
    with pytest.raises(EnvironmentFault, match=words) as caught:
        environments.step(np.zeros(2, np.int64))
    assert "\n" not in str(caught.value)
    assert "marl check mine" in str(caught.value)


@pytest.mark.parametrize("mode", MODES)
def test_a_reset_that_raises_is_named(mode: str) -> None:
    """At first, and at the end of an episode, whoever resets it."""
    with pytest.raises(EnvironmentFault, match="RuntimeError in reset: the reset broke"):
        Environments(faulty_vector(2, mode, fault="raise_reset", at=0), "mine").reset([0, 1])
    environments = Environments(faulty_vector(2, mode, fault="raise_reset", at=1, length=1), "mine")
    environments.reset([0, 1])
    if mode == "NextStep":  # the reset is the step after
        environments.step(np.zeros(2, np.int64))
    with pytest.raises(EnvironmentFault, match=r"RuntimeError in (step|reset): the reset broke"):
        environments.step(np.zeros(2, np.int64))


def test_a_vector_must_say_how_it_resets() -> None:
    vector = counting_vector(1, "NextStep")
    vector.metadata["autoreset_mode"] = "sometimes"
    with pytest.raises(EnvironmentFault, match="AutoresetMode, got 'sometimes'"):
        Environments(vector, "mine")


def test_a_same_step_vector_must_show_the_last_observation() -> None:
    vector = counting_vector(1, "SameStep", length=1, ends="truncated")
    inner = vector.step
    vector.step = lambda actions: (*inner(actions)[:4], {})  # type: ignore[method-assign]
    environments = Environments(vector, "mine")
    environments.reset([0])
    with pytest.raises(EnvironmentFault, match="final_obs"):
        environments.step(np.zeros(1, np.int64))


def test_a_first_observation_of_another_shape() -> None:
    vector = counting_vector(2, "NextStep")
    vector.reset = lambda **unused: (np.zeros((2, 5)), {})  # type: ignore[method-assign]
    with pytest.raises(EnvironmentFault, match=r"shape \(2, 3\).*got \(2, 5\)"):
        Environments(vector, "mine").reset([0, 1])


class Bare(VectorEnv[Any, Any, Any]):
    """Says how many environments it has, and nothing else."""

    closed = 0

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs

    def close(self, **unused: Any) -> None:
        Bare.closed += 1


def test_a_vector_that_lacks_what_gymnasium_asks_for_is_closed() -> None:
    Bare.closed = 0
    with pytest.raises(EnvironmentFault, match=r"Bare does not start: AttributeError: .*single_observation_space"):
        make_environments(EnvironmentSettings(id="tests.environments.test_vector:Bare"), 2)
    assert Bare.closed == 1
