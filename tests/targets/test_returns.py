import pytest
import torch

from marl.targets.returns import mean_weights, moments_of, next_values, standardized, standardized_by


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


@pytest.mark.parametrize("sizes", [(5, 3), (1, 7), (4, 0)])
def test_parts_are_standardized_as_the_whole(sizes: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    advantages = 3 + torch.randn(sum(sizes), generator=generator)
    weights = torch.rand(sum(sizes), generator=generator)
    parts = list(zip(advantages.split(list(sizes)), weights.split(list(sizes)), strict=True))
    total = sum(moments_of(*part) for part in parts)
    found = torch.cat([standardized_by(part, total) for part, _ in parts])
    torch.testing.assert_close(found, standardized(advantages, weights / weights.sum()))


def test_parts_of_one_advantage_or_of_equal_ones() -> None:
    """One alone stays as it is, equal ones are worth nothing."""
    one = torch.tensor([[9.0, -2.0]])
    alone = moments_of(one, torch.tensor([[False, True]])) + moments_of(one, torch.tensor([[False, False]]))
    assert standardized_by(one, alone).tolist() == one.tolist()
    equal = torch.full((3,), 96.068367)
    assert standardized_by(equal, 2 * moments_of(equal, torch.ones(3))).tolist() == [0, 0, 0]
