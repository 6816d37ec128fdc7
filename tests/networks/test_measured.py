"""Policies of continuous actions against torch's own distributions."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    Distribution,
    Independent,
    Normal,
    TanhTransform,
    TransformedDistribution,
)
from torch.distributions import Beta as TorchBeta
from torch.nn import functional

from marl.data.spaces import Part, Spaces
from marl.errors import ConfigError
from marl.networks.actor_critic import ActorCritic
from marl.networks.distributions import POLICIES, Compound, distribution_for
from marl.networks.measured.beta import Beta
from marl.networks.measured.gaussian import Gaussian, StateGaussian
from marl.networks.measured.squashed import EDGE, Squashed
from marl.networks.sac_network import SquashedGaussian
from marl.networks.settings import NetworkSettings
from tests.plain_spaces import plain_spaces

SIZE = 3
named = pytest.mark.parametrize("name", POLICIES)
no_gaussian = pytest.mark.parametrize("name", [name for name in POLICIES if name != "gaussian"])
inside = pytest.mark.parametrize("name", ["squashed", "beta"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def theirs(name: str, parameters: Tensor) -> Distribution:
    first, second = parameters.chunk(2, -1)
    if name == "beta":
        each: Distribution = TorchBeta(1 + functional.softplus(first), 1 + functional.softplus(second))
        return Independent(TransformedDistribution(each, [AffineTransform(-1.0, 2.0)]), 1)
    each = Normal(first, second.clamp(-5, 2).exp() if name != "gaussian" else second.exp())
    return Independent(TransformedDistribution(each, [TanhTransform()]) if name == "squashed" else each, 1)


def exact_normal(mean: float, log_std: float) -> Normal:
    return Normal(*torch.tensor([mean, math.exp(log_std)], dtype=torch.float64))


@named
def test_log_probabilities_and_their_gradients_are_torchs(name: str) -> None:
    parameters = random(200, 2 * SIZE).mul_(1.5).requires_grad_()
    actions = random(200, SIZE, seed=1)
    if name in ("squashed", "beta"):
        actions = (2.0 * actions).clamp(-3.9, 3.9).tanh()
    ours = POLICIES[name](SIZE).log_prob(parameters, actions)
    ours.sum().backward()
    slopes, parameters.grad = parameters.grad, None
    expected = theirs(name, parameters).log_prob(actions)
    expected.sum().backward()
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(slopes, parameters.grad)


@pytest.mark.parametrize("name", ["gaussian", "state_gaussian", "beta"])
def test_entropies_in_closed_form_and_their_gradients_are_torchs(name: str) -> None:
    parameters = (3.0 * random(200, 2 * SIZE)).requires_grad_()
    ours = POLICIES[name](SIZE).entropy(parameters)
    ours.sum().backward()
    slopes, parameters.grad = parameters.grad, None
    if name == "beta":
        ones, others = (1 + functional.softplus(each) for each in parameters.chunk(2, -1))
        expected = (TorchBeta(ones, others).entropy() + math.log(2.0)).sum(-1)
    else:
        expected = theirs(name, parameters).entropy()
    expected.sum().backward()
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(slopes, parameters.grad)


@pytest.mark.parametrize(("log_std", "error"), [(-5.0, 1e-9), (-1.0, 1e-9), (0.0, 1e-5), (1.0, 0.02), (2.0, 0.25)])
@pytest.mark.parametrize("mean", [-3.0, 0.0, 0.4, 1.0])
def test_the_entropy_of_squashed_normals_is_the_integral(mean: float, log_std: float, error: float) -> None:
    before = mean + math.exp(log_std) * torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    log_density = exact_normal(mean, log_std).log_prob(before)
    log_slope = TanhTransform().log_abs_det_jacobian(before, before.tanh())
    expected = torch.trapezoid(log_density.exp() * (log_slope - log_density), before)
    found = Squashed(2).entropy(torch.tensor([mean, mean, log_std, log_std], dtype=torch.float64))
    assert found.item() == pytest.approx(2 * expected.item(), abs=2 * error)


@named
def test_draws_have_the_moments_of_torchs(name: str) -> None:
    """And the mean of their log-probabilities is less the entropy."""
    ours = POLICIES[name](2)
    parameters = torch.tensor([1.0, -2.0, math.log(0.5), math.log(1.5)])
    if name == "beta":
        parameters = torch.tensor([8.0, -2.0, 1.0, 0.5])
    noise = ours.noise((100_000,), generator())
    assert noise.shape == (100_000, ours.noise_size)
    draws = ours.sample(parameters, noise)
    assert draws.dtype is torch.float32
    torch.manual_seed(0)
    expected = theirs(name, parameters).sample((100_000,))
    for power in (1, 2, 3):
        mine, other = draws.clamp(-1, 1) ** power if name == "squashed" else draws**power, expected**power
        error = 5 * math.sqrt(2 / 100_000) * other.std(0)
        assert bool(((mine.mean(0) - other.mean(0)).abs() < error).all())
    surprise = -ours.log_prob(parameters, draws)
    assert surprise.mean().item() == pytest.approx(ours.entropy(parameters).item(), abs=0.02)


@pytest.mark.parametrize("shape", [1.0, 1.3, 4.0, 500.0])
def test_draws_of_beta_are_distributed_as_torchs(shape: float) -> None:
    """By the test of Kolmogorov and Smirnov: chance exceeds 0.0123 once in a thousand."""
    ours, raw = Beta(1), shape - 1 + math.log(-math.expm1(1 - shape)) if shape > 1 else -20.0
    draws = ours.sample(torch.tensor([raw, 0.0]), ours.noise((50_000,), generator()))
    torch.manual_seed(0)
    expected = theirs("beta", torch.tensor([raw, 0.0])).sample((50_000,))
    together = torch.cat([draws, expected]).flatten().sort().values
    below = [
        torch.searchsorted(each.flatten().sort().values, together, right=True) / 50_000 for each in (draws, expected)
    ]
    assert (below[0] - below[1]).abs().max().item() < 0.0123


def test_modes() -> None:
    parameters = random(50, 2 * SIZE)
    mean = parameters[..., :SIZE]
    assert torch.equal(Gaussian(SIZE).mode(parameters), mean)
    assert torch.equal(StateGaussian(SIZE).mode(parameters), mean)
    torch.testing.assert_close(Squashed(SIZE).mode(parameters), mean.tanh())
    beta = Beta(SIZE)
    best, most = beta.mode(parameters), beta.log_prob(parameters, beta.mode(parameters))
    for step in (-1e-3, 1e-3):
        assert bool((beta.log_prob(parameters, best + step) < most).all())


@inside
def test_extreme_parameters_give_finite_numbers_and_gradients_in_float32(name: str) -> None:
    ours = POLICIES[name](1)
    each = torch.tensor([-1e9, -100.0, -20.0, 0.0, 20.0, 100.0, 1e9])
    parameters = torch.cartesian_prod(each, each).requires_grad_()
    draws = ours.sample(parameters.detach(), ours.noise((len(parameters),), generator()))
    for actions in (
        draws,
        ours.mode(parameters.detach()),
        torch.ones(len(parameters), 1),
        -torch.ones(len(parameters), 1),
    ):
        assert bool(actions.isfinite().all())
        total, *_ = ours.policy_gradient_loss(
            parameters, actions, torch.ones(len(parameters)), torch.ones(len(parameters)), 0.1
        )
        parameters.grad = None
        total.backward()
        assert parameters.grad is not None
        assert bool(total.isfinite() & parameters.grad.isfinite().all())


def test_where_the_tangent_is_rounded_to_1_log_probabilities_stay_exact() -> None:
    """They are those of the normal that was drawn, by the formula in float64."""
    ours, mean, log_std = Squashed(1), 12.0, 0.5
    noise = torch.linspace(-6, 6, 49).unsqueeze(-1)
    parameters = torch.tensor([mean, log_std])
    actions = ours.sample(parameters, noise)
    before = mean + math.exp(log_std) * noise.double()
    log_slope = math.log(4.0) - 2 * before - 2 * torch.log1p(torch.exp(-2 * before))
    expected = (exact_normal(mean, log_std).log_prob(before) - log_slope).squeeze(-1)
    assert bool((before > 9).any() & (before < EDGE).any())  # 9: beyond, tanh is 1 in float32
    torch.testing.assert_close(ours.log_prob(parameters, actions).double(), expected, atol=1e-3, rtol=1e-6)
    environment = actions.clamp(-1, 1).double()  # as environments/actions.py clips
    torch.testing.assert_close(environment, before.tanh(), atol=1e-3, rtol=0)
    assert bool((actions.diff(dim=0) > 0).all())


@no_gaussian
def test_a_network_says_all_parameters_and_starts_at_log_std(name: str) -> None:
    network = ActorCritic(box(2), NetworkSettings(policy=name, log_std=-0.7, shared_trunk=True), 0)
    assert network.log_std is None
    parameters = network.policy(torch.zeros(5, 4))
    assert parameters.shape == (5, 4)
    expected = [0.0] * 4 if name == "beta" else [0.0, 0.0, -0.7, -0.7]
    torch.testing.assert_close(parameters, torch.tensor(expected).expand(5, 4))
    assert network.values(torch.zeros(5, 4)).tolist() == [0.0] * 5


def box(size: int) -> Spaces:
    return plain_spaces((4,), action_shape=(size,), action_low=(-2.0,) * size, action_high=(2.0,) * size)


SEVERAL = {
    "arm": Part((2,), low=(-1.0, 0.0), high=(1.0, 5.0)),
    "grip": Part((), "int32", (3,), (0,)),
    "turn": Part((1,), low=(-3.0,), high=(3.0,)),
}


@no_gaussian
def test_parts_of_an_action_are_drawn_by_it(name: str) -> None:
    made = distribution_for(Spaces(Part((4,)), SEVERAL), name)
    assert isinstance(made, Compound)
    assert (made.num_parameters, made.num_deviations) == (4 + 3 + 2, 0)
    parameters = random(20, 9)
    noise = made.noise((20,), generator()).double()
    rows = made.sample(parameters, noise)
    pair, one = POLICIES[name](2), POLICIES[name](1)
    arm, turn = parameters[:, :4], parameters[:, 7:]
    logits = parameters[:, 4:7]
    first, last = pair.noise_size, noise.shape[1] - one.noise_size
    assert last == first + 3
    torch.testing.assert_close(rows[:, :2], pair.sample(arm, noise[:, :first]).float())
    torch.testing.assert_close(rows[:, 3:], one.sample(turn, noise[:, last:]).float())
    categories = torch.distributions.Categorical(logits=logits)
    expected = pair.log_prob(arm, rows[:, :2]) + one.log_prob(turn, rows[:, 3:]) + categories.log_prob(rows[:, 2])
    torch.testing.assert_close(made.log_prob(parameters, rows), expected)
    torch.testing.assert_close(made.entropy(parameters), pair.entropy(arm) + one.entropy(turn) + categories.entropy())
    torch.testing.assert_close(made.mode(parameters)[:, :2], pair.mode(arm).float())
    assert made.deviating == ((2, 3, 8) if name != "beta" else ())
    network = ActorCritic(Spaces(Part((4,)), SEVERAL), NetworkSettings(policy=name, log_std=-0.7), 0)
    found = network.policy(torch.zeros(4))
    assert [n for n, each in enumerate(found.tolist()) if each == pytest.approx(-0.7)] == list(made.deviating)


HALF = Part((2,), low=(-1.0, 0.0), high=(1.0, math.inf))


@inside
@pytest.mark.parametrize("actions", [HALF, {"arm": HALF, "grip": SEVERAL["grip"]}])
def test_who_keeps_inside_a_box_needs_its_bounds(name: str, actions: Part) -> None:
    with pytest.raises(ConfigError, match=f"{name}' needs actions with bounds on both sides") as caught:
        distribution_for(Spaces(Part((4,)), actions), name)
    assert "\n" not in str(caught.value)
    assert distribution_for(Spaces(Part((4,)), actions), "state_gaussian").num_deviations == 0


@named
def test_categories_have_no_such_policy(name: str) -> None:
    with pytest.raises(ConfigError, match=r"for continuous actions, .* actions of 4 categories: leave it out"):
        distribution_for(plain_spaces((4,), num_actions=4), name)


def test_a_policy_that_is_not_known() -> None:
    with pytest.raises(ConfigError, match=r"expected one of gaussian, state_gaussian, squashed, beta, got 'normal'"):
        distribution_for(box(1), "normal")
    assert isinstance(distribution_for(box(1)), Gaussian)
    assert type(distribution_for(box(1), "gaussian")) is Gaussian


def test_the_squashed_policy_and_that_of_sac_are_one_distribution() -> None:
    """Also where the deviations are cut off, as long as no action lies near a bound."""
    parameters = random(200, 2 * SIZE).mul_(0.5)
    parameters[:, SIZE:] -= torch.linspace(0.0, 9.0, 200, dtype=torch.float64).unsqueeze(-1)
    noise = random(200, SIZE, seed=1).clamp_(-1.5, 1.5)
    ours, sac = Squashed(SIZE), SquashedGaussian(SIZE)
    actions, log_probs = sac.sample_with_log_prob(parameters, noise)
    near = actions.abs().amax(-1) < math.tanh(3.0)
    assert near.sum() > 150
    torch.testing.assert_close(actions[near], ours.sample(parameters, noise)[near])
    torch.testing.assert_close(log_probs[near], ours.log_prob(parameters, actions)[near])
    torch.testing.assert_close(sac.mode(parameters), ours.mode(parameters))
