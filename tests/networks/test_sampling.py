import pytest
import torch

from marl.networks.sampling import EpsilonGreedy, Rank

VALUES = torch.tensor([1.0, 1e6, -3.0, 2.0])


def actions(epsilon: float, count: int = 40_000) -> torch.Tensor:
    sampler = EpsilonGreedy(4, lambda environments: torch.full((environments,), epsilon))
    noise = sampler.noise((count // 4, 4), torch.Generator().manual_seed(0))
    drawn, parameters = sampler.act(VALUES.expand(count // 4, 4, 4), noise)
    assert torch.equal(parameters, VALUES.expand(count // 4, 4, 4))  # the values, not the noise
    return drawn


def test_without_epsilon_always_the_best() -> None:
    assert (actions(0.0) == 1).all()


@pytest.mark.parametrize("epsilon", [0.2, 1.0])
def test_any_action_with_the_chance_epsilon(epsilon: float) -> None:
    """Each of 4 actions with epsilon / 4, and the best with the rest."""
    shares = torch.bincount(actions(epsilon).flatten(), minlength=4) / 40_000
    expected = torch.full((4,), epsilon / 4)
    expected[1] += 1 - epsilon
    torch.testing.assert_close(shares, expected, atol=0.01, rtol=0.0)


def test_each_environment_has_its_own_epsilon() -> None:
    sampler = EpsilonGreedy(2, lambda environments: torch.linspace(0.0, 1.0, environments))
    noise = sampler.noise((10_000, 3), torch.Generator().manual_seed(0))
    drawn, _ = sampler.act(torch.tensor([0.0, 1.0]).expand(10_000, 3, 2), noise)
    assert (drawn == 0).float().mean(0).tolist() == pytest.approx([0.0, 0.25, 0.5], abs=0.02)


def test_the_place_among_all_workers() -> None:
    assert [Rank(number, 5).fraction() for number in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert Rank(0, 1).fraction() == 0.0


def test_workers_of_many_children_have_a_place_each() -> None:
    places = [Rank.among(worker, 3, child, 2) for child in range(2) for worker in range(3)]
    assert sorted(place.number for place in places) == list(range(6))
    assert {place.total for place in places} == {6}
