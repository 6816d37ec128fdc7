"""Environments that live on a device, all at once: their own vector from outside the package, numbers in torch."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from marl.api import train
from tests.fakes import CountingEnv

DRIFT = f"{__name__}:Drift"
LIMIT = 20


class Drift(VectorEnv[Any, Any, Any]):
    """A point on a line that is to be held near 0. The device is the CPU here; one copy a step brings numbers back."""

    def __init__(self, num_envs: int, device: str = "cpu") -> None:
        self.num_envs, self.metadata = num_envs, {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = spaces.Box(-10, 10, (1,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._device = torch.device(device)
        self._generator = torch.Generator(self._device)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._generator.manual_seed(seed if isinstance(seed, int) else int(seed[0]))
        self._at = self._somewhere()
        self._steps = torch.zeros(self.num_envs, dtype=torch.int64, device=self._device)
        return self._at.cpu().numpy(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        moves = torch.as_tensor(actions, device=self._device).float().mul(2).sub(1).unsqueeze(1)
        self._at = self._at + 0.3 * moves
        self._steps += 1
        rewards = (self._at.abs().squeeze(1) < 1).float()
        ended = self._steps >= LIMIT
        last = self._at.cpu().numpy()
        self._at = torch.where(ended.unsqueeze(1), self._somewhere(), self._at)
        self._steps *= ~ended
        done = ended.cpu().numpy()
        info = {"final_obs": last, "_final_obs": done} if done.any() else {}
        return self._at.cpu().numpy(), rewards.cpu().numpy(), done, np.zeros_like(done), info

    def close(self, **unused: Any) -> None:
        """Nothing to free."""

    def _somewhere(self) -> torch.Tensor:
        return torch.rand(self.num_envs, 1, generator=self._generator, device=self._device) * 6 - 3


def test_a_vector_of_ones_own_is_trained_on(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {
        "environment.kwargs.device": "cpu",
        "node.workers": 1,
        "stop.steps": 4000,
        "report.pictures": False,
        "report.sinks": [],
        "evaluation.final_episodes": 4,
    }
    result = train(DRIFT, settings=settings, live=False)
    assert result.reason == "steps"
    assert result.updates > 0
    assert result.evaluation_episodes == 4
    assert result.evaluation_mean is not None
    assert 0 <= result.evaluation_mean <= LIMIT


def in_processes(num_envs: int) -> AsyncVectorEnv:
    return AsyncVectorEnv([CountingEnv] * num_envs)


def test_a_vector_that_has_processes_is_trained_on(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a worker, which may have children of its own; all of them end with the run, and in silence."""
    monkeypatch.chdir(tmp_path)
    settings = {
        "environment.per_worker": 2,
        "node.workers": 1,
        "stop.steps": 400,
        "report.pictures": False,
        "report.sinks": [],
        "evaluation.episodes": 0,
    }
    result = train(f"{__name__}:in_processes", settings=settings, live=False)
    assert (result.reason, result.updates > 0) == ("steps", True)
    assert "Traceback" not in capfd.readouterr().err
