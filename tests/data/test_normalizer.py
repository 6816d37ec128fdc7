import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.data.normalizer import (
    CLIP,
    MIN_STD,
    Normalizer,
    RunningStatistics,
    add,
    as_row,
    from_row,
    merge,
    num_columns,
    statistics_of,
)


def test_statistics_equal_numpy() -> None:
    samples = np.random.default_rng(0).normal(1e4, 3, (500, 4)).astype(np.float32)
    found = statistics_of(samples)
    assert found.count == 500
    np.testing.assert_allclose(found.mean, samples.astype(np.float64).mean(0))
    np.testing.assert_allclose(found.std(), samples.astype(np.float64).std(0))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 30), min_size=1, max_size=6))
def test_merging_any_parts_equals_numpy_over_all(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(rng.normal(0, 100), rng.uniform(0.1, 10), (size, 3)) for size in sizes]
    everything = np.concatenate(parts)
    merged = merge(np.stack([as_row(statistics_of(part)) for part in parts]))
    row = np.zeros(num_columns(3))
    for part in parts:
        add(row, statistics_of(part))
    assert merged.count == row[0] == len(everything)
    if len(everything) > 1:
        for found in (merged, from_row(row)):
            np.testing.assert_allclose(found.mean, everything.mean(0), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(found.std(), np.maximum(everything.std(0), MIN_STD), rtol=1e-7)


def test_a_row_and_back() -> None:
    value = statistics_of(np.arange(12.0).reshape(4, 3))
    back = from_row(as_row(value))
    assert back.count == 4
    np.testing.assert_array_equal(back.mean, value.mean)
    np.testing.assert_array_equal(back.m2, value.m2)


def test_too_little_to_say() -> None:
    nothing = statistics_of(np.zeros((0, 2)))
    assert nothing.count == 0
    assert nothing.std().tolist() == [1.0, 1.0]
    assert statistics_of(np.ones((1, 2))).std().tolist() == [1.0, 1.0]
    assert statistics_of(np.ones((5, 2))).std().tolist() == [MIN_STD, MIN_STD]  # a constant does not divide by zero


def test_normalizer_by_hand() -> None:
    normalizer = Normalizer(2)
    observations = np.array([[12.0, 0.0], [8.0, 5000.0]], np.float32)
    assert normalizer(observations)[0].tolist() == [CLIP, 0.0]  # nothing seen yet: only clipped
    normalizer.use(RunningStatistics(4.0, np.array([10.0, 0.0]), np.array([16.0, 4.0])))  # deviations 2 and 1
    found = normalizer(observations)
    assert found.tolist() == [[1.0, 0.0], [-1.0, CLIP]]
    assert found.dtype == np.float32
    assert observations.tolist() == [[12.0, 0.0], [8.0, 5000.0]]  # untouched


@pytest.mark.parametrize("size", [1, 7])
def test_columns(size: int) -> None:
    assert len(as_row(statistics_of(np.zeros((3, size))))) == num_columns(size)


def test_wide_observations_are_narrowed_last() -> None:
    """A time stamp of float64: what differs is lost in float32, unless the mean is taken off first."""
    stamps = 1.7e9 + np.array([[0.0], [1.0], [0.0], [1.0]])
    normalizer = Normalizer(1)
    normalizer.use(statistics_of(stamps))
    found = normalizer(stamps)
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == [-1, 1, -1, 1]
    assert normalizer(np.array([[1e300]])).tolist() == [[CLIP]]


def test_the_bits_of_float32_observations_are_those_of_the_plain_formula() -> None:
    seen = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
    statistics = statistics_of(seen)
    normalizer = Normalizer(4)
    normalizer.use(statistics)
    mean, scale = statistics.mean.astype(np.float32), (1.0 / statistics.std()).astype(np.float32)
    np.testing.assert_array_equal(normalizer(seen), np.clip((seen - mean) * scale, -CLIP, CLIP))


def test_statistics_may_be_overwritten_after_use() -> None:
    row = as_row(statistics_of(np.array([[1.0], [3.0]])))
    normalizer = Normalizer(1)
    normalizer.use(from_row(row))
    row[:] = 9
    assert normalizer(np.array([[3.0]])).tolist() == [[1.0]]
