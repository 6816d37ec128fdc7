"""Whoever plays counts the observations outside their space: each once, also the hidden last one of an episode."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from marl.acting.collect import Episodes
from marl.data.normalizer import Normalizer, RunningStatistics
from marl.environments.vector import Environments
from tests.acting.collecting import MODES, collector, counting_policy
from tests.acting.test_stepper import Slots, forever
from tests.fakes import CountingEnv

LENGTH, COUNT = 3, 2
WORDS = "mine: number 0 of observation is 3, outside its space of 0 to 2"


class Tight(CountingEnv):
    """The last step of each episode is outside."""

    def __init__(self) -> None:
        super().__init__(length=LENGTH, ends="truncated")
        self.observation_space = spaces.Box(0, np.array([2, np.inf, np.inf], np.float32))


def tight_vector(count: int, mode: str) -> SyncVectorEnv:
    return SyncVectorEnv([Tight] * count, copy=False, autoreset_mode=AutoresetMode(mode))


def told(played: list[Episodes]) -> tuple[int, str]:
    return sum(each.outside for each in played), played[-1].first_outside.partition(";")[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("normalizes", [False, True])
def test_a_collector_counts_each_once(mode: str, normalizes: bool) -> None:
    normalizer = Normalizer(3) if normalizes else None
    if normalizer is not None:
        normalizer.use(RunningStatistics(4.0, np.zeros(3), np.ones(3)))
    found = collector(Environments(tight_vector(COUNT, mode), "mine"), length=4)
    first, second = (found.collect(counting_policy(), normalizer, 0)[1] for _ in range(2))
    assert first.outside == COUNT  # after step 3
    assert told([first, second]) == (2 * COUNT, WORDS)  # and after step 6, or 7 where a reset is a step


@pytest.mark.parametrize("mode", MODES)
def test_a_stepper_counts_each_once(mode: str) -> None:
    slots = Slots(mode, vector=tight_vector)
    stepper = slots.stepper()
    played: list[Any] = []
    for _ in range(LENGTH + 1):
        for group in range(2):
            slots.answer(group, [0] * COUNT)
            played.append(stepper.step(forever))
    assert told(played) == (2 * COUNT, WORDS.replace("mine", "counting"))
    assert [each.outside for each in played] == [0, 0, 0, 0, COUNT, COUNT, 0, 0]
