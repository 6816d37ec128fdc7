"""What is saved of a learner while it works."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from marl.cluster.snapshot import Snapshot
from marl.cluster.trainers.learning import Learning
from marl.data.node.trajectory_queue import Published
from marl.training.worker_metrics import Telemetry
from tests.algorithms.cases import DISCRETE
from tests.cluster.learners import Learner


def test_a_snapshot_has_the_weights_of_its_version_also_in_the_middle_of_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = Learner(monkeypatch, "ppo", DISCRETE, algorithm__epochs=1, algorithm__num_minibatches=2)
    side = own.node.parent_side(children=1, name="parent")
    given, players = SimpleNamespace(config=own.config), SimpleNamespace(info=dict)
    trainer = Learning(given, own.node, side, players)  # type: ignore[arg-type]
    published: dict[int, Tensor] = {}
    saved: list[tuple[int, Snapshot]] = []
    publish, updated = Published.publish, Telemetry.updated

    def publish_and_keep(self: Published, weights: Tensor, version: int) -> None:
        published[version] = weights.clone()
        publish(self, weights, version)

    def update_and_save(self: Telemetry, *numbers: Any) -> None:
        updated(self, *numbers)
        snapshot = trainer.snapshot()
        saved.append((trainer.info()["version"], snapshot))

    monkeypatch.setattr(Published, "publish", publish_and_keep)
    monkeypatch.setattr(Telemetry, "updated", update_and_save)
    own.node.start(0.0)
    for seed in range(2):
        own.queue(seed)
    own.learn(2)
    assert [version for version, _ in saved] == [0, 0, 1, 1]
    assert not torch.equal(published[0], published[1])
    for number, (version, snapshot) in enumerate(saved, 1):
        assert torch.equal(snapshot.tensors["weights"], published[version])
        assert float(snapshot.tensors["optimizer_steps"]) == snapshot.updates == number
    assert torch.equal(trainer.snapshot().tensors["weights"], own.block["weights"])
    assert trainer.info()["version"] == 2
