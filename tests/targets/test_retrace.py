import math

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from marl.targets.retrace import retrace
from tests.targets.cases import (
    Array,
    another_future,
    cases,
    consistent,
    literal_n_step,
    property_of,
    random_case,
    random_log_ratios,
    tensors,
    unit,
)


def literal_retrace(
    ratios: Array,
    rewards: Array,
    q_taken: Array,
    expected_next: Array,
    terminated: Array,
    truncated: Array,
    discount: float,
    lambda_: float,
) -> Array:
    """The operator of the paper: Q_t + sum_k discount^(k-t) (prod_{t < i <= k} c_i) delta_k, up to the end."""
    T, B = rewards.shape
    targets = q_taken.copy()
    for t, b in np.ndindex(T, B):
        for k in range(t, T):
            traces = math.prod(lambda_ * min(1.0, ratios[i, b]) for i in range(t + 1, k + 1))
            bootstrap = 0.0 if terminated[k, b] else discount * expected_next[k, b]
            targets[t, b] += discount ** (k - t) * traces * (rewards[k, b] + bootstrap - q_taken[k, b])
            if terminated[k, b] or truncated[k, b]:
                break
    return targets


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_definition(seed: int, dtype: torch.dtype, tolerance: float) -> None:
    case, log_ratios = random_case(seed, T=1 + seed, B=1 + seed % 4), random_log_ratios(seed, 1 + seed, 1 + seed % 4)
    ours = retrace(log_ratios.to(dtype), *tensors(case, dtype), discount=0.97, retrace_lambda=0.9)
    assert ours.dtype is dtype
    expected = literal_retrace(np.exp(log_ratios.numpy()), *case, 0.97, 0.9)
    np.testing.assert_allclose(ours.double(), expected, atol=tolerance, rtol=tolerance)


def test_by_hand() -> None:
    """Discount 1/2, lambda 1/2, all Q taken 1; the ratios 1/2 and 4 give traces of 1/4 and 1/2, the first none."""
    no = torch.zeros(3, 1, dtype=torch.bool)
    log_ratios, q_taken = torch.tensor([[0.125], [0.5], [4.0]]).log(), torch.ones(3, 1)
    rewards, expected_next = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[2.0], [2.0], [4.0]])
    targets = retrace(log_ratios, rewards, q_taken, expected_next, no, no, discount=0.5, retrace_lambda=0.5)
    # corrections: 3 + 2 - 1 = 4; 2 + 1 - 1 + .5 * .5 * 4 = 3; 1 + 1 - 1 + .5 * .25 * 3 = 1.375
    torch.testing.assert_close(targets.ravel(), torch.tensor([2.375, 4.0, 5.0]))


def test_no_gradient_flows_through() -> None:
    numbers = tensors(random_case(0, T=3, B=2), torch.float64)
    log_ratios = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    assert not retrace(log_ratios, *numbers, discount=0.9, retrace_lambda=1.0).requires_grad


@property_of(cases, unit, st.integers(0, 99))
def test_lambda_zero_is_one_step_of_expected_sarsa(case: tuple[Array, ...], discount: float, seed: int) -> None:
    rewards, _, expected_next, terminated, _ = case
    log_ratios = random_log_ratios(seed, *rewards.shape)
    ours = retrace(log_ratios, *tensors(case, torch.float64), discount=discount, retrace_lambda=0.0)
    np.testing.assert_allclose(ours, rewards + discount * expected_next * ~terminated, atol=1e-12)


@property_of(cases, unit)
def test_on_policy_with_lambda_one_is_the_n_step_return(case: tuple[Array, ...], discount: float) -> None:
    """Where the next action is worth what was expected of it, the errors telescope."""
    case = consistent(case)
    numbers = tensors(case, torch.float64)
    ours = retrace(torch.zeros_like(numbers[0]), *numbers, discount=discount, retrace_lambda=1.0)
    np.testing.assert_allclose(ours, literal_n_step(*case, discount) + case[1], atol=1e-10)


@property_of(cases, unit, unit, st.integers(0, 99))
def test_the_right_q_is_its_own_target(case: tuple[Array, ...], discount: float, lambda_: float, seed: int) -> None:
    rewards, q_taken, expected_next, terminated, _ = case
    rewards[:] = q_taken - discount * expected_next * ~terminated
    log_ratios = random_log_ratios(seed, *rewards.shape)
    ours = retrace(log_ratios, *tensors(case, torch.float64), discount=discount, retrace_lambda=lambda_)
    np.testing.assert_allclose(ours, q_taken, atol=1e-10)


@property_of(cases, unit, unit, st.integers(0, 99))
def test_nothing_leaks_over_an_end(case: tuple[Array, ...], discount: float, lambda_: float, seed: int) -> None:
    case, other, kept = another_future(case)
    log_ratios = random_log_ratios(seed, *case[0].shape)
    before = retrace(log_ratios, *tensors(case, torch.float64), discount=discount, retrace_lambda=lambda_)
    log_ratios[kept:] += 3.0
    after = retrace(log_ratios, *tensors(other, torch.float64), discount=discount, retrace_lambda=lambda_)
    assert torch.equal(before[:kept], after[:kept])
