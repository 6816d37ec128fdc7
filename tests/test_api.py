"""What users' own programs import: frozen, typed, and usable from a script without a guard."""

import inspect
import json
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import marl.api
from marl.acting.policy import Policy
from tests.commands import ROOT, run_folder, succeed

# Whoever changes a line of this changes other people's programs: say so in CHANGELOG.md.
PUBLIC = """\
Cluster(children: tuple[str, ...] = (), port: int = 5050, local: int = 0, endpoints: tuple[Endpoint, ...] = (), \
fleets: tuple[Fleet, ...] = (), wait_s: float = 10.0, trust: TrustOptions = <factory>, \
ray: RaySettings | None = None) -> None
Evaluation(returns: npt.NDArray[np.float64], summary: Summary, environment: str, algorithm: str, \
greedy: bool)
RaySettings(address: str = 'auto', nodes: tuple[int, int] = (0, 0), cores: int = 0, gpus: float = 0.0, \
spread: str = 'SPREAD', resources: dict[str, float] = <factory>, labels: dict[str, str] = <factory>, \
environment: dict[str, Any] = <factory>, wait_s: float = 60.0) -> None
TrainResult(reason: str, solved: bool, weights: Path, run: Path, seconds: float, steps: int, episodes: int, \
updates: int, steps_per_second: float, return_mean: float | None, return_episodes: int, \
evaluation_mean: float | None, evaluation_interval: tuple[float, float] | None, evaluation_episodes: int, \
evaluation_lacking: str, first_update_at: float | None, training_started_at: float, training_ended_at: float, \
seconds_per_worker: list[dict[str, float]], failure: str | None, signal: int | None, virtual_seconds: float | None)
TrustOptions(key: pathlib.Path | None = None, ticket: pathlib.Path | None = None, \
cert: pathlib.Path | None = None, ca: pathlib.Path | None = None, server_name: str | None = None, \
allow_names: tuple[str, ...] = (), insecure: bool = False) -> None
evaluate(weights: str | Path, *, environment: str | None = None, activation: str | None = None, \
episodes: int = 100, seed: int = 0, greedy: bool | None = None, parallel: int = 64, \
allow: Sequence[str] = ()) -> Evaluation
export(weights: str | Path, form: str, *, out: str | Path | None = None, environment: str | None = None, \
activation: str | None = None, allow: Sequence[str] = ()) -> Path
load(weights: str | Path, *, environment: str | None = None, activation: str | None = None, \
allow: Sequence[str] = ()) -> Policy
serve(endpoint: Endpoint, *, name: str, workers: int = 0, orphan_s: float = 300.0, allow: Sequence[str] = (), \
live: bool = True) -> None
train(source: str | Path | None = None, *, settings: Mapping[str, Any] | None = None, \
resume: str | Path | None = None, init: str | Path | None = None, out: str | Path | None = None, \
live: bool = True, plain: bool = False, look: bool = True, cluster: Cluster | None = None, allow: Sequence[str] = (), \
callback: Callable[[Event], object] | None = None) -> TrainResult
"""


def test_names_and_signatures_are_frozen() -> None:
    lines = [f"{name}{text_of(getattr(marl.api, name))}\n" for name in sorted(marl.api.__all__)]
    assert "".join(lines) == PUBLIC
    assert isinstance(marl.api.Evaluation.mean, property)


def test_a_loaded_policy_is_frozen_too() -> None:
    assert set(inspect.signature(Policy.act).parameters) == {"self", "observation", "greedy", "generator"}
    greedy = inspect.signature(Policy.act).parameters["greedy"]
    assert (greedy.default, greedy.kind) == (True, inspect.Parameter.KEYWORD_ONLY)


def test_types_reach_the_user() -> None:
    assert (ROOT / "marl" / "py.typed").is_file()
    assert get_type_hints(marl.api.TrainResult)["weights"] is Path
    for name in marl.api.__all__:
        assert inspect.getdoc(getattr(marl.api, name))


def test_a_program_without_a_guard(tmp_path: Path) -> None:
    """Its workers must not run it again: no ``if __name__ == "__main__"`` is asked of anybody."""
    (tmp_path / "program.py").write_text(PROGRAM)
    told = json.loads(succeed("program.py", cwd=tmp_path))
    assert told["starts"] == 1
    assert told["reason"] == "steps"
    assert told["steps"] >= 5000
    assert told["returns"] == [30]
    assert told["mean"] == pytest.approx(told["summary_mean"])
    assert told["single"] in (0, 1)
    assert told["batch"] == [3]
    assert told["same"] is True
    assert told["drawn"] == [64]
    assert told["normalised"] is True
    assert told["refused"].startswith("expected an observation of shape (4,)")
    assert (tmp_path / "mine.pt").is_file()
    assert run_folder(tmp_path) is not None


def test_only_what_is_used_is_loaded(tmp_path: Path) -> None:
    """The workers' forkserver has to load torch before the main process does."""
    code = "import sys, marl.api; print(*sys.modules)"
    loaded = set(succeed("-c", code, cwd=tmp_path).split())
    assert not loaded & {"torch", "numpy", "gymnasium", "marl.config"}


def text_of(thing: Any) -> str:
    """Its signature as it is written: annotations whose evaluation is postponed come as texts or references."""
    if hasattr(thing, "_fields"):
        fields = (f"{name}: {getattr(kind, '__forward_arg__', kind)}" for name, kind in thing.__annotations__.items())
        return f"({', '.join(fields)})"
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(thing)))


PROGRAM = """
import json
import re
from pathlib import Path

import numpy as np

from marl.api import evaluate, load, train

with open("starts.txt", "a") as file:
    file.write("x")

settings = {"stop.steps": 5000, "seed": 1, "node.workers": 2, "environment.normalize_observations": True}
result = train("CartPole-v1", settings=settings, out="mine.pt", live=False)
evaluation = evaluate(result.weights, episodes=30)
policy = load("mine.pt")
observations = np.linspace(-0.1, 0.1, 12).reshape(3, 4)
try:
    policy.act(np.zeros(5))
except Exception as error:
    refused = str(error)
print(json.dumps({
    "starts": len(Path("starts.txt").read_text()),
    "reason": result.reason,
    "steps": result.steps,
    "returns": evaluation.returns.shape,
    "mean": evaluation.mean,
    "summary_mean": evaluation.summary.mean,
    "single": int(policy.act([0.0, 0.0, 0.0, 0.0])),
    "batch": policy.act(observations).shape,
    "same": all(policy.act(row) == action for row, action in zip(observations, policy.act(observations))),
    "drawn": policy.act(np.zeros((64, 4)), greedy=False).shape,
    "normalised": policy.normalizer is not None,
    "refused": refused,
}))
"""
