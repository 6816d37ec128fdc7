"""Trains one cell of the matrix, in this process."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marl.api import evaluate
from marl.cluster.runs.run import run
from tests.matrix.cells import SHOWS, Cell
from tests.matrix.here import PATIENCE_S, Children, threads_for_processes

EPISODES = 100  # of the evaluation
MOST_STEPS = 60_000
ENOUGH = {"discrete": 0.9, "multi": 0.9, "box": 0.45}  # of what is drawn while training, and of an evaluation: the end
GOAL = {"discrete": 0.8, "multi": 0.8, "box": 0.25}  # of other episodes; who does not see the cue earns .5, in a box 0

COMMON: dict[str, Any] = {
    "seed": 1,
    "environment.per_worker": 8,
    "node.workers": 1,
    "node.max_restarts": 0,
    "network.hidden": [16],
    "network.core_size": 16,
    "network.log_std": -1.6,
    "algorithm.discount": 0.9,
    "algorithm.learning_rate": 5e-3,
    "exchange.every": "400 steps",
    "evaluation.episodes": 50,
    "evaluation.final_episodes": 0,
    "report.pictures": False,
    "report.sinks": [],
    "report.every_seconds": 0.05,
    "stop.steps": MOST_STEPS,
}
OFF_POLICY: dict[str, Any] = {
    "algorithm.t_max": 8,
    "algorithm.n_step": 1,
    "replay.capacity": 4000,
    "replay.start": 200,
    "replay.batch_size": 32,
    "replay.ratio": 4.0,
}
OF_ALGORITHM: dict[str, dict[str, Any]] = {
    "a3c": {"algorithm.gae_lambda": 0.95, "algorithm.learning_rate": 2e-3},  # of stale steps it learns badly when fast
    "ppo": {"algorithm.t_max": 8, "algorithm.epochs": 3, "algorithm.num_minibatches": 2},
    "impala": {"algorithm.t_max": 5, "algorithm.learning_rate": 2e-3},
    "apex_dqn": {**OFF_POLICY, "algorithm.epsilon": 0.3, "algorithm.target_period": 20},
    "sac": {
        **OFF_POLICY,
        "network.hidden": [32],
        "network.activation": "relu",
        "algorithm.learning_rate": 2e-3,
        "algorithm.target_rate": 0.05,
        "algorithm.temperature": 0.02,
        "algorithm.target_entropy": -2.0,
    },
}
RATE_OF_PICTURES = 1e-3  # all pixels move all features: at 5e-3 policies may settle before they have seen enough


class Solved(NamedTuple):
    """What came of a cell."""

    mean: float  # return of the most likely actions
    steps: int
    seconds: float

    def reaches(self, cell: Cell) -> bool:
        """Whether the probe is solved."""
        return self.mean >= GOAL[cell.actions]


def settings_of(cell: Cell) -> dict[str, Any]:
    """Those of a run."""
    mask = {"environment.mask": "action_mask" if cell.tree else "info"} if cell.masked else {}
    kwargs = {"shows": SHOWS[cell.network], "acts": cell.actions, "masked": cell.masked, "tree": cell.tree}
    return {
        **COMMON,
        **OF_ALGORITHM[cell.algorithm],
        **({"algorithm.learning_rate": RATE_OF_PICTURES} if cell.network == "cnn" else {}),
        **mask,
        "environment.kwargs": kwargs,
        "environment.solved_return": ENOUGH[cell.actions],
        "network.core": "gru" if cell.network == "recurrent" else None,
        "algorithm.name": cell.algorithm,
        "exchange.name": cell.exchange,
    }


def train_cell(cell: Cell, folder: Path) -> Solved:
    """Train on children until training earns enough, and evaluate the weights.

    Raises:
        MarlError: the cell is refused, or its run cannot go on.
    """
    begun, out = time.monotonic(), folder / "weights.pt"
    with threads_for_processes():
        result = run(
            "tests.matrix.probes:Probe",
            {**settings_of(cell), "report.runs": str(folder / "runs")},
            fleet=Children(2 if cell.exchange == "pairwise" else 1, folder / "home"),
            wait_s=PATIENCE_S,
            resume=None,
            init=None,
            out=out,
            live=False,
            plain=False,
            look=False,
        )
    assert result["failure"] is None
    mean = float(np.mean(evaluate(out, episodes=EPISODES, parallel=16).returns))
    return Solved(mean, result["steps"], time.monotonic() - begun)
