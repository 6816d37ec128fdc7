import math

import pytest
import torch
from torch import Tensor

from marl.data.spaces import Part, Spaces
from marl.networks.distributions import Categorical, Compound, distribution_for
from marl.networks.measured.gaussian import Gaussian
from tests.plain_spaces import plain_spaces


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_categorical_equals_torchs() -> None:
    logits = normal(6, 4, 5) * 3
    actions = torch.randint(5, (6, 4), generator=generator())
    theirs, ours = torch.distributions.Categorical(logits=logits), Categorical(5)
    torch.testing.assert_close(ours.log_prob(logits, actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(logits), theirs.entropy())
    assert torch.equal(ours.mode(logits), theirs.probs.argmax(-1))


def test_gaussian_equals_torchs() -> None:
    mean, log_std, actions = normal(6, 3), normal(6, 3, seed=1), normal(6, 3, seed=2)
    parameters = torch.cat([mean, log_std], -1)
    theirs = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)
    ours = Gaussian(3)
    torch.testing.assert_close(ours.log_prob(parameters, actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(parameters), theirs.entropy())
    assert torch.equal(ours.mode(parameters), mean)


def test_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]])  # probabilities 3/4 and 1/4
    assert Categorical(2).log_prob(logits, torch.tensor([1])).exp().item() == pytest.approx(0.25)
    assert Gaussian(1).log_prob(torch.zeros(1, 2), torch.zeros(1, 1)).item() == pytest.approx(
        -0.5 * math.log(2 * math.pi)
    )


def test_draws_of_a_category_are_as_frequent_as_they_should_be() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.7])
    categorical = Categorical(3)
    draws = categorical.sample(probabilities.log(), categorical.noise((20_000,), generator()))
    frequencies = torch.bincount(draws, minlength=3) / len(draws)
    torch.testing.assert_close(frequencies, probabilities, atol=0.01, rtol=0)


def test_draws_of_a_normal_have_its_moments() -> None:
    gaussian = Gaussian(2)
    parameters = torch.tensor([1.0, -2.0, math.log(0.5), math.log(3.0)])
    draws = gaussian.sample(parameters, gaussian.noise((20_000,), generator()))
    torch.testing.assert_close(draws.mean(0), torch.tensor([1.0, -2.0]), atol=0.08, rtol=0)
    torch.testing.assert_close(draws.std(0), torch.tensor([0.5, 3.0]), atol=0.08, rtol=0)


@pytest.mark.parametrize("distribution", [Categorical(4), Gaussian(2)])
def test_noise_repeats_with_its_generator(distribution: Categorical | Gaussian) -> None:
    first, again = (distribution.noise((7, 3), generator(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape[:2] == (7, 3)
    assert first.isfinite().all()


@pytest.mark.parametrize("distribution", [Categorical(4), Gaussian(2)])
def test_the_loss_is_the_written_formula_and_so_is_its_gradient(distribution: Categorical | Gaussian) -> None:
    parameters = normal(5, 3, 4).requires_grad_()
    actions = normal(5, 3, 2, seed=1)
    if isinstance(distribution, Categorical):
        actions = torch.randint(4, (5, 3), generator=generator())
    advantages, weights = normal(5, 3, seed=2), normal(5, 3, seed=3).abs()

    total, policy_loss, entropy = distribution.policy_gradient_loss(parameters, actions, advantages, weights, 0.3)
    (2.0 * total).backward()  # a loss may be one term of another
    found, parameters.grad = parameters.grad, None
    policy = -(weights * advantages * distribution.log_prob(parameters, actions)).sum()
    spread = (weights * distribution.entropy(parameters)).sum()
    (2.0 * (policy - 0.3 * spread)).backward()

    torch.testing.assert_close(found, parameters.grad)
    torch.testing.assert_close((total, policy_loss, entropy), (policy - 0.3 * spread, policy, spread))
    assert not policy_loss.requires_grad
    assert not entropy.requires_grad


def test_the_space_decides() -> None:
    discrete = distribution_for(plain_spaces((3,), num_actions=4))
    assert (type(discrete), discrete.num_parameters) == (Categorical, 4)
    box = distribution_for(plain_spaces((3,), action_shape=(2, 1), action_low=(-1.0, -1.0), action_high=(1.0, 1.0)))
    assert (type(box), box.num_parameters) == (Gaussian, 4)


SEVERAL = {
    "grip": Part((), "int32", (3,), (0,)),
    "arm": Part((2,), low=(-1.0, -1.0), high=(1.0, 1.0)),
    "modes": (Part((2,), "int32", (4, 4), (0, 0)), Part((), "int32", (2,), (0,))),
}


def several() -> Compound:
    made = distribution_for(Spaces(Part((3,)), SEVERAL))
    assert isinstance(made, Compound)
    return made


def test_parts_of_an_action_are_independent() -> None:
    """Against torch's own, each by itself: logits of 3, means of 2, logits of 4, 4 and 2, then two deviations."""
    compound = several()
    assert (compound.num_parameters, compound.num_deviations) == (3 + 2 + 4 + 4 + 2 + 2, 2)
    torch.manual_seed(0)
    parameters = torch.randn(5, 7, 17, dtype=torch.float64)
    rows = torch.tensor([2.0, 0.3, -0.7, 3.0, 0.0, 1.0], dtype=torch.float64).expand(5, 7, 6)
    log_prob = entropy = torch.zeros(5, 7, dtype=torch.float64)
    for start, stop, number in ((0, 3, 0), (5, 9, 3), (9, 13, 4), (13, 15, 5)):
        each = torch.distributions.Categorical(logits=parameters[..., start:stop])
        log_prob, entropy = log_prob + each.log_prob(rows[..., number]), entropy + each.entropy()
    normal = torch.distributions.Normal(parameters[..., 3:5], parameters[..., 15:].exp())
    log_prob = log_prob + normal.log_prob(rows[..., 1:3]).sum(-1)
    torch.testing.assert_close(compound.log_prob(parameters, rows), log_prob)
    torch.testing.assert_close(compound.entropy(parameters), entropy + normal.entropy().sum(-1))


def test_draws_of_several_parts_are_each_where_they_belong() -> None:
    compound = several()
    parameters = torch.zeros(40_000, 17)
    parameters[:, :3] = torch.tensor([0.5, 0.2, 0.3]).log()
    parameters[:, 3:5] = torch.tensor([4.0, -4.0])
    parameters[:, 5] = 50.0  # the first of the first mode's four
    parameters[:, 15:] = math.log(0.5)
    rows = compound.sample(parameters, compound.noise((40_000,), torch.Generator().manual_seed(0)))
    assert rows.shape == (40_000, 6)
    assert torch.bincount(rows[:, 0].long()).div(40_000).tolist() == pytest.approx([0.5, 0.2, 0.3], abs=0.01)
    assert rows[:, 1:3].mean(0).tolist() == pytest.approx([4.0, -4.0], abs=0.01)
    assert rows[:, 1:3].std(0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert bool((rows[:, 3] == 0).all())
    assert torch.bincount(rows[:, 4].long()).div(40_000).tolist() == pytest.approx([0.25] * 4, abs=0.01)
    assert rows[:, 5].mean().item() == pytest.approx(0.5, abs=0.01)
    assert compound.mode(parameters)[0].tolist() == [0, 4, -4, 0, 0, 0]
