"""A parent that acts for its children does so by the newest weights of its learner."""

import pytest
import torch

from marl.acting.decide import ActionNoise, Question
from marl.exchanges.observations.parent import ObservationsParent
from marl.networks.sampling import OnPolicy
from tests.algorithms.cases import DISCRETE
from tests.cluster.learners import Learner


def test_every_pass_decides_by_the_newest_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(monkeypatch, "impala", DISCRETE, exchange__name="observations")
    side = learner.node.parent_side(children=1, name="parent")
    assert isinstance(side, ObservationsParent)
    seen = []
    for version in (1, 1, 4):
        weights = torch.full_like(learner.block["weights"], 0.1 * version)
        learner.node.published.publish(weights, version)
        noise = ActionNoise(OnPolicy(learner.network.distribution), 5, 2)
        answers = side._batcher.ask(Question(torch.ones(2, 4), (), [noise]), 2)
        assert answers is not None
        assert answers.version == version
        seen.append(answers.behaviour)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
