"""A learner that runs in the test's own process, with a queue that the test fills."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from marl.cluster import learner
from marl.cluster.learner import LearnerJob, LearnerNode
from marl.config.files import load_config
from marl.config.settings import Config
from marl.data.replay.rollout import pack
from marl.data.spaces import Spaces
from marl.training.flat import flatten
from tests.algorithms.cases import random_batch

ENVIRONMENTS, STEPS = 2, 4


def settings_of(algorithm: str, more: dict[str, Any]) -> Config:
    settings = {
        "environment.id": "CartPole-v1",
        "environment.per_worker": ENVIRONMENTS,
        "algorithm.name": algorithm,
        "algorithm.t_max": STEPS,
        "exchange.name": "experience",
        "exchange.device": "cpu",
        "network.hidden": [8],
        "seed": 0,
    }
    return load_config(None, settings | more)


class Learner:
    """See above; settings are given with two underscores in place of a dot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, algorithm: str, spaces: Spaces, **more: Any) -> None:
        self.config = settings_of(algorithm, {key.replace("__", "."): value for key, value in more.items()})
        self.network: nn.Module = self.config.algorithm.build_network(spaces, self.config.network, 0)
        self._spaces, self._monkeypatch = spaces, monkeypatch
        weights = flatten(self.network).weights
        group: Any = SimpleNamespace(start=lambda *_, **__: None)  # ``learn`` is the process
        self.node = LearnerNode(self.config, spaces, self.network, weights, group, children=8)
        self.block = self.node.block

    def queue(self, seed: int, reward: float | None = None) -> None:
        """A trajectory arrives, with every step a transition, and with this reward for each of them if there is one."""
        network: Any = self.network
        batch = random_batch(self._spaces, seed, STEPS, ENVIRONMENTS)
        batch = batch._replace(
            valid=torch.ones(STEPS, ENVIRONMENTS, dtype=torch.bool),
            rewards=batch.rewards if reward is None else torch.full_like(batch.rewards, reward),
            behaviour=torch.zeros(STEPS, ENVIRONMENTS, network.distribution.num_parameters),
            state=network.initial_state(ENVIRONMENTS),
            version=int(self.block["version"]),
        )
        number, memory = self.node.trajectory_queue.place()
        rows = ENVIRONMENTS * (1 if self.config.network.remembers else STEPS)  # sequences, or transitions
        priorities = torch.ones(rows) if self.config.algorithm.from_transitions else None
        pack(self.node.layout.open(memory), batch, priorities)
        self.node.trajectory_queue.queue(number)

    def learn(self, batches: int) -> None:
        """Learn from this many batches, and publish the result of the last one too."""
        self.block["stop"].fill_(0)
        asked = itertools.count()

        def counted(go_on: Callable[[], bool]) -> Callable[[], bool]:
            def ask() -> bool:
                if next(asked) == batches:
                    self.block["stop"].fill_(1)
                return go_on()

            return ask

        self._monkeypatch.setattr(learner, "tidily", counted)
        learner.learn(None, LearnerJob(self.config, self._spaces, 0), self.block)  # type: ignore[arg-type]

    def version(self) -> int:
        """Of the weights that children are given."""
        return self.node.published.version()
