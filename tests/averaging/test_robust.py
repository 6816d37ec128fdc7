"""Robust rules against slow references, and against the poison that ruins the plain mean."""

import math
import statistics
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from marl.averaging.mean import Merge, RunningMean
from marl.averaging.robust import (
    RULES,
    RobustMean,
    assumed_bad,
    clipped_mean,
    coordinate_median,
    krum_order,
    multi_krum,
    trimmed_mean,
)
from marl.averaging.tiles import TILE
from marl.errors import WeightsRefused


def uploads(count: int, size: int = 50) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [torch.randn(size, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
def test_the_median_of_each_number(count: int) -> None:
    given = uploads(count)
    expected = [statistics.median(column) for column in zip(*(one.tolist() for one in given), strict=True)]
    assert coordinate_median(given, torch.empty(50)).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_trimmed_mean_of_each_number() -> None:
    given = uploads(7, TILE + 5)
    found = trimmed_mean(given, torch.empty(TILE + 5), num_trimmed=2)
    for index in (0, 17, TILE - 1, TILE, TILE + 4):
        kept = sorted(float(one[index]) for one in given)[2:5]
        assert float(found[index]) == pytest.approx(sum(kept) / 3, abs=1e-6)


def test_krum_by_its_definition() -> None:
    given, bad = uploads(8), 2
    scores = []
    for me, one in enumerate(given):
        distances = sorted(float((one - other).double().square().sum()) for you, other in enumerate(given) if you != me)
        scores.append(sum(distances[: 8 - bad - 2]))
    expected = sorted(range(8), key=scores.__getitem__)
    assert krum_order(given, num_bad=bad) == expected
    found = multi_krum(given, torch.empty(50), num_bad=bad, num_kept=3)
    assert torch.allclose(found, torch.stack([given[index] for index in expected[:3]]).mean(0), atol=1e-6)
    assert torch.equal(multi_krum(given, torch.empty(50), num_bad=bad, num_kept=1), given[expected[0]])


def test_clipping_by_hand() -> None:
    base = torch.tensor([1.0, 1.0])
    given = [base + torch.tensor(delta) for delta in ([3.0, 4.0], [-5.0, 0.0], [300.0, 400.0], [0.0, 0.0])]
    # Norms 5, 5, 500, 0: the median is 5, and the third becomes (3, 4).
    expected = [1 + (3 - 5 + 3) / 4, 1 + (4 + 0 + 4) / 4]
    assert clipped_mean(given, base, torch.empty(2)).tolist() == pytest.approx(expected)
    assert clipped_mean(given, base, base).tolist() == pytest.approx(expected)


def test_how_many_may_be_bad() -> None:
    assert [assumed_bad(count) for count in (1, 2, 3, 4, 5, 9, 10, 15, 100)] == [0, 0, 0, 0, 1, 1, 2, 3, 20]


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_children_are_enough(rule: str, count: int) -> None:
    same = [torch.full((10,), 2.0)] * count
    merge = RobustMean(10, rule)
    merge.begin(torch.zeros(10))
    for one in same:
        merge.add(one, 1)
    assert merge.mean(torch.empty(10)).tolist() == pytest.approx([2.0] * 10)


POISONS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "ten times backwards": lambda base, honest, _: base - 10 * (honest - base),
    "random": lambda base, _, seed: 100 * torch.randn(base.shape, generator=torch.Generator().manual_seed(seed)),
    "constant": lambda base, *_: torch.full_like(base, 50.0),
}


def descend(merge: Merge, poison: Callable[[Tensor, Tensor, int], Tensor], rounds: int = 60) -> float:
    """Distance to the solution, all ones, of a convex problem that five children solve, one of them a liar."""
    base = torch.zeros(200)
    generator = torch.Generator().manual_seed(3)
    for number in range(rounds):
        merge.begin(base)
        for child in range(5):
            honest = base + 0.2 * (1 - base) + 0.02 * torch.randn(200, generator=generator)
            merge.add(poison(base, honest, number) if child == 2 else honest, 100)
        base = merge.mean(torch.empty(200))
    return float((base - 1).norm()) / math.sqrt(200)


@pytest.mark.parametrize("poison", sorted(POISONS))
def test_one_poisoned_of_five_ruins_the_plain_mean(poison: str) -> None:
    """Proves that the next test tests something."""
    assert descend(RunningMean(200), POISONS[poison]) > 0.5


@pytest.mark.parametrize("poison", sorted(POISONS))
@pytest.mark.parametrize("rule", sorted(RULES.keys() - {"capped"}))
def test_one_poisoned_of_five_is_survived(rule: str, poison: str) -> None:
    assert descend(RobustMean(200, rule), POISONS[poison]) < 0.1


@pytest.mark.parametrize("rule", ["krum", "multikrum", "median", "trimmed"])
def test_two_huge_opposites_break_nothing(rule: str) -> None:
    """Each is just short enough to be accepted; their distance is no longer a float32."""
    merge = RobustMean(4, rule)
    merge.begin(torch.zeros(4))
    for value in (1.0, 1.1, 0.9, 1.0, 1.0, 9e18, -9e18):
        merge.add(torch.full((4,), value), 1)
    assert bool(merge.mean(torch.empty(4)).isfinite().all())


def test_a_claim_of_work_buys_twice_an_equal_share_at_most() -> None:
    merge = RobustMean(3, "capped")
    merge.begin(torch.zeros(3))
    for value, work in ((0.0, 100), (0.0, 100), (0.0, 100), (0.0, 100), (1.0, 10**12)):
        merge.add(torch.full((3,), value), work)
    assert merge.mean(torch.empty(3)).tolist() == pytest.approx([2 / 5] * 3)


def test_the_door_is_guarded() -> None:
    merge = RobustMean(250_000, "median")
    merge.begin(torch.zeros(250_000))
    with pytest.raises(WeightsRefused, match="finite"):
        merge.add(torch.full((250_000,), math.nan), 1)
    assert merge.num_uploads == 0
    with pytest.raises(ValueError, match="no new version"):
        merge.mean(torch.empty(250_000))


@pytest.mark.parametrize("is_delta", [False, True])
def test_a_long_delta_is_shortened_here_too(is_delta: bool) -> None:
    merge, base = RobustMean(2, "median"), torch.tensor([1.0, 1.0])
    merge.begin(base)
    delta = torch.tensor([8.0, 4.0])
    assert merge.add(delta if is_delta else base + delta, 1, is_delta=is_delta, shorten=lambda norm: 0.25)[1] == 0.25
    assert merge.mean(torch.empty(2)).tolist() == [3.0, 2.0]


def test_deltas_and_later_rounds() -> None:
    merge = RobustMean(2, "median")
    for base in (torch.zeros(2), torch.ones(2)):
        merge.begin(base)
        for value in (1.0, 2.0, 9.0):
            merge.add(torch.full((2,), value), 1, is_delta=True)
        assert torch.equal(merge.mean(torch.empty(2)), base + 2)
