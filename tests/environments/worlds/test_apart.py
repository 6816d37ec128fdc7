"""A vector whose environments have a process each."""

import multiprocessing
import sys

import gymnasium
import numpy as np

from marl.environments.vector import Environments
from marl.environments.worlds.apart import apart, lives_alone


def test_it_plays_as_other_vectors_do_and_leaves_no_process() -> None:
    main, before = sys.modules["__main__"], set(multiprocessing.active_children())
    environments = Environments(apart(gymnasium.spec("CartPole-v1"), {"sutton_barto_reward": True}, 2), "CartPole-v1")
    assert sys.modules["__main__"] is main
    assert len(set(multiprocessing.active_children()) - before) == 2
    environments.reset([4, 5])
    steps = [environments.step(np.ones(2, np.int64)) for _ in range(20)]
    ended = np.array([step.terminated | step.truncated for step in steps])
    assert ended.any(axis=0).all()
    np.testing.assert_array_equal([step.valid for step in steps][1:], ~ended[:-1])
    assert min(float(step.rewards.min()) for step in steps) == -1.0  # its argument reached it
    environments.close()
    assert set(multiprocessing.active_children()) <= before


def test_only_some_need_it() -> None:
    assert not lives_alone(gymnasium.spec("CartPole-v1"))
