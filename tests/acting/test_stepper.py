"""A worker that only steps: two groups in turn, and no answer but the one to its own question."""

import sys
import threading
from typing import Any

import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from marl.acting.stepper import Stepper
from marl.data.node import bell
from marl.data.requests import (
    ANSWERED,
    ASKED,
    BEGUN,
    BELL,
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
from tests.commands import PATIENCE_S
from tests.fakes import Boxed, CountingEnv, counting_vector, faulty_vector

COUNT, WORKERS, WORKER_NUMBER = 2, 2, 1


class Slots:
    """A worker's two requests, and who answers."""

    def __init__(self, mode: str = "SameStep", vector: Any = counting_vector, **kwargs: Any) -> None:
        self.groups = [Environments(vector(COUNT, mode, **kwargs), "counting") for _ in range(2)]
        spaces = self.groups[0].spaces
        self.layout = RequestLayout(environments=COUNT, observation=spaces.observation(), action=spaces.action)
        self.block = SharedBlock(request_fields(self.layout, WORKERS))
        self.counts = self.block["request_counts"][WORKER_NUMBER].numpy()
        self.requests = self.layout.open(self.block["requests"][WORKER_NUMBER].numpy())

    def stepper(self, seed: int = 0) -> Stepper:
        seeds = [[seed + 10 * group + each for each in range(COUNT)] for group in range(2)]
        return Stepper(self.groups, self.block, WORKER_NUMBER, self.layout, seeds)

    def answer(self, group: int, actions: list[int], question: int | None = None) -> None:
        self.block["request_actions"][WORKER_NUMBER, group].numpy()[:] = actions
        self.counts[group, ANSWERED] = self.counts[group, ASKED] if question is None else question

    def waits(self, group: int) -> bool:
        return bool(self.counts[group, ASKED] != self.counts[group, ANSWERED])

    def header(self, group: int) -> list[int]:
        found: list[int] = self.requests["header"][group, [WORKER, GROUP, QUESTION, FIRST, NUM_LAST]].tolist()
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
    slots = Slots(length=100)
    stepper = slots.stepper()
    assert [slots.header(group) for group in range(2)] == [[1, 0, 1, 1, 0], [1, 1, 1, 1, 0]]
    assert slots.requests["observations"][:, :, 0].tolist() == [[0, 0], [0, 0]]
    for turn in range(1, 4):
        for group in range(2):
            slots.answer(group, [turn % 3, group])
            assert stepper.step(forever) is not None
            assert slots.waits(group)
            assert slots.header(group) == [1, group, turn + 1, 0, 0]
            assert slots.requests["observations"][group, :, 0].tolist() == [turn, turn]
            assert slots.requests["rewards"][group].tolist() == [turn, turn]
            assert slots.requests["ends"][group].tolist() == [[0, 0], [0, 0], [1, 1]]
    assert slots.actions(0) == [[1, 2, 0], [0, 0, 0]]
    assert slots.actions(1) == [[1, 2, 0], [1, 1, 1]]


def test_it_waits_for_the_group_whose_turn_it_is() -> None:
    slots = Slots(length=100)
    stepper = slots.stepper()
    slots.answer(1, [0, 0])  # the other one's actions are there first
    assert stepper.step(looks(3)) is None
    assert slots.actions(0) == slots.actions(1) == [[], []]


@pytest.mark.skipif(sys.platform != "linux", reason="others look again and again")
def test_an_answer_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "_LONGEST", bell._Timespec(60, 0))  # it does not look by itself
    slots, looked = Slots(length=100), threading.Event()
    stepper = slots.stepper()
    waiting = threading.Thread(target=stepper.step, args=(lambda: looked.set() is None,), daemon=True)
    waiting.start()
    assert looked.wait(PATIENCE_S)
    slots.answer(0, [1, 0])
    bell.Bell(slots.counts[0, BELL:]).ring()
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    assert slots.actions(0) == [[1], [0]]


def test_a_stop_ends_the_wait_and_play_too() -> None:
    slots = Slots(length=100)
    stepper = slots.stepper()
    assert stepper.step(lambda: False) is None
    slots.answer(1, [0, 0])
    assert stepper.step(lambda: False) is None  # also where it need not wait


def test_whoever_takes_its_place_asks_anew_and_takes_no_old_answer() -> None:
    slots = Slots(length=100)
    stepper = slots.stepper()
    slots.answer(0, [1, 1])
    stepper.step(forever)
    old = int(slots.counts[0, ASKED])  # its answer is on its way when the worker is killed
    successor = slots.stepper(seed=50)
    assert slots.header(0) == [1, 0, old + 1, 1, 0]
    slots.answer(0, [2, 2], question=old)
    assert successor.step(looks(3)) is None
    assert slots.actions(0) == [[1], [1]]
    successor._turn = 0
    slots.answer(0, [2, 0])
    assert successor.step(forever) is not None
    assert slots.actions(0) == [[1, 2], [1, 0]]


def test_a_worker_killed_while_it_writes_leaves_a_request_slot_that_shows_it() -> None:
    slots = Slots(length=100)
    slots.stepper()
    slots.counts[0, BEGUN] += 1  # as far as it came
    slots.stepper(seed=50)
    assert slots.counts[0, BEGUN] == slots.counts[0, ASKED] == 2


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_ends_and_true_last_observations_are_laid_down(mode: str) -> None:
    slots = Slots(mode, length=2, ends="truncated")
    stepper = slots.stepper()
    episodes = []
    for _ in range(2):
        for group in range(2):
            slots.answer(group, [0, 0])
            ended = stepper.step(forever)
            assert ended is not None
            assert ended.seconds > 0
            episodes.append((ended.returns.tolist(), ended.lengths.tolist(), ended.steps))
    assert episodes == [([], [], 2), ([], [], 2), ([3, 3], [2, 2], 2), ([3, 3], [2, 2], 2)]
    assert slots.requests["ends"][0].tolist() == [[0, 0], [1, 1], [1, 1]]
    if mode == "NextStep":
        assert slots.header(0)[4] == 0
        slots.answer(0, [0, 0])
        reset = stepper.step(forever)
        assert slots.requests["ends"][0].tolist() == [[0, 0], [0, 0], [0, 0]]  # a reset is no transition
        assert reset is not None
        assert reset.steps == 0
    else:
        assert slots.header(0)[4] == 2
        assert slots.requests["last_observations"][0, :, :2].tolist() == [[2, 0], [2, 0]]
        assert slots.requests["last_index"][0].tolist() == [0, 1]
        assert slots.requests["observations"][0, :, :2].tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("fault", "says"),
    [("nan", "observation"), ("nan_reward", "reward"), ("raise", "the motor broke")],
)
def test_a_broken_environment_is_named_where_it_runs(fault: str, says: str) -> None:
    slots = Slots(vector=faulty_vector, fault=fault, at=1)
    stepper = slots.stepper()
    slots.answer(0, [0, 0])
    with pytest.raises(EnvironmentFault, match=says):
        stepper.step(forever)
    assert slots.counts[0, ASKED] == 1  # nobody sees what is not whole


def test_a_last_observation_that_is_no_number_is_named_too() -> None:
    slots = Slots(vector=faulty_vector, fault="nan", at=2, length=2, ends="truncated")
    stepper = slots.stepper()
    for group in (0, 1):
        slots.answer(group, [0, 0])
        stepper.step(forever)
    slots.answer(0, [0, 0])
    with pytest.raises(EnvironmentFault, match="last observation"):
        stepper.step(forever)


def test_actions_are_vectors_where_the_space_is_a_box() -> None:
    def boxes(count: int, mode: str) -> Any:
        return SyncVectorEnv([lambda: Boxed([0, 0], [4, 1])] * count, autoreset_mode=AutoresetMode(mode))

    slots = Slots(vector=boxes)
    stepper = slots.stepper()
    slots.answer(0, [[0.0, 9.0], [-0.5, 0.0]])  # type: ignore[list-item]
    stepper.step(forever)
    acted = [env.actions[0].tolist() for env in slots.groups[0]._vector.envs]  # type: ignore[attr-defined]
    assert acted == [[2.0, 1.0], [1.0, 0.5]]  # stretched to the box, and clipped
