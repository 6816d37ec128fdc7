"""The environment that studies train."""

import math
from typing import Any

import numpy as np
import pytest

from studies.swing_up import FORCE, SECONDS, STEPS, TRACK, SwingUp


def literal(state: list[float], action: int) -> list[float]:
    """One step of one cart, as gymnasium's CartPole writes it (semi-implicit Euler)."""
    x, x_dot, theta, theta_dot = state
    force = FORCE * (action - 1)
    temp = (force + 0.05 * theta_dot**2 * math.sin(theta)) / 1.1
    thetaacc = (9.8 * math.sin(theta) - math.cos(theta) * temp) / (0.5 * (4 / 3 - 0.1 * math.cos(theta) ** 2 / 1.1))
    xacc = temp - 0.05 * thetaacc * math.cos(theta) / 1.1
    x_dot, theta_dot = x_dot + SECONDS * xacc, theta_dot + SECONDS * thetaacc
    x, theta = x + SECONDS * x_dot, theta + SECONDS * theta_dot
    if abs(x) >= TRACK:
        x, x_dot = math.copysign(TRACK, x), 0.0
    return [x, x_dot, theta, theta_dot]


def states(seen: Any) -> list[list[float]]:
    return [[x, v, math.atan2(s, c), w] for x, v, c, s, w in seen.tolist()]


@pytest.mark.parametrize("push", [None, 0, 2])
def test_it_moves_as_the_equations_say(push: int | None) -> None:
    """A constant push also reaches the end of the track."""
    environments, generator = SwingUp(3), np.random.default_rng(1)
    seen, _ = environments.reset(seed=1)
    for _ in range(200):
        actions = generator.integers(3, size=3) if push is None else np.full(3, push)
        expected = [literal(state, int(action)) for state, action in zip(states(seen), actions, strict=True)]
        seen, rewards, *_ = environments.step(actions)
        for found, wanted, reward in zip(seen.tolist(), expected, rewards.tolist(), strict=True):
            x, v, angle, w = wanted
            np.testing.assert_allclose(found, [x, v, math.cos(angle), math.sin(angle), w], atol=1e-4)
            assert reward == pytest.approx(max(math.cos(angle), 0.0), abs=1e-4)


def test_episodes_are_cut_and_begin_again_hanging() -> None:
    environments = SwingUp(2)
    environments.reset(seed=3)
    for step in range(1, STEPS + 1):
        _, _, terminated, truncated, _ = environments.step(np.array([0, 2]))
        assert not terminated.any()
        assert truncated.all() == (step == STEPS)
    seen, rewards, _, truncated, _ = environments.step(np.array([0, 2]))
    assert (rewards == 0).all()
    assert not truncated.any()
    assert (np.abs(seen[:, 0]) < 0.05).all()
    assert (seen[:, 2] < -0.99).all()
    environments.step(np.array([0, 2]))


def test_a_seed_repeats_everything() -> None:
    first, second = SwingUp(2).reset(seed=[5, 6])[0], SwingUp(2).reset(seed=[5, 6])[0]
    np.testing.assert_array_equal(first, second)
    assert (SwingUp(2).reset(seed=7)[0] != first).any()
