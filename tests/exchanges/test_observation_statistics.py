"""What children say that they have seen: one check for all exchanges."""

import numpy as np
import pytest
import torch

from marl.data.normalizer import RunningStatistics, as_row, from_row
from marl.errors import WeightsRefused
from marl.exchanges.observation_statistics import NEAR, Observed


def row(count: float, mean: float = 0.0, deviation: float = 1.0, size: int = 2) -> torch.Tensor:
    of = RunningStatistics(count, np.full(size, mean), np.full(size, count * deviation**2))
    return torch.from_numpy(as_row(of))


def take(observed: Observed, child: str, said: torch.Tensor, most: float = 1e6) -> RunningStatistics:
    observed.add(child, said, most)
    return from_row(observed.statistics.numpy())


SAMPLE = RunningStatistics(200.0, np.zeros(2), np.full(2, 200.0))


@pytest.mark.parametrize(
    "bad", [(-1.0, 0.0, 1.0), (5.0, np.nan, 1.0), (5.0, 1e30, 1.0), (5.0, 0.0, 1e31), (np.inf, 0.0, 1.0)]
)
def test_what_cannot_be_is_refused(bad: tuple[float, float, float]) -> None:
    with pytest.raises(WeightsRefused, match="statistics of observations"):
        Observed(2).vet("a", row(*bad), 1e6)


def test_no_more_than_was_played_is_believed() -> None:
    found = take(Observed(2), "a", row(1e6, 3.0, 2.0), most=500.0)
    assert found.count == 500
    assert found.mean.tolist() == [3.0, 3.0]
    assert found.std().tolist() == pytest.approx([2.0, 2.0])
    assert take(Observed(2), "a", row(1e6), most=0.0).count == 0


def test_one_child_alone_is_believed() -> None:
    observed = Observed(2)
    for mean in (0.0, 1e3, 1e6):
        found = take(observed, "a", row(100.0, mean, 1.0))
    assert found.mean[0] == pytest.approx((1e3 + 1e6) / 3)


def test_those_of_a_run_that_goes_on_are_a_measure() -> None:
    observed = Observed(2, statistics=SAMPLE)
    found = take(observed, "liar", row(100.0, 1e9))
    assert float(np.abs(found.mean).max()) < NEAR
