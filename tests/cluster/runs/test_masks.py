"""Every algorithm with categories keeps to masks, through each exchange, in evaluation and out of a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl.api import evaluate, load, train
from marl.cluster.fleets.cluster_settings import Cluster
from marl.errors import MarlError
from marl.training.saved.weights_file import read
from tests.doors import DOORS, Doors, InInfo, Pairs

SETTINGS: dict[str, Any] = {
    "environment.per_worker": 2,
    "node.workers": 1,
    "network.hidden": [16],
    "evaluation.final_episodes": 2,
    "evaluation.episodes": 2,
    "report.pictures": False,
    "stop.solved": False,
    "stop.steps": 1000,
}
REPLAYED = {"replay.start": 50, "replay.batch_size": 8, "replay.ratio": 2.0, "stop.steps": 3000}
MASKS = {Doors: "auto", InInfo: "info", Pairs: "open"}


@pytest.mark.usefixtures("marl_home")
@pytest.mark.parametrize(
    ("kind", "algorithm", "exchange", "more"),
    [
        (Doors, "a3c", "weights", {"environment.normalize_observations": True}),
        (InInfo, "ppo", "weights", {"network.core": "gru"}),
        (Pairs, "ppo", "weights", {"exploration.novelty": 0.1}),
        (Pairs, "impala", "experience", {"replay.ratio": 1.0, "stop.steps": 3000}),
        (Doors, "ppo", "observations", {}),
        (Doors, "apex_dqn", "experience", REPLAYED),
        (InInfo, "apex_dqn", "weights", REPLAYED),
    ],
)
def test_it_trains(
    kind: type[Doors], algorithm: str, exchange: str, more: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The environment raises where a forbidden action is taken."""
    monkeypatch.chdir(tmp_path)
    settings = {**SETTINGS, "algorithm.name": algorithm, "exchange.name": exchange, **more}
    settings["environment.mask"] = MASKS[kind]
    result = train(f"tests.doors:{kind.__name__}", settings=settings, look=False, live=False)
    assert result.updates > 0
    assert result.failure is None
    assert len(evaluate("weights.pt", episodes=5, greedy=False).returns) == 5
    policy, environment = load("weights.pt"), kind()
    observation, info = environment.reset(seed=0)
    for _ in range(7):
        if kind is InInfo:
            observation = {"observation": observation, **info}
        observation, *_, info = environment.step(policy.act(observation))


@pytest.mark.usefixtures("marl_home")
def test_masks_travel_to_a_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {**SETTINGS, "algorithm.name": "ppo", "exchange.name": "observations"}
    result = train("tests.doors:Doors", settings=settings, look=False, live=False, cluster=Cluster(local=1))
    assert (result.reason, result.failure) == ("steps", None)


class Forgets(InInfo):
    """Its ``info`` is empty at this step of an episode."""

    def _as_shown(self, seen: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        return seen, {} if self._clock == self._shut_at else {"action_mask": np.ones(DOORS)}


@pytest.mark.usefixtures("marl_home")
@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("CartPole-v1", {}), (f"{__name__}:Forgets", {"shut_at": 0}), (f"{__name__}:Forgets", {"shut_at": 1})],
)
def test_a_mask_that_info_lacks_is_refused_at_the_start(
    name: str, kwargs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before there is a run folder, and before a worker finds it."""
    monkeypatch.chdir(tmp_path)
    settings = {**SETTINGS, "environment.mask": "info", "environment.kwargs": kwargs, "algorithm.name": "a3c"}
    with pytest.raises(MarlError, match=r"environment.mask = 'info' expects info\['action_mask'\], got an empty info"):
        train(name, settings=settings, look=False, live=False)
    assert not (tmp_path / "runs").exists()


class ForgetsLate(InInfo):
    """Its ``info`` is empty after 100 steps."""

    _left = 100

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._left -= 1
        *answer, info = super().step(action)
        return *answer, info if self._left else {}  # type: ignore[return-value]


@pytest.mark.usefixtures("marl_home")
def test_a_mask_that_info_lacks_later_ends_the_run_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No restart of a worker could mend it. What was learned before is in the run folder."""
    monkeypatch.chdir(tmp_path)
    settings = {**SETTINGS, "environment.mask": "info", "algorithm.name": "a3c", "evaluation.episodes": 0}
    with pytest.raises(MarlError) as refused:
        train(f"{__name__}:ForgetsLate", settings=settings, look=False, live=False)
    assert str(refused.value) == (
        f"{__name__}:ForgetsLate: environment.mask = 'info' expects info['action_mask'], got an empty info after step "
        '4 of an episode: add it at every reset and step, or set environment.mask = "none" (worker 0; what was '
        "learned is saved)"
    )
    (checkpoint,) = tmp_path.glob("runs/*/checkpoint.pt")
    assert read(checkpoint).info["updates"] > 0


@pytest.mark.usefixtures("marl_home")
def test_the_mask_is_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of the open doors earns 1; what is drawn among them earns less than .6."""
    monkeypatch.chdir(tmp_path)
    more = {"stop.steps": 20_000, "algorithm.name": "ppo", "environment.per_worker": 16, "seed": 1}
    train("tests.doors:Doors", settings={**SETTINGS, **more}, look=False, live=False)
    assert np.mean(evaluate("weights.pt", episodes=50).returns) > 7.5  # of 8


@pytest.mark.usefixtures("marl_home")
def test_nothing_allowed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {**SETTINGS, "environment.kwargs": {"shut_at": 3}, "algorithm.name": "a3c"}
    with pytest.raises(MarlError, match="Doors: the mask allows no action after step 3 of an episode") as refused:
        train("tests.doors:Doors", settings=settings, look=False, live=False)
    assert "\n" not in str(refused.value)
