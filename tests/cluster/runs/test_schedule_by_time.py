"""A learning rate that falls with the time of a run, wherever it is that learns."""

from pathlib import Path

import pytest

from marl.api import Cluster, train
from tests.commands import metrics

RATE, MINUTES = 0.01, 1.0  # the run is over long before
SLACK_S = 2.0  # a metric may be newer than the time in its row


@pytest.mark.parametrize(
    ("algorithm", "exchange", "cluster"),
    [
        pytest.param("ppo", "weights", None, id="workers"),
        pytest.param("impala", "experience", None, id="learner"),
        pytest.param("ppo", "weights", Cluster(local=1), id="child", marks=pytest.mark.slow),
    ],
)
def test_it_has_fallen_as_far_as_time_has_passed(
    algorithm: str, exchange: str, cluster: Cluster | None, tmp_path: Path
) -> None:
    settings = {
        "seed": 1,
        "algorithm.name": algorithm,
        "algorithm.schedule": "linear",
        "algorithm.learning_rate": RATE,
        "exchange.name": exchange,
        "exchange.every": "0.2 seconds",
        "node.workers": 1,
        "evaluation.episodes": 0,
        "evaluation.final_episodes": 0,
        "report.every_seconds": 0.05,
        "report.tensorboard": False,
        "report.pictures": False,
        "report.runs": str(tmp_path / "runs"),
        "stop.minutes": MINUTES,
        "stop.solved": False,
        "stop.episodes": 300,
    }
    train(
        "CartPole-v1",
        settings=settings,
        out=tmp_path / "weights.pt",
        live=False,
        look=False,
        cluster=cluster,
    )
    told = [row for row in metrics(tmp_path) if "learning_rate" in row["metrics"]]
    assert told
    for seconds, rate in ((row["seconds"], row["metrics"]["learning_rate"]) for row in told):
        assert RATE * (1.0 - (seconds + SLACK_S) / (60.0 * MINUTES)) < rate < RATE
