from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from marl.environments.actions import random_actions
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import Environments, make_environments
from marl.errors import EnvironmentFault
from tests.fakes import Boxed, CountingEnv, counting_vector, faulty_vector
from tests.robots import LENGTH, Robot

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
    ("fault", "words"),
    [("raise", "RuntimeError in step: the motor broke"), ("shape", "expected obs"), ("four", "step")],
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


class BatchedEnd(SyncVectorEnv):
    """Gives last observations as one tree of arrays."""

    def step(self, actions: Any) -> Any:
        observations, rewards, terminated, truncated, info = super().step(actions)
        if "final_obs" in info:
            each = [{key: value for key, value in one.items() if key != "name"} for one in info["final_obs"]]
            info["final_obs"] = {
                "body": tuple(np.stack([one["body"][number] for one in each]) for number in range(2)),
                **{key: np.stack([one[key] for one in each]) for key in ("camera", "dials", "tool")},
            }
        return observations, rewards, terminated, truncated, info


@pytest.mark.parametrize("kind", [SyncVectorEnv, BatchedEnd])
def test_last_observations_that_are_trees(kind: type[SyncVectorEnv]) -> None:
    vector = kind([Robot] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    environments = Environments(vector, "robot", ["name"])
    environments.reset([0, 1])
    actions = random_actions(environments.spaces, 2, np.random.default_rng(0))
    for _ in range(LENGTH):
        step = environments.step(actions)
    assert step.last_index.tolist() == [0, 1]
    assert step.last_observations["camera"][:, 0, 0, 0].tolist() == [LENGTH] * 2
    assert step.observations["camera"][:, 0, 0, 0].tolist() == [0, 0]
    assert step.last_observations["dials"].tolist() == [[1, 3]] * 2  # counted from 0


class ListVector(SyncVectorEnv):
    """Gives lists where a Tuple is declared, and numbers as they come."""

    changes: ClassVar[dict[str, Any]] = {}

    def reset(self, **words: Any) -> Any:
        observations, info = super().reset(**words)
        return {**observations, "body": list(observations["body"])}, info

    def step(self, actions: Any) -> Any:
        observations, *rest = super().step(actions)
        return {**observations, "body": list(observations["body"]), **self.changes}, *rest


def test_lists_are_as_good_as_tuples() -> None:
    environments = Environments(ListVector([Robot] * 2), "robot", ["name"])
    environments.reset([0, 1])
    step = environments.step(random_actions(environments.spaces, 2, np.random.default_rng(0)))
    assert type(step.observations["body"]) is tuple


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tool": np.array([1, 4])}, "observation tool 4 lies outside its space of 1 to 3"),
        ({"tool": np.array([1, 0])}, "observation tool 0 lies outside its space of 1 to 3"),
        ({"tool": np.array([1.0, 2.0])}, "observation tool holds float64 where whole numbers belong"),
        ({"tool": np.array(["a", "b"])}, "expected observations of shape"),
        ({"dials": np.zeros((2, 3), int)}, "expected observations of shape"),
        ({"body": [np.zeros((2, 2))]}, "expected observations of shape"),
        ({"body": [[1], [2, 3]]}, "expected observations of shape"),
    ],
)
def test_observations_outside_their_space_are_refused_before_anybody_acts(
    changes: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ListVector, "changes", changes)
    environments = Environments(ListVector([Robot] * 2), "robot", ["name"])
    environments.reset([0, 1])
    with pytest.raises(EnvironmentFault, match=words):
        environments.step(random_actions(environments.spaces, 2, np.random.default_rng(0)))
