"""A stream puts together, from steps that arrive one by one, exactly what a collector plays."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from marl.acting.collect import Collector
from marl.acting.streams import Answered, Stream
from marl.data.layout import Leaf, mapped
from marl.data.trajectory import LAST, STEPS, Trajectory
from marl.environments.vector import Environments, Step
from marl.networks.contract import Acts, Decision, State, Stateless
from marl.networks.distributions import Categorical
from tests.fakes import counting_vector

MODES = ["NextStep", "SameStep", "Disabled"]
COUNT, SIZE, NUM_ACTIONS = 3, 3, 3
SEEDS = [5, 6, 7]


class Telltale(Stateless):
    """Is sure of an action that follows from what it sees, and says what it saw in its parameters."""

    distribution = Categorical(NUM_ACTIONS)

    def policy(self, observations: Tensor) -> Tensor:
        logits = torch.cat([observations[:, :2], observations[:, 2:]], -1)
        chosen = observations.sum(-1).long() % NUM_ACTIONS
        return logits + 1e6 * torch.nn.functional.one_hot(chosen, NUM_ACTIONS)


def environments(mode: str, **kwargs: Any) -> Environments:
    return Environments(counting_vector(COUNT, mode, **kwargs), "counting")


class Remembers(Telltale):
    """Two numbers and one more of each environment."""

    def initial_state(self, rows: int) -> State:
        return {"pair": torch.full((rows, 2), 7.0), "count": torch.zeros(rows, dtype=torch.int64)}

    def step(self, observations: Tensor, state: State) -> Decision:
        return Decision(self.policy(observations), None, mapped(lambda each: each + 1, state))


def make_stream(
    length: int, network: Acts | None = None, reward_scale: float = 1.0, reward_clip: float | None = None
) -> Stream:
    return Stream(
        length=length,
        environments=COUNT,
        observation=Leaf((SIZE,), torch.float32),
        action=Leaf((), torch.int64),
        network=network or Telltale(),
        reward_scale=reward_scale,
        reward_clip=reward_clip,
    )


SEEN = torch.zeros(COUNT, SIZE)


def listed(state: State) -> Any:
    return mapped(Tensor.tolist, state)


def began(question: int, observations: npt.NDArray[Any]) -> Answered:
    none, nothing = np.zeros(COUNT, np.float32), np.zeros((0, SIZE), np.float32)
    return Answered(question, True, observations, none, np.zeros((3, COUNT), np.uint8), nothing, np.zeros(0, np.int64))


def answered(question: int, step: Step) -> Answered:
    ends = np.array([step.terminated, step.truncated, step.valid], np.uint8)
    last = np.asarray(step.last_observations, np.float32)
    return Answered(question, False, np.array(step.observations), step.rewards, ends, last, step.last_index)


def copied(trajectory: Trajectory) -> Trajectory:
    return Trajectory(*(each.clone() if isinstance(each, Tensor) else each for each in trajectory))


def collected(
    found: Environments, length: int, times: int, reward_scale: float, reward_clip: float | None = None
) -> list[Trajectory]:
    collector = Collector(
        found,
        length=length,
        discount=0.9,
        reward_scale=reward_scale,
        reward_clip=reward_clip,
        generator=torch.Generator().manual_seed(1),
        seeds=SEEDS,
    )
    trajectories = []
    for _ in range(times):
        trajectory, _ = collector.collect(Telltale(), None, 0)
        collector.scale_rewards(1.0)
        trajectories.append(copied(trajectory))
    return trajectories


def streamed(
    found: Environments, length: int, times: int, reward_scale: float, reward_clip: float | None = None
) -> list[Trajectory]:
    stream, policy = make_stream(length, reward_scale=reward_scale, reward_clip=reward_clip), Telltale()
    question, trajectories = 1, []
    seen = np.array(found.reset(SEEDS))
    assert stream.take(began(question, seen)) is None
    while len(trajectories) < times:
        parameters = policy.policy(torch.from_numpy(seen.copy()))
        actions = parameters.argmax(-1).numpy()
        stream.decided(question, actions, parameters.numpy(), stream.state(), 0)
        question += 1
        step = found.step(actions)
        seen = np.array(step.observations)
        trajectory = stream.take(answered(question, step))
        if trajectory is not None:
            trajectories.append(copied(trajectory))
    return trajectories


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("ends", ["terminated", "truncated", "both", "alternate"])
@pytest.mark.parametrize("mode", MODES)
def test_it_is_what_a_collector_plays(mode: str, ends: str, length: int) -> None:
    """Over trajectories in a row, in every way of resetting, with every kind of end: the same in every field."""
    kwargs: dict[str, Any] = {"length": 1, "ends": ends, "grows": True}
    played = collected(environments(mode, **kwargs), length, 6, 0.5)
    put_together = streamed(environments(mode, **kwargs), length, 6, 0.5)
    for here, there in zip(put_together, played, strict=True):
        for name in (*STEPS, *LAST):
            ours, theirs = getattr(here, name), getattr(there, name)
            assert ours.dtype == theirs.dtype, name
            assert torch.equal(ours, theirs), name
    if ends == "truncated" and mode != "NextStep":
        assert sum(len(each.last_index) for each in put_together) > 0


@pytest.mark.parametrize("clip", [0.0, 0.25, 2.0])
def test_rewards_are_clipped_alike_and_before_they_are_scaled(clip: float) -> None:
    kwargs: dict[str, Any] = {"length": 3, "ends": "both", "grows": True}
    whole = collected(environments("NextStep", **kwargs), 5, 3, 1.0)
    played = collected(environments("NextStep", **kwargs), 5, 3, 0.5, clip)
    put_together = streamed(environments("NextStep", **kwargs), 5, 3, 0.5, clip)
    for here, there, before in zip(put_together, played, whole, strict=True):
        assert torch.equal(here.rewards, there.rewards)
        assert torch.equal(there.rewards, before.rewards.clamp(-clip, clip) * 0.5)


def acted(stream: Stream, question: int, action: int, version: int, state: State | None = None) -> None:
    actions = np.full(COUNT, action)
    behaviour = np.full((COUNT, NUM_ACTIONS), float(action), np.float32)
    stream.decided(question, actions, behaviour, stream.state() if state is None else state, version)


def plain(question: int, **fields: Any) -> Answered:
    """Environments that go on."""
    nothing, valid = np.zeros((0, SIZE), np.float32), np.array([[0] * COUNT, [0] * COUNT, [1] * COUNT], np.uint8)
    seen = np.full((COUNT, SIZE), float(question), np.float32)
    ordinary = Answered(question, False, seen, np.ones(COUNT), valid, nothing, np.zeros(0, np.int64))
    return ordinary._replace(**fields)


def test_what_is_decided_on_the_last_observation_is_done_first_in_the_next_trajectory() -> None:
    stream = make_stream(2)
    stream.take(began(1, np.zeros((COUNT, SIZE), np.float32)))
    found = []
    for question in range(1, 7):
        acted(stream, question, action=question % NUM_ACTIONS, version=10 + question)
        trajectory = stream.take(plain(question + 1))
        if trajectory is not None:
            found.append(copied(trajectory))
    assert [each.actions[:, 0].tolist() for each in found] == [[1, 2], [0, 1], [2, 0]]
    assert [each.behaviour[:, 0, 0].tolist() for each in found] == [[1, 2], [0, 1], [2, 0]]
    assert [each.version for each in found] == [11, 13, 15]  # the oldest that acted, the boundary's among them
    assert [each.observations[:, 0, 0].tolist() for each in found] == [[0, 2, 3], [3, 4, 5], [5, 6, 7]]


def test_the_version_is_the_oldest_even_where_weights_went_back() -> None:
    """A learner that died publishes again what it had."""
    stream = make_stream(3)
    stream.take(began(1, np.zeros((COUNT, SIZE), np.float32)))
    for question, version in enumerate((7, 4, 9), start=1):
        acted(stream, question, 0, version)
        trajectory = stream.take(plain(question + 1))
    assert trajectory is not None
    assert trajectory.version == 4


@pytest.mark.parametrize("lost_at", [0, 1, 2])
def test_what_does_not_follow_begins_anew(lost_at: int) -> None:
    """A new worker, a question that was lost, one that is asked again: at any step, with nothing of before in it."""
    for comes in (plain(20), plain(lost_at + 1), began(21, np.full((COUNT, SIZE), 20.0, np.float32))):
        stream, network = make_stream(2, Remembers()), Remembers()
        stream.take(began(1, np.zeros((COUNT, SIZE), np.float32)))
        for question in range(1, 1 + lost_at):
            acted(stream, question, 1, version=1, state=network.step(SEEN, stream.state()).state)
            stream.take(plain(question + 1))
        acted(stream, 1 + lost_at, 1, version=1, state=network.step(SEEN, stream.state()).state)
        assert not stream.follows(comes)
        assert stream.take(comes) is None
        assert listed(stream.state()) == listed(network.initial_state(COUNT))
        question = comes.question
        acted(stream, question, 2, version=2)
        assert stream.take(plain(question + 1)) is None
        acted(stream, question + 1, 2, version=2)
        trajectory = stream.take(plain(question + 2))
        assert trajectory is not None
        assert trajectory.version == 2
        assert trajectory.actions.unique().tolist() == [2]
        assert torch.equal(trajectory.observations[0], torch.from_numpy(comes.observations))
        assert trajectory.rewards.tolist() == [[1.0] * COUNT] * 2


def test_no_answer_is_taken_twice() -> None:
    stream = make_stream(2)
    stream.take(began(1, np.zeros((COUNT, SIZE), np.float32)))
    acted(stream, 1, 0, 0)
    stream.take(plain(2))
    assert not stream.follows(plain(2))


def test_nothing_is_remembered_over_an_end_or_a_reset() -> None:
    network = Remembers()
    stream = make_stream(4, network)
    stream.take(began(1, np.zeros((COUNT, SIZE), np.float32)))
    expected = np.zeros(COUNT, np.int64)
    ends = [
        [[0, 0, 0], [0, 0, 0], [1, 1, 1]],  # nothing ends
        [[1, 0, 0], [0, 0, 0], [1, 1, 1]],  # the first terminates
        [[0, 0, 0], [0, 1, 0], [0, 1, 1]],  # it resets in a step of its own, the second is cut
        [[0, 0, 0], [0, 0, 0], [1, 1, 1]],
        [[0, 0, 1], [0, 0, 1], [1, 1, 1]],
    ]
    for question, end in enumerate(ends, start=1):
        acted(stream, question, 0, 0, network.step(SEEN, stream.state()).state)
        expected += 1
        stream.take(plain(question + 1, ends=np.array(end, np.uint8)))
        terminated, truncated, valid = np.array(end, bool)
        expected[terminated | truncated | ~valid] = 0
        assert stream.state()["count"].tolist() == expected.tolist()
        assert stream.state()["pair"].tolist() == [[7.0 + each] * 2 for each in expected.tolist()]


def test_a_trajectory_has_the_state_of_its_first_decision() -> None:
    """Which was made on the last observation of the trajectory before."""
    network = Remembers()
    stream = make_stream(2, network)
    stream.take(began(1, np.zeros((COUNT, SIZE), np.float32)))
    found = []
    ended = plain(0, ends=np.array([[0, 0, 0], [0, 1, 0], [1, 1, 1]], np.uint8)).ends
    for question in range(1, 7):
        acted(stream, question, 0, 0, network.step(SEEN, stream.state()).state)
        trajectory = stream.take(plain(question + 1, **({"ends": ended} if question == 4 else {})))
        if trajectory is not None:
            found.append(trajectory.state["count"].tolist())
    assert found == [[0, 0, 0], [2, 2, 2], [4, 0, 4]]


def test_what_came_may_be_overwritten() -> None:
    """It lies where the next upload arrives."""
    stream = make_stream(1)
    stream.take(began(1, np.zeros((COUNT, SIZE), np.float32)))
    acted(stream, 1, 0, 0)
    last, index = np.full((1, SIZE), 9.0, np.float32), np.array([2])
    came = plain(2, last_observations=last, last_index=index)
    stream.take(came)
    acted(stream, 2, 0, 0)
    came.observations[:] = last[:] = -1
    index[:] = 0
    second = plain(3, last_observations=np.full((1, SIZE), 8.0, np.float32), last_index=np.array([1]))
    trajectory = stream.take(second)
    assert trajectory is not None
    assert trajectory.observations[0].unique().tolist() == [2.0]
    assert (trajectory.last_observations.unique().tolist(), trajectory.last_index.tolist()) == ([8.0], [1])
