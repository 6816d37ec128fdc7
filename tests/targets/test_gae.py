import numpy as np
import pytest
import torch

from marl.targets.gae import gae
from marl.targets.returns import mean_weights, next_values, standardized
from tests.targets.cases import (
    Array,
    another_future,
    cases,
    consistent,
    literal_n_step,
    property_of,
    random_case,
    tensors,
    unit,
)


def literal_gae(
    rewards: Array,
    values: Array,
    following: Array,
    terminated: Array,
    truncated: Array,
    discount: float,
    lambda_: float,
) -> Array:
    """The definition, as a sum from every step on: A_t = sum_k (discount lambda)^k delta_{t+k}, up to the end."""
    T, B = rewards.shape
    advantages = np.zeros((T, B))
    for b in range(B):
        for t in range(T):
            factor = 1.0
            for k in range(t, T):
                bootstrap = 0.0 if terminated[k, b] else discount * following[k, b]
                advantages[t, b] += factor * (rewards[k, b] + bootstrap - values[k, b])
                if terminated[k, b] or truncated[k, b]:
                    break
                factor *= discount * lambda_
    return advantages


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_gae_equals_the_definition(seed: int, dtype: torch.dtype, tolerance: float) -> None:
    case = random_case(seed, T=1 + seed, B=1 + seed % 4)
    ours = gae(*tensors(case, dtype), discount=0.97, gae_lambda=0.9)
    assert ours.dtype is dtype
    np.testing.assert_allclose(ours.double(), literal_gae(*case, 0.97, 0.9), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("seed", range(10))
def test_n_step_equals_the_paper(seed: int) -> None:
    case = consistent(random_case(seed, T=8, B=3))
    ours = gae(*tensors(case, torch.float64), discount=0.9, gae_lambda=1.0)
    np.testing.assert_allclose(ours, literal_n_step(*case, 0.9), atol=1e-12)


def test_by_hand() -> None:
    """Discount 1/2, lambda 1/2, values 1; an episode terminates at step 1, one is cut at step 3 before a value of 8."""
    rewards = torch.tensor([[2.0], [4.0], [1.0], [3.0], [5.0]])
    following = torch.tensor([[1.0], [99.0], [1.0], [8.0], [2.0]])
    terminated = torch.tensor([[False], [True], [False], [False], [False]])
    truncated = torch.tensor([[False], [False], [False], [True], [False]])
    advantages = gae(rewards, torch.ones(5, 1), following, terminated, truncated, discount=0.5, gae_lambda=0.5)
    # deltas: 2 + .5 - 1 = 1.5; 4 - 1 = 3; 1 + .5 - 1 = .5; 3 + 4 - 1 = 6; 5 + 1 - 1 = 5
    assert advantages.ravel().tolist() == [1.5 + 0.25 * 3, 3.0, 0.5 + 0.25 * 6, 6.0, 5.0]


def test_n_step_by_hand() -> None:
    """Rewards 1, 2, 3 and a bootstrap of 8 with discount 1/2: 1 + 1 + .75 + 1 = 3.75."""
    no = torch.zeros(3, 1, dtype=torch.bool)
    rewards, values = torch.tensor([[1.0], [2.0], [3.0]]), torch.zeros(3, 1)
    following = torch.tensor([[0.0], [0.0], [8.0]])
    assert gae(rewards, values, following, no, no, discount=0.5, gae_lambda=1.0).ravel().tolist() == [3.75, 5.5, 7.0]


@property_of(cases, unit)
def test_lambda_one_is_the_n_step_return(case: tuple[Array, ...], discount: float) -> None:
    case = consistent(case)
    ours = gae(*tensors(case, torch.float64), discount=discount, gae_lambda=1.0)
    np.testing.assert_allclose(ours, literal_n_step(*case, discount), atol=1e-10)


@property_of(cases, unit)
def test_lambda_zero_is_the_one_step_error(case: tuple[Array, ...], discount: float) -> None:
    rewards, values, following, terminated, _ = case
    ours = gae(*tensors(case, torch.float64), discount=discount, gae_lambda=0.0)
    np.testing.assert_allclose(ours, rewards + discount * following * ~terminated - values, atol=1e-12)


@property_of(cases, unit, unit)
def test_target_is_td_lambda(case: tuple[Array, ...], discount: float, lambda_: float) -> None:
    """G_t = r_t + discount ((1 - lambda) V_{t+1} + lambda G_{t+1}) within episodes."""
    case = consistent(case)
    rewards, values, following, terminated, truncated = case
    targets = np.asarray(gae(*tensors(case, torch.float64), discount=discount, gae_lambda=lambda_)) + values
    for t in range(len(rewards)):
        after = following[t].copy()
        if t + 1 < len(rewards):
            goes_on = ~(terminated[t] | truncated[t])
            after[goes_on] = ((1 - lambda_) * following[t] + lambda_ * targets[t + 1])[goes_on]
        np.testing.assert_allclose(targets[t], rewards[t] + discount * after * ~terminated[t], atol=1e-10)


@property_of(cases, unit, unit)
def test_nothing_leaks_over_an_end(case: tuple[Array, ...], discount: float, lambda_: float) -> None:
    """What comes after an end, the next-step autoreset's reset step among it, changes no advantage before."""
    case, other, kept = another_future(case)
    before, after = (
        gae(*tensors(each, torch.float64), discount=discount, gae_lambda=lambda_) for each in (case, other)
    )
    assert torch.equal(before[:kept], after[:kept])


@property_of(cases, unit)
def test_lambda_one_is_monte_carlo_when_episodes_finish(case: tuple[Array, ...], discount: float) -> None:
    """No value is left but the baseline."""
    rewards, values, _, terminated, truncated = case
    truncated[:] = False
    terminated[-1] = True
    case = consistent(case)
    targets = np.asarray(gae(*tensors(case, torch.float64), discount=discount, gae_lambda=1.0)) + values
    T, B = rewards.shape
    for t, b in np.ndindex(T, B):
        end = t + int(np.argmax(terminated[t:, b]))
        total = sum(discount ** (k - t) * rewards[k, b] for k in range(t, end + 1))
        assert targets[t, b] == pytest.approx(total, abs=1e-10)


def test_next_values_puts_true_last_values_in_place() -> None:
    values = torch.arange(8.0).reshape(4, 2)
    following = next_values(values, torch.tensor([50.0, 60.0]), torch.tensor([1, 4]))
    assert following.tolist() == [[2.0, 50.0], [4.0, 5.0], [60.0, 7.0]]
    assert values.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]  # untouched
    assert torch.equal(next_values(values, torch.zeros(0), torch.zeros(0, dtype=torch.long)), values[1:])


def test_means_and_deviations_ignore_reset_steps() -> None:
    rng = np.random.default_rng(0)
    numbers, valid = rng.normal(3, 5, (6, 4)), rng.random((6, 4)) < 0.6
    numbers[~valid] = 1e6
    ours, weights = torch.from_numpy(numbers), mean_weights(torch.from_numpy(valid))
    assert (ours * weights).sum().item() == pytest.approx(numbers[valid].mean(), rel=1e-6)
    expected = (numbers[valid] - numbers[valid].mean()) / numbers[valid].std()
    np.testing.assert_allclose(standardized(ours, weights)[torch.from_numpy(valid)], expected, atol=1e-5)


def test_the_mean_of_nothing_is_zero() -> None:
    weights = mean_weights(torch.zeros(2, 2, dtype=torch.bool))
    assert weights.tolist() == [[0, 0], [0, 0]]
    assert standardized(torch.ones(2, 2), weights).isfinite().all()
