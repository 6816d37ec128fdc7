import numpy as np
import pytest
import torch

from marl.targets.gae import gae
from marl.targets.td_lambda import td_lambda
from tests.targets.cases import (
    Array,
    another_future,
    cases,
    consistent,
    literal_lambda_return,
    literal_n_step,
    property_of,
    random_case,
    tensors,
    unit,
)


def targets_of(case: tuple[Array, ...], discount: float, lambda_: float | torch.Tensor) -> torch.Tensor:
    rewards, _, *others = tensors(case, torch.float64)
    return td_lambda(rewards, *others, discount=discount, td_lambda=lambda_)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_definition(seed: int, dtype: torch.dtype, tolerance: float) -> None:
    """Next values that are not the values of the next steps are no matter."""
    rewards, values, *others = random_case(seed, T=1 + seed, B=1 + seed % 4)
    ours = td_lambda(*tensors((rewards, *others), dtype), discount=0.97, td_lambda=0.8)
    assert ours.dtype is dtype
    expected = literal_lambda_return(rewards, *others, 0.97, np.full_like(values, 0.8))
    np.testing.assert_allclose(ours.double(), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("seed", range(10))
def test_every_step_may_have_its_lambda(seed: int) -> None:
    rewards, values, *others = case = random_case(seed, T=9, B=3)
    lambdas = np.random.default_rng(seed).random(values.shape)
    expected = literal_lambda_return(rewards, *others, 0.9, lambdas)
    np.testing.assert_allclose(targets_of(case, 0.9, torch.from_numpy(lambdas)), expected, atol=1e-12)


def test_by_hand() -> None:
    """Discount 1/2, lambda 1/2; an episode terminates at step 1, one is cut at step 3 before a value of 8."""
    rewards = torch.tensor([[2.0], [4.0], [1.0], [3.0], [5.0]])
    following = torch.tensor([[1.0], [99.0], [1.0], [8.0], [2.0]])
    terminated = torch.tensor([[False], [True], [False], [False], [False]])
    truncated = torch.tensor([[False], [False], [False], [True], [False]])
    targets = td_lambda(rewards, following, terminated, truncated, discount=0.5, td_lambda=0.5)
    # 5 + .5 * 2 = 6; 3 + .5 * 8 = 7; 1 + .5 (.5 * 1 + .5 * 7) = 3; 4; 2 + .5 (.5 * 1 + .5 * 4) = 3.25
    assert targets.ravel().tolist() == [3.25, 4.0, 3.0, 7.0, 6.0]


@property_of(cases, unit, unit)
def test_is_the_target_of_gae(case: tuple[Array, ...], discount: float, lambda_: float) -> None:
    case = consistent(case)
    advantages = gae(*tensors(case, torch.float64), discount=discount, gae_lambda=lambda_)
    np.testing.assert_allclose(targets_of(case, discount, lambda_), advantages.numpy() + case[1], atol=1e-10)


@property_of(cases, unit)
def test_lambda_zero_is_the_next_value(case: tuple[Array, ...], discount: float) -> None:
    rewards, _, following, terminated, _ = case
    expected = rewards + discount * following * ~terminated
    np.testing.assert_allclose(targets_of(case, discount, 0.0), expected, atol=1e-12)


@property_of(cases, unit)
def test_lambda_one_is_the_n_step_return(case: tuple[Array, ...], discount: float) -> None:
    expected = literal_n_step(*case, discount) + case[1]
    np.testing.assert_allclose(targets_of(case, discount, 1.0), expected, atol=1e-10)


@property_of(cases, unit, unit)
def test_nothing_leaks_over_an_end(case: tuple[Array, ...], discount: float, lambda_: float) -> None:
    case, other, kept = another_future(case)
    before, after = (targets_of(each, discount, lambda_) for each in (case, other))
    assert torch.equal(before[:kept], after[:kept])
