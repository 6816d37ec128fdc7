"""What other files ask an exchange instead of reading its settings."""

import importlib.util

import pytest

from marl.errors import MissingExtra
from marl.exchanges.base import Exchange, LearnerPlan
from marl.exchanges.experience.exchange import Experience
from marl.exchanges.gradients.exchange import Gradients
from marl.exchanges.observations.exchange import Observations
from marl.exchanges.pairwise.exchange import Pairwise
from marl.exchanges.weights.exchange import Weights
from marl.wire.codec import CODECS


@pytest.mark.parametrize(
    ("exchange", "codecs"),
    [
        (Weights(), ("float32",)),
        (Weights(codec="int8"), ("int8",)),
        (Weights(codec="auto"), CODECS),
        (Pairwise(codec="bfloat16"), ("bfloat16",)),
        (Experience(), ("float32",)),
        (Gradients(codec="int8"), ("int8",)),
        (Gradients(codec="auto"), CODECS),
    ],
)
def test_codecs(exchange: Exchange, codecs: tuple[str, ...]) -> None:
    assert exchange.codecs() == codecs


def test_the_plan_of_a_learner() -> None:
    plan = Experience(queue=4, batch=3, max_staleness=7, device="cpu").learner_plan()
    assert plan == LearnerPlan(queue=4, batch=3, max_staleness=7, device="cpu")
    assert [plan.places(children) for children in (1, 4, 9)] == [6, 6, 11]


@pytest.mark.parametrize("kind", [Experience, Observations])
def test_only_who_packs_needs_a_packer(kind: type[Exchange], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    kind().demand_packages()
    Weights(zstd=True).demand_packages()
    with pytest.raises(MissingExtra, match=r"exchange\.zstd = true"):
        kind(zstd=True).demand_packages()
