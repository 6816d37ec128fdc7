"""A worker that only steps: two groups in turn, and no answer but the one to its own question."""

from typing import Any

import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from marl.acting.stepper import Stepper
from marl.data.requests import (
    ANSWERED,
    ASKED,
    BEGUN,
    FIRST,
    GROUP,
    NUM_LAST,
    QUESTION,
    WORKER,
    RequestLayout,
    request_fields,
)
from marl.data.shared import SharedBlock
from marl.environments.vector import Environments
from marl.errors import EnvironmentFault
from tests.fakes import Boxed, CountingEnv, counting_vector, faulty_vector

COUNT, WORKERS, WORKER_NUMBER = 2, 2, 1


class Desk:
    """A worker's two desks, and who answers."""

    def __init__(self, mode: str = "SameStep", vector: Any = counting_vector, **kwargs: Any) -> None:
        self.groups = [Environments(vector(COUNT, mode, **kwargs), "counting") for _ in range(2)]
        spaces = self.groups[0].spaces
        self.layout = RequestLayout(environments=COUNT, observation=spaces.observation(), action=spaces.action)
        self.block = SharedBlock(request_fields(self.layout, WORKERS))
        self.counts = self.block["desk_counts"][WORKER_NUMBER].numpy()
        self.desks = self.layout.open(self.block["desks"][WORKER_NUMBER].numpy())

    def stepper(self, seed: int = 0) -> Stepper:
        seeds = [[seed + 10 * group + each for each in range(COUNT)] for group in range(2)]
        return Stepper(self.groups, self.block, WORKER_NUMBER, self.layout, seeds)

    def answer(self, group: int, actions: list[int], question: int | None = None) -> None:
        self.block["desk_actions"][WORKER_NUMBER, group].numpy()[:] = actions
        self.counts[group, ANSWERED] = self.counts[group, ASKED] if question is None else question

    def waits(self, group: int) -> bool:
        return bool(self.counts[group, ASKED] != self.counts[group, ANSWERED])

    def header(self, group: int) -> list[int]:
        found: list[int] = self.desks["header"][group, [WORKER, GROUP, QUESTION, FIRST, NUM_LAST]].tolist()
        return found

    def actions(self, group: int) -> list[list[int]]:
        """What each environment of a group has been told so far."""
        found = []
        for env in self.groups[group]._vector.envs:  # type: ignore[attr-defined]
            assert isinstance(env, CountingEnv)
            found.append([int(each) for each in env.actions])
        return found


def forever() -> bool:
    return True


def looks(count: int) -> Any:
    """Says no at the so many-th look."""
    left = iter(range(count))
    return lambda: next(left, None) is not None


def test_both_groups_ask_at_once_and_then_take_turns() -> None:
    desk = Desk(length=100)
    stepper = desk.stepper()
    assert [desk.header(group) for group in range(2)] == [[1, 0, 1, 1, 0], [1, 1, 1, 1, 0]]
    assert desk.desks["observations"][:, :, 0].tolist() == [[0, 0], [0, 0]]
    for turn in range(1, 4):
        for group in range(2):
            desk.answer(group, [turn % 3, group])
            assert stepper.step(forever) is not None
            assert desk.waits(group)
            assert desk.header(group) == [1, group, turn + 1, 0, 0]
            assert desk.desks["observations"][group, :, 0].tolist() == [turn, turn]
            assert desk.desks["rewards"][group].tolist() == [turn, turn]
            assert desk.desks["ends"][group].tolist() == [[0, 0], [0, 0], [1, 1]]
    assert desk.actions(0) == [[1, 2, 0], [0, 0, 0]]
    assert desk.actions(1) == [[1, 2, 0], [1, 1, 1]]


def test_it_waits_for_the_group_whose_turn_it_is() -> None:
    desk = Desk(length=100)
    stepper = desk.stepper()
    desk.answer(1, [0, 0])  # the other one's actions are there first
    assert stepper.step(looks(3)) is None
    assert desk.actions(0) == desk.actions(1) == [[], []]


def test_a_stop_ends_the_wait_and_play_too() -> None:
    desk = Desk(length=100)
    stepper = desk.stepper()
    assert stepper.step(lambda: False) is None
    desk.answer(1, [0, 0])
    assert stepper.step(lambda: False) is None  # also where it need not wait


def test_whoever_takes_its_place_asks_anew_and_takes_no_old_answer() -> None:
    desk = Desk(length=100)
    stepper = desk.stepper()
    desk.answer(0, [1, 1])
    stepper.step(forever)
    old = int(desk.counts[0, ASKED])  # its answer is on its way when the worker is killed
    successor = desk.stepper(seed=50)
    assert desk.header(0) == [1, 0, old + 1, 1, 0]
    desk.answer(0, [2, 2], question=old)
    assert successor.step(looks(3)) is None
    assert desk.actions(0) == [[1], [1]]
    successor._turn = 0
    desk.answer(0, [2, 0])
    assert successor.step(forever) is not None
    assert desk.actions(0) == [[1, 2], [1, 0]]


def test_a_worker_killed_while_it_writes_leaves_a_desk_that_shows_it() -> None:
    desk = Desk(length=100)
    desk.stepper()
    desk.counts[0, BEGUN] += 1  # as far as it came
    desk.stepper(seed=50)
    assert desk.counts[0, BEGUN] == desk.counts[0, ASKED] == 2


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_ends_and_true_last_observations_are_laid_down(mode: str) -> None:
    desk = Desk(mode, length=2, ends="truncated")
    stepper = desk.stepper()
    episodes = []
    for _ in range(2):
        for group in range(2):
            desk.answer(group, [0, 0])
            ended = stepper.step(forever)
            assert ended is not None
            episodes.append((ended.returns.tolist(), ended.lengths.tolist()))
    assert episodes == [([], []), ([], []), ([3, 3], [2, 2]), ([3, 3], [2, 2])]
    assert stepper.num_steps() == 2
    assert desk.desks["ends"][0].tolist() == [[0, 0], [1, 1], [1, 1]]
    if mode == "NextStep":
        assert desk.header(0)[4] == 0
        desk.answer(0, [0, 0])
        stepper.step(forever)
        assert desk.desks["ends"][0].tolist() == [[0, 0], [0, 0], [0, 0]]  # a reset is no transition
        assert stepper.num_steps() == 0
    else:
        assert desk.header(0)[4] == 2
        assert desk.desks["last_observations"][0, :, :2].tolist() == [[2, 0], [2, 0]]
        assert desk.desks["last_index"][0].tolist() == [0, 1]
        assert desk.desks["observations"][0, :, :2].tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("fault", "says"),
    [("nan", "observation"), ("nan_reward", "reward"), ("raise", "the motor broke")],
)
def test_a_broken_environment_is_named_where_it_runs(fault: str, says: str) -> None:
    desk = Desk(vector=faulty_vector, fault=fault, at=1)
    stepper = desk.stepper()
    desk.answer(0, [0, 0])
    with pytest.raises(EnvironmentFault, match=says):
        stepper.step(forever)
    assert desk.counts[0, ASKED] == 1  # nobody sees what is not whole


def test_a_last_observation_that_is_no_number_is_named_too() -> None:
    desk = Desk(vector=faulty_vector, fault="nan", at=2, length=2, ends="truncated")
    stepper = desk.stepper()
    for group in (0, 1):
        desk.answer(group, [0, 0])
        stepper.step(forever)
    desk.answer(0, [0, 0])
    with pytest.raises(EnvironmentFault, match="last observation"):
        stepper.step(forever)


def test_actions_are_vectors_where_the_space_is_a_box() -> None:
    def boxes(count: int, mode: str) -> Any:
        return SyncVectorEnv([lambda: Boxed([0, 0], [4, 1])] * count, autoreset_mode=AutoresetMode(mode))

    desk = Desk(vector=boxes)
    stepper = desk.stepper()
    desk.answer(0, [[0.0, 9.0], [-0.5, 0.0]])  # type: ignore[list-item]
    stepper.step(forever)
    acted = [env.actions[0].tolist() for env in desk.groups[0]._vector.envs]  # type: ignore[attr-defined]
    assert acted == [[2.0, 1.0], [1.0, 0.5]]  # stretched to the box, and clipped
