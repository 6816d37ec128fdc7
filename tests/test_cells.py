"""Which algorithm goes with which exchange: every legal pair solves a small environment, every other says why not.

On one machine, trajectories go to the learner over a link in memory, questions need no link, and weights no exchange;
those on a child go over TLS.
"""

from pathlib import Path
from typing import Any

import pytest

from marl.algorithms.algorithm_class import ALGORITHMS
from marl.api import Cluster, TrainResult, evaluate, train
from marl.errors import MarlError
from marl.exchanges.names import EXCHANGES

EXCHANGED = [
    name for name in EXCHANGES if name not in ("gradients", "pairwise")
]  # the same as weights without children
CATCH, PROBE = "examples.own_environment:Catch-v0", "tests.fakes:Continuous"
BARE = {"seed": 1, "report.tensorboard": False, "report.pictures": False}
QUICK: dict[str, dict[str, Any]] = {
    "a3c": {"algorithm.entropy_cost": 0.03},  # with less, some runs settle on a policy that misses a column
    "ppo": {"algorithm.t_max": 16, "algorithm.learning_rate": 2e-3},
    "impala": {"algorithm.entropy_cost": 0.03},
    "apex_dqn": {
        "algorithm.target_period": 50, "algorithm.learning_rate": 2e-3, "algorithm.epsilon": 0.2, "replay.ratio": 4.0,
        "replay.start": 500,
    },
    "sac": {
        "algorithm.t_max": 8, "algorithm.learning_rate": 3e-3, "algorithm.temperature": 0.1, "replay.ratio": 32.0,
        "replay.batch_size": 64, "replay.start": 200, "network.log_std": -1.0, "environment.per_worker": 8,
    },
}  # fmt: skip


def trained(
    algorithm: str, exchange: str, folder: Path, cluster: Cluster | None = None, environment: str = "", **more: Any
) -> TrainResult:
    """A run of one pair, until solved or a minute and a half."""
    usual, solved = (PROBE, -0.3) if algorithm == "sac" else (CATCH, 0.7)
    settings = {
        **BARE,
        "algorithm.name": algorithm,
        "exchange.name": exchange,
        "exchange.every": "0.5 seconds",
        "network.hidden": [32],
        "node.workers": 2,
        "environment.solved_return": solved,
        "stop.minutes": 1.5,
        "report.runs": str(folder / "runs"),
        **QUICK[algorithm],
        **more,
    }
    return train(environment or usual, settings=settings, out=folder / "weights.pt", live=False, cluster=cluster)


def test_every_algorithm_is_tried() -> None:
    assert list(QUICK) == list(ALGORITHMS)


# One of each kind in little time; the others are marked slow.
FIRST = {
    ("a3c", "weights"),
    ("ppo", "weights"),
    ("impala", "experience"),
    ("apex_dqn", "observations"),
    ("sac", "weights"),
}
PAIRS = [
    pytest.param(algorithm, exchange, marks=[] if (algorithm, exchange) in FIRST else pytest.mark.slow)
    for algorithm in QUICK
    for exchange in EXCHANGED
]


@pytest.mark.parametrize(("algorithm", "exchange"), PAIRS)
def test_a_legal_pair_learns(algorithm: str, exchange: str, tmp_path: Path) -> None:
    result = trained(algorithm, exchange, tmp_path)
    assert result.reason == "solved", result


@pytest.mark.parametrize(
    ("algorithm", "exchange", "more"),
    [
        ("a3c", "weights", {}),
        pytest.param("impala", "experience", {"exchange.zstd": True}, marks=pytest.mark.slow),
        pytest.param("apex_dqn", "observations", {}, marks=pytest.mark.slow),
    ],
)
def test_pixels_are_learned_from(algorithm: str, exchange: str, more: dict[str, Any], tmp_path: Path) -> None:
    result = trained(algorithm, exchange, tmp_path, environment="tests.fakes:Pixels", **more)
    assert result.reason == "solved", result
    assert evaluate(result.weights, episodes=50).mean > 0.5  # which must see them as training did


def test_where_nobody_evaluates_training_says_what_is_solved(tmp_path: Path) -> None:
    result = trained("a3c", "weights", tmp_path, **{"evaluation.episodes": 0})
    assert result.reason == "solved", result
    assert result.weights.is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "exchange"),
    [
        *((name, "weights") for name in QUICK),
        ("a3c", "pairwise"),
        ("ppo", "gradients"),
        ("impala", "gradients"),
        ("apex_dqn", "gradients"),
        ("impala", "experience"),
        ("apex_dqn", "observations"),
    ],
)
def test_a_legal_pair_learns_on_a_child(algorithm: str, exchange: str, tmp_path: Path) -> None:
    result = trained(algorithm, exchange, tmp_path, Cluster(local=1))
    assert result.reason == "solved", result


@pytest.mark.parametrize(
    ("source", "settings", "words"),
    [
        (CATCH, {"exchange.name": "pairwise", "exchange.codec": "int8"}, "float32, bfloat16, float16 with pairwise"),
        (CATCH, {"exchange.name": "pairwise", "exchange.barrier": True}, "false with exchange.name = 'pairwise'"),
        (CATCH, {"exchange.name": "gossip"}, "exchange.name: expected one of weights, gradients, pairwise, exp"),
        (
            CATCH,
            {"exchange.name": "gradients", "algorithm.name": "ppo", "replay.ratio": 2.0},
            "replay.ratio: expected 0 with exchange.name = 'gradients' and ppo, got 2.0",
        ),
        (
            CATCH,
            {
                "exchange.name": "gradients",
                "algorithm.name": "tests.fake_algorithms:OwnLoss",
                "algorithm.normalize_advantages": True,
            },
            "algorithm.normalize_advantages: expected false with exchange.name = 'gradients' and tests.fake_algorithms",
        ),
        (
            CATCH,
            {"exchange.name": "gradients", "exchange.aggregate": "median"},
            "exchange.aggregate: expected 'mean' with exchange.name = 'gradients', where gradients are averaged",
        ),
        (CATCH, {"exchange.name": "experience", "deterministic": True}, "needs exchange.name = 'weights'"),
        (CATCH, {"exchange.name": "observations", "deterministic": True}, "needs exchange.name = 'weights'"),
        (CATCH, {"algorithm.name": "apex_dqn", "replay.ratio": 0.0}, "learns only from a replay"),
        (CATCH, {"exchange.name": "observations", "environment.per_worker": 3}, "two groups take turns"),
        (
            CATCH,
            {"exchange.name": "observations", "environment.normalize_rewards": True},
            "environment.normalize_rewards: expected false with exchange.name = 'observations'",
        ),
        (
            CATCH,
            {"exchange.name": "experience", "replay.ratio": 1.0, "exchange.batch": 2},
            "replay.ratio = 1 needs exchange.batch = 1",
        ),
        (CATCH, {"algorithm.name": "sac"}, "sac needs continuous actions"),
        (PROBE, {"algorithm.name": "apex_dqn"}, "apex_dqn needs actions that are one category"),
        (
            CATCH,
            {"algorithm.name": "tests.parts:OnPolicyOnly", "exchange.name": "experience"},
            "exchange.name = 'experience': tests.parts:OnPolicyOnly learns only from what its newest weights play: use",
        ),
        (
            CATCH,
            {"algorithm.name": "tests.parts:OnPolicyOnly", "exchange.name": "observations"},
            "exchange.name = 'observations': tests.parts:OnPolicyOnly learns only",
        ),
        (
            CATCH,
            {"algorithm.name": "tests.parts:OnPolicyOnly", "replay.ratio": 1.0},
            "replay.ratio = 1: tests.parts:OnPolicyOnly learns only from what its newest weights play: use 0",
        ),
        (CATCH, {"exchange.name": "pairwise"}, "mixes weights of children, and there are none"),
        (CATCH, {"exchange.name": "experience", "exchange.queue": 10**9}, "exchange.queue = 1,000,000,000 needs"),
    ],
)
def test_any_other_pair_is_refused_at_the_start(
    source: str, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(MarlError) as refused:
        train(source, settings={**BARE, "stop.steps": 9, "report.runs": str(runs), **settings}, live=False)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not runs.exists()
