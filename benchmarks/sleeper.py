"""An environment whose step takes time but no processor, and that counts its steps where a benchmark reads them."""

import mmap
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

LENGTH = 200  # steps of an episode

Array = npt.NDArray[np.float32]


class Sleeper(gymnasium.Env[Array, Any]):
    """Four numbers to see, two actions, reward 1; each step sleeps. One environment a worker, or sleeps add up."""

    def __init__(self, sleep_s: float = 0.01, counts: str = "") -> None:
        """``counts``: a folder in which each environment keeps a file with the number of its steps."""
        self.observation_space = spaces.Box(-1, 1, (4,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._sleep_s = sleep_s
        self._count = _shared_count(counts) if counts else np.zeros(1, np.int64)
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """See gymnasium."""
        super().reset(seed=seed)
        self._step = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """See gymnasium."""
        if self._sleep_s:
            time.sleep(self._sleep_s)  # the whole work of this environment
        self._count[0] += 1
        self._step += 1
        return self._observation(), 1.0, False, self._step >= LENGTH, {}

    def _observation(self) -> Array:
        return self.np_random.uniform(-1, 1, 4).astype(np.float32)


def _shared_count(folder: str) -> npt.NDArray[np.int64]:
    number, _ = tempfile.mkstemp(prefix="steps-", dir=folder)
    os.truncate(number, 8)
    memory = mmap.mmap(number, 8)
    os.close(number)
    return np.frombuffer(memory, np.int64)


def steps_in(folder: Path) -> int:
    """Steps of all environments that count there."""
    return sum(int.from_bytes(path.read_bytes(), "little") for path in folder.glob("steps-*"))
