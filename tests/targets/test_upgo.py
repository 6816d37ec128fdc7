import numpy as np
import pytest
import torch

from marl.targets.upgo import upgo
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


def literal_upgo(
    rewards: Array, values: Array, following: Array, terminated: Array, truncated: Array, discount: float
) -> Array:
    """The definition, forwards: add rewards as long as the next action turns out no worse than its state's value."""
    T, B = rewards.shape
    returns = np.zeros((T, B))
    for t, b in np.ndindex(T, B):
        for k in range(t, T):
            returns[t, b] += discount ** (k - t) * rewards[k, b]
            if terminated[k, b]:
                break
            goes_on = not truncated[k, b] and k + 1 < T
            if goes_on:
                after = 0.0 if terminated[k + 1, b] else discount * following[k + 1, b]
                goes_on = rewards[k + 1, b] + after >= values[k + 1, b]
            if not goes_on:
                returns[t, b] += discount ** (k - t + 1) * following[k, b]
                break
    return returns


def returns_of(case: tuple[Array, ...], discount: float, upgo_lambda: float = 1.0) -> torch.Tensor:
    return upgo(*tensors(case, torch.float64), discount=discount, upgo_lambda=upgo_lambda)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_definition(seed: int, dtype: torch.dtype, tolerance: float) -> None:
    case = random_case(seed, T=1 + seed, B=1 + seed % 4)
    ours = upgo(*tensors(case, dtype), discount=0.97)
    assert ours.dtype is dtype
    np.testing.assert_allclose(ours.double(), literal_upgo(*case, 0.97), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("seed", range(10))
def test_lambda_is_the_share_where_the_trajectory_is_followed(seed: int) -> None:
    rewards, values, following, terminated, truncated = case = random_case(seed, T=9, B=3)
    better = rewards + 0.9 * following * ~terminated >= values
    lambdas = 0.7 * np.vstack([better[1:], better[:1]])
    expected = literal_lambda_return(rewards, following, terminated, truncated, 0.9, lambdas)
    np.testing.assert_allclose(returns_of(case, 0.9, 0.7), expected, atol=1e-12)


def test_by_hand() -> None:
    """Discount 1/2. Step 1 disappoints: its 2 + .5 * 1 is less than the 5 expected, so step 0 bootstraps."""
    no = torch.zeros(4, 1, dtype=torch.bool)
    rewards, values = torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor([[1.0], [5.0], [1.0], [1.0]])
    following = torch.tensor([[5.0], [1.0], [1.0], [2.0]])
    returns = upgo(rewards, values, following, no, no, discount=0.5)
    # 4 + .5 * 2 = 5; 3 + .5 * 5 = 5.5; 2 + .5 * 5.5 = 4.75; 1 + .5 * 5 = 3.5
    assert returns.ravel().tolist() == [3.5, 4.75, 5.5, 5.0]


@property_of(cases, unit, unit)
def test_is_no_less_than_the_one_step_return(case: tuple[Array, ...], discount: float, lambda_: float) -> None:
    """Where the next step's return is followed, that is no less than its Q, which is no less than its value."""
    rewards, _, following, terminated, _ = case = consistent(case)
    one_step = rewards + discount * following * ~terminated
    assert (returns_of(case, discount, lambda_).numpy() >= one_step - 1e-10).all()


@property_of(cases, unit)
def test_lambda_zero_is_the_one_step_return(case: tuple[Array, ...], discount: float) -> None:
    rewards, _, following, terminated, _ = case
    expected = rewards + discount * following * ~terminated
    np.testing.assert_allclose(returns_of(case, discount, 0.0), expected, atol=1e-12)


@property_of(cases, unit)
def test_expecting_nothing_follows_the_trajectory(case: tuple[Array, ...], discount: float) -> None:
    _, values, *_ = case
    np.subtract(values, 100.0, out=values)
    expected = literal_n_step(*case, discount) + values
    np.testing.assert_allclose(returns_of(case, discount), expected, atol=1e-10)


@property_of(cases, unit)
def test_expecting_too_much_never_follows_it(case: tuple[Array, ...], discount: float) -> None:
    rewards, values, following, terminated, _ = case
    np.add(values, 100.0, out=values)
    expected = rewards + discount * following * ~terminated
    np.testing.assert_allclose(returns_of(case, discount), expected, atol=1e-10)


@property_of(cases, unit, unit)
def test_nothing_leaks_over_an_end(case: tuple[Array, ...], discount: float, lambda_: float) -> None:
    case, other, kept = another_future(case)
    before, after = (returns_of(each, discount, lambda_) for each in (case, other))
    assert torch.equal(before[:kept], after[:kept])
