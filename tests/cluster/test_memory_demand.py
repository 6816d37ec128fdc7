from typing import Any

import pytest
import torch

from marl.algorithms.base import Algorithm
from marl.cluster import memory_demand as module
from marl.cluster.find_spaces import find_spaces
from marl.cluster.memory_demand import replay_memory
from marl.config.files import load_config
from marl.config.settings import Config
from marl.data.layout import Leaf
from marl.data.replay.priorities import Priorities
from marl.data.replay.trajectory_replay import HEADER, ROLLOUTS
from marl.data.replay.transitions import ROWS
from marl.data.shared import SharedBlock, memory_bytes
from marl.errors import ConfigError


def config_of(**settings: object) -> Config:
    few = {"replay.ratio": 1.0, "replay.capacity": 1_000, "environment.per_worker": 4, "algorithm.t_max": 5}
    return load_config("CartPole-v1", {**few, **{name.replace("__", "."): each for name, each in settings.items()}})


def fields_of(config: Config, workers: int) -> dict[str, Any]:
    spaces = find_spaces(config)
    return replay_memory(config, spaces, config.algorithm.build_network(spaces, config.network, 0), workers)


def test_none_without_a_ratio() -> None:
    assert fields_of(config_of(replay__ratio=0.0), 2) == {}
    assert fields_of(load_config("CartPole-v1"), 2) == {}


@pytest.mark.parametrize(("workers", "slots"), [(1, 50), (2, 25), (3, 16), (50, 1)])
def test_the_capacity_is_shared_by_the_workers(workers: int, slots: int) -> None:
    """As many trajectories of 20 steps each as fit; never more steps than asked for."""
    fields = fields_of(config_of(), workers)
    assert fields[HEADER].shape[:2] == (workers, slots)
    rollouts = fields[ROLLOUTS]
    assert rollouts["rewards"] == Leaf((workers, slots, 5, 4), torch.float32)
    assert rollouts["observations"] == Leaf((workers, slots, 6, 4, 4), torch.float32, name="observations")
    assert rollouts["actions"] == Leaf((workers, slots, 5, 4), torch.int64, (2,), "actions")
    assert rollouts["behaviour"] == Leaf((workers, slots, 5, 4, 2), torch.float32)
    assert workers * slots * 20 <= 1_000


def test_actions_that_are_vectors() -> None:
    fields = fields_of(
        load_config("Pendulum-v1", {"replay.ratio": 1.0, "algorithm.name": "impala", "exchange.name": "weights"}), 1
    )
    rollouts = fields[ROLLOUTS]
    length, environments = rollouts["rewards"].shape[2:]
    assert rollouts["actions"] == Leaf((*rollouts["rewards"].shape, 1), torch.float32, name="actions")
    assert rollouts["behaviour"].shape[2:] == (length, environments, 2)


def test_less_than_a_trajectory_of_each_worker() -> None:
    fields_of(config_of(replay__capacity=40), 2)
    expected = r"replay\.capacity: .* \(2 workers x 4 environments x 5 steps = 40\), got 39$"
    with pytest.raises(ConfigError, match=expected):
        fields_of(config_of(replay__capacity=39), 2)


def test_more_than_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    size = memory_bytes(fields_of(config_of(), 2))
    monkeypatch.setattr(module, "free_bytes", lambda: size)
    fields_of(config_of(), 2)
    monkeypatch.setattr(module, "free_bytes", lambda: size - 1)
    with pytest.raises(ConfigError, match=r"replay\.capacity = 1,000 needs .* MiB are free: make it smaller"):
        fields_of(config_of(), 2)
    monkeypatch.setattr(module, "free_bytes", lambda: None)  # nobody knows: try
    fields_of(config_of(), 2)


def test_transitions_get_rings_of_equal_length_and_priorities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Algorithm, "learns_from", "transitions")
    fields = fields_of(config_of(), 3)
    assert fields[ROWS]["returns"].shape == (1002,)
    assert HEADER not in fields
    Priorities(SharedBlock(fields), alpha=1.0)
