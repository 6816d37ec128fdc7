"""The learner's own process, run in this one: what it does on another device, and what it calls a version."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from marl.cluster import learner
from marl.cluster.learner import LearnerJob, LearnerNode
from marl.config.files import load_config
from marl.config.settings import Config
from marl.data.rollout import pack
from marl.data.spaces import Spaces
from marl.training.flat import flatten
from tests.algorithms.cases import BOX, DISCRETE, random_batch
from tests.devices import META, MetaDevice
from tests.extending.memory import MEMORY

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
    """A learner whose queue is filled by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, algorithm: str, spaces: Spaces, **more: Any) -> None:
        self.config = settings_of(algorithm, {key.replace("__", "."): value for key, value in more.items()})
        self.network: nn.Module = self.config.algorithm.build_network(spaces, self.config.network, 0)
        self._spaces, self._monkeypatch = spaces, monkeypatch
        weights = flatten(self.network).weights
        self.node = LearnerNode(self.config, spaces, self.network, weights, None, children=8)  # type: ignore[arg-type]
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
        priorities = torch.ones(STEPS * ENVIRONMENTS) if self.config.algorithm.from_transitions else None
        pack(self.node.layout.open(memory), batch, priorities)
        self.node.trajectory_queue.queue(number)

    def learn(self, batches: int) -> None:
        """From so many batches; what was learned from the last of them is published too."""
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


@pytest.mark.parametrize(
    ("algorithm", "spaces", "settings"),
    [
        ("a3c", DISCRETE, {}),
        ("a3c", BOX, {"algorithm__normalize_advantages": True}),
        ("a3c", DISCRETE, {"network__core": MEMORY}),
        ("impala", DISCRETE, {"exchange__batch": 2}),
        ("impala", BOX, {"algorithm__normalize_advantages": True}),
        ("impala", DISCRETE, {"network__core": MEMORY, "network__shared_trunk": True}),
        ("impala", DISCRETE, {"replay__ratio": 1.0}),
        ("ppo", DISCRETE, {"algorithm__kl_stop": 0.6}),
        ("ppo", BOX, {"algorithm__target": "td_lambda", "algorithm__upgo_cost": 1.0, "algorithm__value_clip": 0.2}),
        ("ppo", DISCRETE, {"network__core": MEMORY, "algorithm__num_minibatches": 2}),
        ("ppo", DISCRETE, {"network__core": MEMORY, "replay__ratio": 1.0, "algorithm__epochs": 1}),
        ("apex_dqn", DISCRETE, {}),
        ("apex_dqn", DISCRETE, {"algorithm__dueling": False, "algorithm__target_period": 1}),
        ("sac", BOX, {}),
    ],
)
def test_every_algorithm_learns_on_a_device(
    algorithm: str, spaces: Spaces, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = {"replay__start": 1, "replay__batch_size": 4} if algorithm in ("apex_dqn", "sac") else {}
    own = Learner(monkeypatch, algorithm, spaces, **settings, **replay)
    monkeypatch.setattr(learner, "own_device", lambda name, replays: META)
    for seed in range(4):
        own.queue(seed)
    with MetaDevice():  # the network is made on the CPU and moved there
        own.learn(4 // own.config.exchange.batch)
    assert own.node.own_updates() >= own.version() == 4 // own.config.exchange.batch
    assert own.node.flow().used == 4


def test_a_batch_from_which_nothing_is_due_makes_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Learner(monkeypatch, "impala", DISCRETE, replay__ratio=0.5)
    for seed in range(5):
        own.queue(seed)
    own.learn(5)
    assert (own.node.own_updates(), own.version(), int(own.block["version"])) == (2, 2, 2)


def test_a_gradient_that_is_not_finite_makes_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Learner(monkeypatch, "impala", DISCRETE)
    for reward in (1.0, float("nan"), -1.0):
        own.queue(0, reward)
    own.learn(3)
    assert own.node.metrics()["skipped_updates"] == 1
    assert (own.node.own_updates(), own.version()) == (2, 2)


def test_a_learner_that_is_started_again_goes_on_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Learner(monkeypatch, "impala", DISCRETE)
    for updates in (1, 2):
        own.queue(updates)
        own.learn(1)
        assert (own.node.own_updates(), own.version()) == (updates, updates)
    own.queue(3, float("nan"))
    own.learn(1)
    assert own.version() == 2
