"""One set of statistics for all children: of observations, and of returns where rewards are normalised."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marl.cluster.statistics import statistics_from, statistics_size, tensors_of
from marl.cluster.trainers.measures import sample_observations
from marl.config.settings import Config
from marl.data.normalizer import RunningStatistics, as_row
from marl.environments.settings import EnvironmentSettings
from tests.fakes import CountingEnv
from tests.plain_spaces import plain_spaces

SPACES = plain_spaces((3,), num_actions=3)
SEEN = RunningStatistics(10.0, np.arange(3.0), np.ones(3))
RETURNS = RunningStatistics(8.0, np.array([5.0]), np.array([32.0]))  # of deviation 2


def config(observations: bool, rewards: bool) -> Config:
    settings = EnvironmentSettings(
        id="tests.fakes:counting", normalize_observations=observations, normalize_rewards=rewards
    )
    return dataclasses.replace(Config(), environment=settings)


def tensor(value: RunningStatistics) -> torch.Tensor:
    return torch.from_numpy(as_row(value))


@pytest.mark.parametrize(("observations", "rewards"), [(True, True), (True, False), (False, True), (False, False)])
def test_there_and_back(observations: bool, rewards: bool) -> None:
    this = config(observations, rewards)
    known = statistics_from(this, {"normalizer": tensor(SEEN), "rewards": tensor(RETURNS)[None]})
    size = 3 * observations + rewards
    assert statistics_size(this, SPACES) == size
    if known is None:
        assert size == 0
        return
    assert len(known.mean) == size
    kept = tensors_of(this, tensor(known))
    assert ("observations" in kept, "rewards" in kept) == (observations, rewards)
    if observations:
        assert torch.equal(kept["observations"][0], tensor(SEEN))
    if rewards:
        count, mean, m2 = kept["rewards"][0].tolist()
        assert (mean, (m2 / count) ** 0.5) == (5.0, 2.0)


def test_weights_that_know_no_returns_begin_without_them() -> None:
    """What they have seen counts for little then, so that what follows decides on both."""
    known = statistics_from(config(True, True), {"normalizer": tensor(SEEN)})
    assert known is not None
    assert known.count == 2
    np.testing.assert_allclose(known.mean, [0, 1, 2, 0])
    np.testing.assert_allclose(known.std(), [*SEEN.std(), 1])
    assert statistics_from(config(True, True), {}) is None
    assert tensors_of(config(True, True), None) == {}


def test_the_parents_own_sample_has_the_same_numbers() -> None:
    for this in (config(True, True), config(True, False), config(False, True)):
        sample = sample_observations(this, SPACES)
        assert sample is not None
        assert len(sample.mean) == statistics_size(this, SPACES)
    assert sample_observations(config(False, False), SPACES) is None


class Wanders(CountingEnv):
    """Prints, and changes the working folder."""

    def step(self, action: Any) -> Any:
        os.chdir("/")
        print("a step")
        return super().step(action)


def test_the_parents_own_sample_leaves_its_folder_and_standard_output(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    this = config(True, False)
    environment = dataclasses.replace(this.environment, id=f"{__name__}:Wanders")
    assert sample_observations(dataclasses.replace(this, environment=environment), SPACES) is not None
    assert Path.cwd() == tmp_path
    said = capsys.readouterr()
    assert (said.out, "a step" in said.err) == ("", True)
