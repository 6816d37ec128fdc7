"""What children say that they have seen: one check for all exchanges."""

import numpy as np
import pytest
import torch

from marl.averaging.upload_limits import MOST_WEIGHT
from marl.data.normalizer import RunningStatistics, as_row, from_row, statistics_of
from marl.errors import WeightsRefused
from marl.exchanges.observed import NEAR, Observed


def row(count: float, mean: float = 0.0, deviation: float = 1.0, size: int = 2) -> torch.Tensor:
    of = RunningStatistics(count, np.full(size, mean), np.full(size, count * deviation**2))
    return torch.from_numpy(as_row(of))


def take(observed: Observed, child: str, said: torch.Tensor, most: float = 1e6) -> RunningStatistics:
    vetted = observed.vet(child, said, most)
    if vetted is not None:
        observed.remember(child, vetted)
    observed.fold([] if vetted is None else [vetted])
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


@pytest.mark.parametrize("sample", [None, SAMPLE])
@pytest.mark.parametrize(("mean", "deviation"), [(1e6, 1.0), (0.0, 1e6), (-1e20, 1e20), (40.0, 40.0)])
def test_a_liar_does_not_blind_the_others(mean: float, deviation: float, sample: RunningStatistics | None) -> None:
    """One honest, one liar: what the normaliser makes of true observations stays of a usual size."""
    observed = Observed(2, sample=sample)
    for _ in range(50):
        take(observed, "honest", row(500.0))
        found = take(observed, "liar", row(500.0, mean, deviation))
    assert float(np.abs(found.mean / found.std()).max()) < 2
    assert found.std().max() < 2 * NEAR
    if max(abs(mean), deviation) >= 1e6:  # the farther, the less it counts
        assert found.std().max() < 1.2
        assert np.abs(found.mean).max() < 0.1


def test_a_liar_who_comes_first_is_measured_by_what_the_parent_has_seen() -> None:
    observed = Observed(2, sample=SAMPLE)
    found = take(observed, "liar", row(500.0, 1e6, 1e-9))
    assert float(np.abs(found.mean).max()) <= NEAR
    for _ in range(20):
        found = take(observed, "honest", row(500.0))
        take(observed, "liar", row(500.0, 1e6, 1e-9))
    assert 0.5 < found.std()[0] < 2 * NEAR


@pytest.mark.parametrize("sample", [None, SAMPLE])
def test_honest_children_are_followed_wherever_they_go(sample: RunningStatistics | None) -> None:
    """Two that move on together, by a hundred deviations, and a number that begins to move late."""
    observed, random = Observed(2, sample=sample), np.random.default_rng(0)
    for number in range(60):
        for child in "ab":
            seen = random.normal(size=(200, 2)) * [1.0, float(number > 10)] + [2.0 * number, 0.0]
            take(observed, child, torch.from_numpy(as_row(statistics_of(seen))))
    steps = 2.0 * np.arange(60).repeat(400)[:, np.newaxis]
    exact = statistics_of(random.normal(size=steps.shape) + steps)
    found = from_row(observed.statistics.numpy())
    assert found.count == pytest.approx(60 * 400, rel=0.01)  # of the first ones, some were cut
    assert found.mean[0] == pytest.approx(exact.mean[0], rel=0.05)
    assert found.std()[0] == pytest.approx(exact.std()[0], rel=0.05)
    assert found.std()[1] == pytest.approx(0.9, rel=0.1)


def test_those_of_a_run_that_goes_on_are_a_measure() -> None:
    observed = Observed(2, statistics=SAMPLE)
    found = take(observed, "liar", row(100.0, 1e9))
    assert float(np.abs(found.mean).max()) < NEAR


def test_one_childs_observations_count_no_more_than_its_weights_may() -> None:
    observed = Observed(2, sample=SAMPLE)
    for _ in range(20):
        take(observed, "honest", row(1000.0))
        found = take(observed, "liar", row(1e9, 4.9, 4.9), most=1e9)
    assert found.count <= 20 * 1000.0 * (1 + MOST_WEIGHT)
