import math

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from marl.targets.gae import gae
from marl.targets.td_lambda import td_lambda
from marl.targets.vtrace import vtrace
from tests.targets.cases import (
    Array,
    another_future,
    cases,
    consistent,
    property_of,
    random_case,
    random_log_ratios,
    tensors,
    unit,
)


def literal_vtrace(
    ratios: Array,
    rewards: Array,
    values: Array,
    following: Array,
    terminated: Array,
    truncated: Array,
    discount: float,
    trace_lambda: float,
    max_rho: float,
    max_c: float,
    max_policy_rho: float,
) -> tuple[Array, Array]:
    """Equation 1: v_t = V_t + sum_k d^(k-t) (prod_{t <= i < k} c_i) delta_k; then rho_t (r_t + d v_{t+1} - V_t)."""
    T, B = rewards.shape
    targets, advantages = values.copy(), np.zeros((T, B))
    for t, b in np.ndindex(T, B):
        for k in range(t, T):
            traces = math.prod(trace_lambda * min(max_c, ratios[i, b]) for i in range(t, k))
            bootstrap = 0.0 if terminated[k, b] else discount * following[k, b]
            delta = min(max_rho, ratios[k, b]) * (rewards[k, b] + bootstrap - values[k, b])
            targets[t, b] += discount ** (k - t) * traces * delta
            if terminated[k, b] or truncated[k, b]:
                break
    for t, b in np.ndindex(T, B):
        after = following[t, b] if truncated[t, b] or t == T - 1 else targets[t + 1, b]
        after = 0.0 if terminated[t, b] else discount * after
        advantages[t, b] = min(max_policy_rho, ratios[t, b]) * (rewards[t, b] + after - values[t, b])
    return targets, advantages


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("trace_lambda", "limits"), [(1.0, (1.0, 1.0, 1.0)), (0.9, (2.0, 0.7, 1.5))])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_equals_the_definition(
    seed: int, trace_lambda: float, limits: tuple[float, ...], dtype: torch.dtype, tolerance: float
) -> None:
    case, log_ratios = random_case(seed, T=1 + seed, B=1 + seed % 4), random_log_ratios(seed, 1 + seed, 1 + seed % 4)
    names = dict(zip(["max_rho", "max_c", "max_policy_rho"], limits, strict=True))
    ours = vtrace(log_ratios.to(dtype), *tensors(case, dtype), discount=0.97, trace_lambda=trace_lambda, **names)
    targets, advantages = literal_vtrace(np.exp(log_ratios.numpy()), *case, 0.97, trace_lambda, *limits)
    assert {each.dtype for each in ours} == {dtype}
    np.testing.assert_allclose(ours.targets.double(), targets, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(ours.advantages.double(), advantages, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(ours.rhos.double(), np.minimum(np.exp(log_ratios.numpy()), limits[2]), rtol=tolerance)


def test_by_hand() -> None:
    """Discount 1/2, values 1, ratios 2, 1/2 and 1/4, of which the first is clipped at 1."""
    no = torch.zeros(3, 1, dtype=torch.bool)
    log_ratios, values = torch.tensor([[2.0], [0.5], [0.25]]).log(), torch.ones(3, 1)
    rewards, following = torch.tensor([[3.0], [2.0], [3.0]]), torch.tensor([[1.0], [1.0], [4.0]])
    ours = vtrace(log_ratios, rewards, values, following, no, no, discount=0.5)
    # errors: .25 (3 + 2 - 1) = 1; .5 (2 + .5 - 1) + .5 * .5 * 1 = 1; 3 + .5 - 1 + .5 * 1 = 3
    torch.testing.assert_close(ours.targets.ravel(), torch.tensor([4.0, 2.0, 2.0]))
    # .25 (3 + .5 * 4 - 1); .5 (2 + .5 * 2 - 1); 3 + .5 * 2 - 1
    torch.testing.assert_close(ours.advantages.ravel(), torch.tensor([3.0, 1.0, 1.0]))
    torch.testing.assert_close(ours.rhos.ravel(), torch.tensor([1.0, 0.5, 0.25]))


def test_no_gradient_flows_through() -> None:
    numbers = tensors(random_case(0, T=3, B=2), torch.float64)
    log_ratios = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    assert not any(each.requires_grad for each in vtrace(log_ratios, *numbers, discount=0.9))


@property_of(cases, unit)
def test_on_policy_is_the_n_step_return(case: tuple[Array, ...], discount: float) -> None:
    """Targets and advantages both, and no limit above 1 matters."""
    numbers = tensors(consistent(case), torch.float64)
    ours = vtrace(torch.zeros_like(numbers[0]), *numbers, discount=discount, max_rho=3.0, max_c=1.5, max_policy_rho=2.0)
    expected = gae(*numbers, discount=discount, gae_lambda=1.0)
    torch.testing.assert_close(ours.targets - numbers[1], expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(ours.advantages, expected, atol=1e-10, rtol=0)


@property_of(cases, unit, unit)
def test_on_policy_is_td_lambda(case: tuple[Array, ...], discount: float, lambda_: float) -> None:
    rewards, _, *others = numbers = tensors(consistent(case), torch.float64)
    ours = vtrace(torch.zeros_like(rewards), *numbers, discount=discount, trace_lambda=lambda_)
    expected = td_lambda(rewards, *others, discount=discount, td_lambda=lambda_)
    torch.testing.assert_close(ours.targets, expected, atol=1e-10, rtol=0)


@property_of(cases, unit)
def test_what_the_policy_would_never_do_teaches_nothing(case: tuple[Array, ...], discount: float) -> None:
    numbers = tensors(case, torch.float64)
    ours = vtrace(torch.full_like(numbers[0], -math.inf), *numbers, discount=discount)
    assert torch.equal(ours.targets, numbers[1])
    assert not ours.advantages.any()


@property_of(cases, unit, unit, st.integers(0, 99))
def test_nothing_leaks_over_an_end(case: tuple[Array, ...], discount: float, lambda_: float, seed: int) -> None:
    case, other, kept = another_future(case)
    log_ratios = random_log_ratios(seed, *case[0].shape)
    before = vtrace(log_ratios, *tensors(case, torch.float64), discount=discount, trace_lambda=lambda_)
    log_ratios[kept:] += 3.0
    after = vtrace(log_ratios, *tensors(other, torch.float64), discount=discount, trace_lambda=lambda_)
    for one, two in zip(before, after, strict=True):
        assert torch.equal(one[:kept], two[:kept])
