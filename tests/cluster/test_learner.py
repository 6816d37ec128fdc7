"""The learner's process: what it does on another device, and what it calls a version."""

import time
from typing import Any

import pytest

from marl.cluster import learner
from marl.data.spaces import Spaces
from tests.algorithms.cases import BOX, DISCRETE
from tests.cluster.learners import Learner
from tests.devices import META, MetaDevice
from tests.extending.memory import MEMORY


@pytest.mark.parametrize(
    ("algorithm", "spaces", "settings"),
    [
        ("a3c", DISCRETE, {}),
        ("a3c", BOX, {"algorithm__normalize_advantages": True}),
        ("a3c", DISCRETE, {"network__core": MEMORY}),
        ("a3c", DISCRETE, {"network__core": "gru"}),
        ("impala", BOX, {"network__core": "lstm"}),
        ("impala", BOX, {"network__policy": "squashed", "network__layer_norm": True}),
        ("ppo", BOX, {"network__policy": "beta"}),
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
        ("apex_dqn", DISCRETE, {"network__core": "lstm"}),
        ("apex_dqn", DISCRETE, {"network__core": MEMORY, "algorithm__rescaled": True}),
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


def test_a_schedule_by_time_falls_with_the_time_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is half over, and so long that the test takes no part of it."""
    schedule = {"algorithm__schedule": "linear", "algorithm__learning_rate": 0.01, "stop__minutes": 2e6}
    own = Learner(monkeypatch, "impala", DISCRETE, **schedule)
    own.node.start(time.monotonic() - 60e6)
    own.queue(0)
    own.learn(1)
    assert own.node.metrics()["learning_rate"] == pytest.approx(0.005, rel=1e-4)


def test_a_learner_that_is_started_again_goes_on_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Learner(monkeypatch, "impala", DISCRETE)
    for updates in (1, 2):
        own.queue(updates)
        own.learn(1)
        assert (own.node.own_updates(), own.version()) == (updates, updates)
    own.queue(3, float("nan"))
    own.learn(1)
    assert own.version() == 2
