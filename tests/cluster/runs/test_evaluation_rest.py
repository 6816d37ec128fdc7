"""An evaluator rests after long evaluations."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from marl.cluster.runs import evaluation as module
from tests.cluster.runs.evaluating import Setting


@pytest.mark.parametrize(("took", "next_after"), [(2.0, 20.0), (30.0, 150.0)])  # seconds
def test_long_evaluations_come_less_often(took: float, next_after: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an evaluator whose episodes are long would take a worker's core all the time."""
    clock = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0], time=time.time))
    setting = Setting(**{"evaluation.every_seconds": 20.0})
    setting.meter.add_episodes(np.full(100, 50.0), np.full(100, 500))  # far from solved
    setting.evaluation.begin()
    clock[0] += 20.0
    assert setting.offer()
    asked = clock[0]
    clock[0] += took
    setting.evaluation.collect()
    clock[0] = asked + next_after - 0.1
    assert not setting.offer()
    clock[0] = asked + next_after + 0.1
    assert setting.offer()
