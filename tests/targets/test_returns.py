import pytest
import torch

from marl.targets.returns import mean_weights, next_values, standardized


def test_a_cut_episode_bootstraps_from_its_true_last_observation():
    values = torch.arange(6.0).view(3, 2)
    following = next_values(values, torch.tensor([99.0]), torch.tensor([1]))
    assert following.tolist() == [[2.0, 99.0], [4.0, 5.0]]


def test_weights_ignore_resets():
    valid = torch.tensor([[True, False], [True, True]])
    torch.testing.assert_close(mean_weights(valid), torch.tensor([[1 / 3, 0], [1 / 3, 1 / 3]]))


@pytest.mark.parametrize("number", [0.0, 0.1, -0.3, 96.068367, 1e6 / 3, -1e-12, 3e30])
@pytest.mark.parametrize("count", [2, 3, 7, 64, 267, 522, 4096])
def test_equal_advantages_are_worth_nothing(count: int, number: float) -> None:
    """Their mean is rounded, and so is what is left of each less it; a square root makes that a deviation."""
    weights = torch.full((count,), 1 / count)
    assert standardized(torch.full((count,), number), weights).abs().max() == 0


def test_small_differences_beside_a_large_mean_still_count() -> None:
    advantages = torch.tensor([1000.0, 1000.0, 1000.01, 1000.01])
    found = standardized(advantages, torch.full((4,), 0.25))
    torch.testing.assert_close(found, torch.tensor([-1.0, -1, 1, 1]))


def test_one_alone_stays_as_it_is() -> None:
    assert standardized(torch.tensor([3.0]), torch.tensor([1.0])).tolist() == [3.0]
    valid = torch.tensor([[False, True, False]])
    assert standardized(torch.tensor([[9.0, -2.0, 7.0]]), mean_weights(valid))[0, 1] == -2
    assert standardized(torch.tensor([3.0, 5.0]), torch.tensor([0.5, 0.5])).tolist() == [-1, 1]


def test_what_is_not_finite_stays_so() -> None:
    for number in (float("nan"), float("inf")):
        assert not standardized(torch.tensor([number, 1.0]), torch.tensor([0.5, 0.5])).isfinite().all()
