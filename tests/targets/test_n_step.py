import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from marl.targets.n_step import NStep, n_step
from tests.targets.cases import Array, another_future, cases, literal_n_step, property_of, random_case, tensors, unit

lengths = st.integers(1, 15)


def literal_sums(
    rewards: Array, terminated: Array, truncated: Array, valid: Array, discount: float, n: int
) -> tuple[Array, ...]:
    T, B = rewards.shape
    returns, discounts, index = np.zeros((T, B)), np.zeros((T, B)), np.zeros((T, B), np.int64)
    for t, b in np.ndindex(T, B):
        k = t
        while k < min(t + n, T) - 1 and not (terminated[k, b] or truncated[k, b]) and valid[t, b]:
            k += 1
        index[t, b] = k
        if valid[t, b]:
            returns[t, b] = sum(discount ** (i - t) * rewards[i, b] for i in range(t, k + 1))
            discounts[t, b] = 0.0 if terminated[k, b] else discount ** (k - t + 1)
    return returns, index, discounts


def with_resets(case: tuple[Array, ...]) -> Array:
    """valid [T, B] of next-step autoreset: the step after an end is none, and ends nothing."""
    *_, terminated, truncated = case
    valid = np.ones(terminated.shape, bool)
    for t in range(1, len(valid)):
        valid[t] = ~(terminated | truncated)[t - 1]
        terminated[t] &= valid[t]
        truncated[t] &= valid[t]
    return valid


def sums_of(case: tuple[Array, ...], valid: Array, discount: float, n: int) -> NStep:
    rewards, _, _, *ends = tensors(case, torch.float64)
    return n_step(rewards, *ends, torch.from_numpy(valid), discount=discount, n=n)


def bootstrapped(sums: NStep, following: Array) -> Array:
    """The n-step return, with the value after each last step."""
    values = np.take_along_axis(following, sums.bootstrap_index.numpy(), axis=0)
    return sums.returns.numpy() + sums.discounts.numpy() * values


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n", [1, 2, 3, 30])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_n_step_equals_the_definition(seed: int, n: int, dtype: torch.dtype, tolerance: float) -> None:
    case = random_case(seed, T=1 + seed, B=1 + seed % 4)
    valid = with_resets(case)
    rewards, _, _, terminated, truncated = case
    ours = n_step(*tensors((rewards, terminated, truncated, valid), dtype), discount=0.97, n=n)
    returns, index, discounts = literal_sums(rewards, terminated, truncated, valid, 0.97, n)
    assert (ours.returns.dtype, ours.bootstrap_index.dtype, ours.discounts.dtype) == (dtype, torch.int64, dtype)
    np.testing.assert_array_equal(ours.bootstrap_index, index)
    np.testing.assert_allclose(ours.returns.double(), returns, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(ours.discounts.double(), discounts, atol=tolerance, rtol=tolerance)


def test_n_step_by_hand() -> None:
    """Discount 1/2, 3 steps; an episode terminates at step 1, step 2 is the reset."""
    rewards = torch.tensor([[1.0], [2.0], [100.0], [4.0], [8.0], [16.0]])
    terminated = torch.tensor([[False], [True], [False], [False], [False], [False]])
    valid = torch.tensor([[True], [True], [False], [True], [True], [True]])
    ours = n_step(rewards, terminated, torch.zeros_like(valid), valid, discount=0.5, n=3)
    assert ours.returns.ravel().tolist() == [2.0, 2.0, 0.0, 12.0, 16.0, 16.0]
    assert ours.bootstrap_index.ravel().tolist() == [1, 1, 2, 5, 5, 5]
    assert ours.discounts.ravel().tolist() == [0.0, 0.0, 0.0, 0.125, 0.25, 0.5]


def test_a_cut_episode_bootstraps_from_its_last_step() -> None:
    no, truncated = torch.zeros(3, 1, dtype=torch.bool), torch.tensor([[False], [True], [False]])
    ours = n_step(torch.ones(3, 1), no, truncated, ~no, discount=0.5, n=3)
    assert ours.returns.ravel().tolist() == [1.5, 1.0, 1.0]
    assert ours.bootstrap_index.ravel().tolist() == [1, 1, 2]
    assert ours.discounts.ravel().tolist() == [0.25, 0.5, 0.5]


@property_of(cases, unit)
def test_one_step(case: tuple[Array, ...], discount: float) -> None:
    rewards, _, following, terminated, truncated = case
    sums = sums_of(case, np.ones_like(truncated), discount, 1)
    np.testing.assert_array_equal(sums.returns, rewards)
    np.testing.assert_allclose(bootstrapped(sums, following), rewards + discount * following * ~terminated, atol=1e-12)


@property_of(cases, unit, lengths)
def test_as_long_as_the_trajectory(case: tuple[Array, ...], discount: float, more: int) -> None:
    rewards, values, following, _, truncated = case
    sums = sums_of(case, np.ones_like(truncated), discount, len(rewards) + more - 1)
    np.testing.assert_allclose(bootstrapped(sums, following), literal_n_step(*case, discount) + values, atol=1e-10)


@property_of(cases, unit, lengths)
def test_nothing_leaks_over_an_end(case: tuple[Array, ...], discount: float, n: int) -> None:
    case, other, kept = another_future(case)
    everywhere = np.ones_like(case[-1])
    for one, two in zip(*(sums_of(each, everywhere, discount, n) for each in (case, other)), strict=True):
        assert torch.equal(one[:kept], two[:kept])


@property_of(cases, unit, lengths)
def test_reset_steps_enter_no_sum(case: tuple[Array, ...], discount: float, n: int) -> None:
    valid = with_resets(case)
    before = sums_of(case, valid, discount, n)
    case[0][~valid] = 1e6
    for one, two in zip(before, sums_of(case, valid, discount, n), strict=True):
        assert torch.equal(one, two)
