"""What a run does before its folder is made."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from marl.api import Cluster, train
from marl.processes.signals import STOPPING, Interrupted, end_at_once
from marl.reports.events import Event, Warned
from tests.fakes import Probe


class Interrupts(Probe):
    """Its observations are wide; Ctrl-C comes in its first step."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Box(-1, 1, (1,), np.float64)

    def step(self, action: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return super().step(action)


@pytest.fixture
def ends_at_once() -> Iterator[None]:
    """Signals as the commands set them."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    end_at_once()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("ends_at_once")
@pytest.mark.parametrize("normalized", [False, True], ids=["a look at its numbers", "a parent's own sample"])
def test_a_step_that_the_main_process_plays_can_be_interrupted(normalized: bool, tmp_path: Path) -> None:
    settings = {
        "environment.id": f"{__name__}:Interrupts",
        "environment.normalize_observations": normalized,
        "exchange.name": "weights",
        "report.runs": str(tmp_path / "runs"),
        "stop.steps": 100,
        "node.workers": 1,
    }
    cluster = Cluster(children=("127.0.0.1:1",), wait_s=0.1) if normalized else None
    with pytest.raises(Interrupted):
        train(settings=settings, out=tmp_path / "weights.pt", cluster=cluster, live=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("exchange", "batch", "number"), [("weights", 8, 2), ("experience", 1, 2), ("experience", 2, None)]
)
def test_the_start_says_that_an_epoch_has_fewer_minibatches(
    exchange: str, batch: int, number: int | None, tmp_path: Path
) -> None:
    """Where single environments play too few sequences, and the learner does not make up for it."""
    heard: list[Event] = []
    settings = {
        "environment.id": "tests.fakes:Probe",
        "environment.per_worker": 2,
        "network.core": "gru",
        "algorithm.name": "ppo",
        "algorithm.num_minibatches": 4,
        "exchange.name": exchange,
        "exchange.batch": batch,
        "node.workers": 1,
        "report.runs": str(tmp_path / "runs"),
        "stop.steps": 1,
    }
    train(settings=settings, out=tmp_path / "weights.pt", live=False, callback=heard.append)
    told = [each.text for each in heard if isinstance(each, Warned) and "num_minibatches" in each.text]
    assert [text.split(",")[0] for text in told] == ([] if number is None else [f"an epoch has {number} minibatches"])
