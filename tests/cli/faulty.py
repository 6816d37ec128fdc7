"""Environments with one fault each, as the text of a module; and one with an argument."""

WALK = """

class Walk(Works):
    def __init__(self, limit=10):
        self.limit = limit
"""

FAULTY = """
import gymnasium
import numpy as np

number = 3
SIZE = 2


class Works(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (SIZE,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(SIZE, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(SIZE, np.float32), 1.0, self.steps == 5, False, {}


class NaN(Works):
    def step(self, action):
        return np.full(SIZE, np.nan, np.float32), 1.0, bool(action), False, {}


class Reward(Works):
    def step(self, action):
        return np.zeros(SIZE, np.float32), float("inf"), bool(action), False, {}


class Shape(Works):
    def step(self, action):
        return np.zeros(SIZE + 1, np.float32), 1.0, bool(action), False, {}


class LateShape(Works):
    def __init__(self):
        self.left = 100

    def step(self, action):
        self.left -= 1
        return np.zeros(SIZE + (not self.left), np.float32), 1.0, bool(action), False, {}


class Raises(Works):
    def step(self, action):
        raise ValueError("the pipe leaks")


class Late(Works):
    def __init__(self):
        self.left = 100

    def step(self, action):
        self.left -= 1
        if not self.left:
            raise ValueError("worn out")
        return super().step(action)


class Broken(Works):
    def __init__(self):
        raise RuntimeError("no licence found")


class Words(Works):
    observation_space = gymnasium.spaces.Text(5)
"""
