"""The running mean against literal references, and at the door: nothing bad touches the sum."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from marl.averaging.mean import Accepted, RunningMean
from marl.averaging.tiles import TILE
from marl.averaging.upload_limits import MAX_WORK, Lengths
from marl.errors import WeightsRefused


def numbers(size: int, seed: int, scale: float = 1.0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * scale


def opened(base: Tensor) -> RunningMean:
    merge = RunningMean(base.numel())
    merge.begin(base)
    return merge


def half(unused_norm: float) -> float:
    return 0.5


def result(merge: RunningMean, size: int) -> Tensor:
    return merge.mean(torch.full((size,), math.nan))


def test_by_hand() -> None:
    merge = opened(torch.zeros(2))
    merge.add(torch.tensor([1.0, 2.0]), 100)
    merge.add(torch.tensor([5.0, -2.0]), 300)
    assert result(merge, 2).tolist() == [4.0, -1.0]
    assert (merge.total_work, merge.num_uploads) == (400, 2)


@given(
    size=st.sampled_from([1, 7, 1000, TILE + 3]),
    works=st.lists(st.sampled_from([0.0, 1.0, 640.0, 1e6]), min_size=1, max_size=6).filter(any),
    deltas=st.sets(st.integers(0, 5)),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_against_float64(size: int, works: list[float], deltas: set[int], seed: int) -> None:
    base = numbers(size, seed)
    merge = opened(base)
    expected = torch.zeros(size, dtype=torch.float64)
    for index, work in enumerate(works):
        upload = base + numbers(size, seed + index + 1, 0.01)
        expected += upload.double() * work / sum(works)
        is_delta = index in deltas
        merge.add(upload - base if is_delta else upload, work, is_delta=is_delta)
    assert torch.allclose(result(merge, size).double(), expected, rtol=1e-6, atol=2e-6)


def test_deltas_of_zero_leave_the_base_alone_to_the_bit() -> None:
    base = numbers(1000, 1)
    merge = opened(base)
    for work in (3, 640, 17):
        merge.add(torch.zeros(1000), work, is_delta=True)
    assert torch.equal(result(merge, 1000), base)


def test_a_round_forgets_the_one_before() -> None:
    merge = opened(torch.zeros(2))
    merge.add(torch.tensor([100.0, 100.0]), 5)
    merge.begin(torch.zeros(2))
    merge.add(torch.tensor([7.0, 7.0]), 0)  # no work, no weight, and still the first of the round
    merge.add(torch.tensor([1.0, 2.0]), 5)
    assert result(merge, 2).tolist() == [1.0, 2.0]


def test_the_mean_may_overwrite_the_base() -> None:
    base = torch.tensor([1.0, 1.0])
    merge = opened(base)
    merge.add(torch.tensor([1.0, 0.0]), 1, is_delta=True)
    merge.add(torch.tensor([4.0, 1.0]), 1)
    assert merge.mean(base).tolist() == [3.0, 1.0]


def test_no_work_makes_no_mean() -> None:
    merge = opened(torch.zeros(2))
    with pytest.raises(ValueError, match="no new version"):
        result(merge, 2)
    merge.add(torch.ones(2), 0)
    with pytest.raises(ValueError, match="no new version"):
        result(merge, 2)
    with pytest.raises(ValueError, match="begin"):
        RunningMean(2).add(torch.ones(2), 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e20, -3e38])
@pytest.mark.parametrize("where", [0, TILE - 1, TILE + 2])
@pytest.mark.parametrize("is_delta", [False, True])
def test_what_is_not_finite_leaves_no_trace(bad: float, where: int, is_delta: bool) -> None:
    size = TILE + 3
    base = numbers(size, 1)
    merge, clean = opened(base), opened(base)
    for one in (merge, clean):
        one.add(base + 0.01, 10)
    poisoned = base.clone()
    poisoned[where] = bad
    with pytest.raises(WeightsRefused, match="finite"):
        merge.add(poisoned, 10, is_delta=is_delta)
    for one in (merge, clean):
        one.add(base - 0.5, 20)
    assert torch.equal(result(merge, size), result(clean, size))
    assert (merge.total_work, merge.num_uploads) == (30, 2)


@pytest.mark.parametrize("work", [math.nan, math.inf, -1.0, 2 * MAX_WORK])
def test_work_is_a_count(work: float) -> None:
    with pytest.raises(WeightsRefused, match="environment steps"):
        opened(torch.zeros(2)).add(torch.ones(2), work)


@pytest.mark.parametrize("upload", [torch.zeros(3), torch.zeros(2, dtype=torch.float16), torch.zeros(1, 2)])
def test_an_upload_has_the_agreed_length_and_type(upload: Tensor) -> None:
    with pytest.raises(WeightsRefused, match="2 weights of float32"):
        opened(torch.zeros(2)).add(upload, 1)


def test_what_is_cut_counts_for_the_base() -> None:
    merge = opened(torch.tensor([10.0, 10.0]))
    assert merge.add(torch.tensor([13.0, 14.0]), 25) == (5.0, 1.0)
    assert merge.add(torch.tensor([610.0, 810.0]), 75, shorten=lambda norm: 10.0 / norm) == (1000.0, 0.01)
    assert result(merge, 2).tolist() == pytest.approx([10 + 0.25 * 3 + 0.75 * 6, 10 + 0.25 * 4 + 0.75 * 8])


def test_a_clipped_delta_and_a_clipped_upload_mean_the_same() -> None:
    base, means = numbers(500, 1), []
    for is_delta in (False, True):
        merge = opened(base)
        for seed in range(6):
            delta = numbers(500, seed + 2, 0.1)
            merge.add(delta if is_delta else base + delta, 10, is_delta=is_delta, shorten=half)
        means.append(result(merge, 500))
    assert torch.allclose(means[0], means[1], rtol=1e-4, atol=1e-5)


def test_one_of_five_pulls_no_harder_than_the_ratio_allows() -> None:
    """D2, default: huge uploads in every round move the mean by a bounded step, and not for good."""
    base = torch.zeros(100)
    merge, lengths = RunningMean(100), Lengths()

    def add(child: str, upload: Tensor) -> Accepted:
        return merge.add(upload, 100, shorten=lambda norm: lengths.factor(child, norm, 100))

    for round_number in range(100):
        merge.begin(base)
        for (
            child
        ) in "abcd":  # a step of norm 1 towards the solution, all ones, as an optimizer of bounded steps takes it
            add(child, base + 0.1 * torch.sign(1 - base))
        norm, factor = add("e", base - 1e6 if 2 <= round_number < 12 else base + 0.1 * torch.sign(1 - base))
        assert norm * factor <= 10 * (1 + 1e-3)
        after = merge.mean(torch.empty(100))
        assert float((after - base).norm()) <= (4 + 10) / 5
        base = after
    assert float((base - 1).abs().max()) < 0.2


def test_memory_does_not_grow_with_the_number_of_children() -> None:
    merge, upload = opened(torch.zeros(1000)), torch.ones(1000)
    before = merge.__dict__.copy()
    for _ in range(50):
        merge.add(upload, 1)
    after = [value.numel() for value in merge.__dict__.values() if isinstance(value, Tensor)]
    assert after == [value.numel() for value in before.values() if isinstance(value, Tensor)]
